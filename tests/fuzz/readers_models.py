"""Readers of weights, manifests, models and bundles."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from place import SIZE, Reader, as_json, folder, put

from lc2fer import artifact as artifacts
from lc2fer.errors import Lc2ferError
from lc2fer.inputs import InputSpec

# -- weights and manifests -------------------------------------------------------------------------------------------


@cache
def _weights() -> bytes:
    path = artifacts.bundled("C8")
    assert path is not None
    return path.read_bytes()


def _read_weights(data: bytes) -> None:
    from lc2fer import header
    from lc2fer.network import checkpoint

    path = put("weights/w.safetensors", data)
    network = checkpoint.load(path)
    header.input_spec(path, network.num_classes)


def _read_header(data: bytes) -> None:
    """The bytes as the header of a file that is as long as a whole one."""
    whole = _weights()
    length = int.from_bytes(whole[:8], "little")
    _read_weights(len(data).to_bytes(8, "little") + data + whole[8 + length :])


def _weights_seeds() -> list[bytes]:
    head = json.dumps({"__metadata__": {"variant": "C8"}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})
    odd = head.replace("F32", "I8").replace("[0, 4]", "[0, 1]")
    return [
        *(len(text).to_bytes(8, "little") + text.encode() + bytes(4) for text in (head, odd)),
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n",
        b"<!DOCTYPE html><html>",
    ]


def _header_seeds() -> list[bytes]:
    whole = _weights()
    return [whole[8 : 8 + int.from_bytes(whole[:8], "little")]]


def _manifest(**fields: Any) -> dict[str, Any]:
    path = put("model/m.onnx", b"model")
    made = artifacts.Artifact(
        path=path,
        kind="onnx",
        target="onnx-fp32",
        variant="C8",
        input_spec=InputSpec(size=SIZE),
        files=(artifacts.record_of(path),),
    )
    from lc2fer.targets import TARGETS

    return {**made.to_json(), "recipe": TARGETS["onnx-fp32"].recipe.to_json(), **fields}  # type: ignore[union-attr]


def _read_manifest(data: bytes) -> None:
    put("model/m.onnx", b"model")
    put("model/m.json", data)
    found = artifacts.load(folder() / "model/m.onnx")
    _ = found.name, found.sha256, found.size_bytes, json.dumps(found.to_json())


def _manifest_seeds() -> list[bytes]:
    from lc2fer.targets import TARGETS

    int8 = TARGETS["onnx-int8"].recipe
    assert int8 is not None
    return [
        as_json(_manifest()),
        as_json(_manifest(recipe=int8.to_json(), target="onnx-int8", proof={"sqnr_db": 30.0})),
    ]


# -- models, as sessions open them -----------------------------------------------------------------------------------


def _model(data: bytes, suffix: str, rest: dict[str, bytes], **fields: Any) -> Path:
    names = {f"m{suffix}": data, **rest}
    records = [
        {"name": name, "sha256": hashlib.sha256(each).hexdigest(), "size_bytes": len(each)}
        for name, each in names.items()
    ]
    for name, each in names.items():
        put(f"engine/{name}", each)
    put("engine/m.json", as_json(_manifest(files=records, **fields)))
    return folder() / f"engine/m{suffix}"


def _run(path: Path) -> None:
    import lc2fer

    with lc2fer.open_session(path, threads=1) as session:
        session.run(np.zeros((1, 3, SIZE, SIZE), np.float32))


def _read_onnx(data: bytes) -> None:
    _run(_model(data, ".onnx", {}))


def _read_ir(data: bytes) -> None:
    _run(_model(data, ".xml", {"m.bin": _small_ir()[1]}, kind="openvino", target="openvino-fp32"))


@cache
def _small_onnx() -> bytes:
    """The mean of each channel, times a matrix: an image to seven logits."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.arange(21, dtype=np.float32).reshape(3, 7), "w")
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "w"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 7])
    graph = helper.make_graph(nodes, "g", [image], [logits], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@cache
def _small_ir() -> tuple[bytes, bytes]:
    import openvino

    path = put("small/s.onnx", _small_onnx())
    openvino.save_model(openvino.convert_model(path), path.with_suffix(".xml"), compress_to_fp16=False)
    return path.with_suffix(".xml").read_bytes(), path.with_suffix(".bin").read_bytes()


# -- bundles ---------------------------------------------------------------------------------------------------------


def _read_bundle(data: bytes) -> None:
    from lc2fer.deploy.device import bundle

    with bundle.opened(put("bundle/b.bundle", data)) as opened:
        _ = opened.golden
        with contextlib.suppress(Lc2ferError):
            opened.artifact(opened.models[0])


def _read_bundle_json(data: bytes) -> None:
    from lc2fer.deploy.device import bundle

    _read_bundle(_tar({bundle.MANIFEST: data, **_members()}))


def _members() -> dict[str, bytes]:
    from lc2fer.deploy.device import bundle

    images, logits = bytes(2 * SIZE * SIZE * 3), np.zeros((2, 7), "<f4").tobytes()
    return {"a.json": b"{}", "a.onnx": b"model", bundle.IMAGES: images, bundle.LOGITS: logits}


def _tar(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def _bundle_json() -> bytes:
    records = [
        {"name": name, "sha256": hashlib.sha256(each).hexdigest(), "size_bytes": len(each)}
        for name, each in _members().items()
    ]
    fields = {"format": 1, "variant": "C8", "input_spec": InputSpec(size=SIZE).to_json(), "parent_sha256": "0"}
    return as_json({**fields, "models": [{"file": "a.onnx", "sqnr_db": 20.0}], "files": records})


def _bundle_seeds() -> list[bytes]:
    from lc2fer.deploy.device import bundle

    return [_tar({bundle.MANIFEST: _bundle_json(), **_members()})[:20_480]]


MODELS = {
    "weights": Reader(_read_weights, _weights_seeds, ("lc2fer.header", "lc2fer.network.checkpoint")),
    "header": Reader(_read_header, _header_seeds, ("lc2fer.header", "lc2fer.network.checkpoint")),
    "manifest": Reader(_read_manifest, _manifest_seeds, ("lc2fer.artifact", "lc2fer.inputs", "lc2fer.recipe", "json")),
    "onnx": Reader(_read_onnx, lambda: [_small_onnx()], ("lc2fer.deploy.sessions.onnxruntime",), native=True),
    "ir": Reader(_read_ir, lambda: [_small_ir()[0]], ("lc2fer.deploy.sessions.openvino",), native=True),
    "bundle": Reader(_read_bundle, _bundle_seeds, ("lc2fer.deploy.device.bundle", "tarfile")),
    "bundle-json": Reader(_read_bundle_json, lambda: [_bundle_json()], ("lc2fer.deploy.device.bundle", "json")),
}

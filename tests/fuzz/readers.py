"""Every reader of files from outside, as a function of bytes: it returns, or it raises an error of lc2fer's own.

Anything else that comes out of `READERS[name].read` is a fault. `seeds` are what mutation begins with.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lc2fer import artifact as artifacts
from lc2fer.errors import Lc2ferError
from lc2fer.inputs import InputSpec

SIZE = 32  # pixels a side of the small models


@dataclass(frozen=True)
class Reader:
    """How bytes are read, where the reading looks, and what good bytes look like."""

    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    modules: tuple[str, ...]  # whose branches the fuzzer follows
    native: bool = False  # whether an engine's own code reads the bytes, in which a crash is not this project's


@cache
def folder() -> Path:
    """A folder of this process, in memory where there is one."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    made = tempfile.TemporaryDirectory(prefix="lc2fer-fuzz-", dir=place)
    _KEPT.append(made)
    os.environ["LC2FER_CACHE"] = f"{made.name}/cache"
    return Path(made.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def _put(name: str, data: bytes) -> Path:
    path = folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _text(document: Any) -> bytes:
    return json.dumps(document).encode()


# -- weights and manifests -------------------------------------------------------------------------------------------


@cache
def _weights() -> bytes:
    path = artifacts.bundled("C8")
    assert path is not None
    return path.read_bytes()


def _read_weights(data: bytes) -> None:
    from lc2fer import header
    from lc2fer.network import checkpoint

    path = _put("weights/w.safetensors", data)
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
    path = _put("model/m.onnx", b"model")
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
    _put("model/m.onnx", b"model")
    _put("model/m.json", data)
    found = artifacts.load(folder() / "model/m.onnx")
    _ = found.name, found.sha256, found.size_bytes, json.dumps(found.to_json())


def _manifest_seeds() -> list[bytes]:
    from lc2fer.targets import TARGETS

    int8 = TARGETS["onnx-int8"].recipe
    assert int8 is not None
    return [_text(_manifest()), _text(_manifest(recipe=int8.to_json(), target="onnx-int8", proof={"sqnr_db": 30.0}))]


# -- models, as sessions open them -----------------------------------------------------------------------------------


def _model(data: bytes, suffix: str, rest: dict[str, bytes], **fields: Any) -> Path:
    names = {f"m{suffix}": data, **rest}
    records = [
        {"name": name, "sha256": hashlib.sha256(each).hexdigest(), "size_bytes": len(each)}
        for name, each in names.items()
    ]
    for name, each in names.items():
        _put(f"engine/{name}", each)
    _put("engine/m.json", _text(_manifest(files=records, **fields)))
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

    path = _put("small/s.onnx", _small_onnx())
    openvino.save_model(openvino.convert_model(path), path.with_suffix(".xml"), compress_to_fp16=False)
    return path.with_suffix(".xml").read_bytes(), path.with_suffix(".bin").read_bytes()


# -- bundles ---------------------------------------------------------------------------------------------------------


def _read_bundle(data: bytes) -> None:
    from lc2fer.deploy.device import bundle

    with bundle.opened(_put("bundle/b.bundle", data)) as opened:
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
    return _text({**fields, "models": [{"file": "a.onnx", "sqnr_db": 20.0}], "files": records})


def _bundle_seeds() -> list[bytes]:
    from lc2fer.deploy.device import bundle

    return [_tar({bundle.MANIFEST: _bundle_json(), **_members()})[:20_480]]


# -- reports, journals, rules, runs ------------------------------------------------------------------------------------


def _read_report(data: bytes) -> None:
    from lc2fer.benchmarks.report import document

    document.read(_put("report/report.json", data))


def _judge_report(data: bytes) -> None:
    from lc2fer.benchmarks.judging import gate, rules
    from lc2fer.benchmarks.report import document
    from lc2fer.benchmarks.views.markdown import markdown
    from lc2fer.benchmarks.views.page import page

    report = document.read(_put("report/report.json", data))
    gate.judge(report, rules.read(rules_path()))
    markdown(report)
    page(report)


def rules_path() -> Path:
    """The rules that come with the package."""
    from importlib import resources

    return Path(str(resources.files("lc2fer.benchmarks") / "gates.toml"))


def _report_seeds() -> list[bytes]:
    here = Path(__file__).parent / "corpus" / "report"
    return [path.read_bytes() for path in sorted(here.glob("*.json"))]


def _read_journal(data: bytes) -> None:
    from lc2fer.benchmarks.measuring import journal

    _put(f"journal/{journal.NAME}", data)
    found = journal.Journal(folder() / "journal", {"run": 1})
    for number in range(2):
        found.launch("torch", "a", number)
    found.turns(["a"], 0)


def _journal_seeds() -> list[bytes]:
    launch = {"samples_ns": [1, 2], "compute_ns": [], "frame_ns": [], "warm_up_ns": [], "settled": True}
    launch |= {"throughput": [1, 1], "import_s": 0.1, "load_s": 0.1, "compile_s": 0.1, "first_s": 0.1}
    launch |= {"memory": {"kind": None, "phases": {}}, "threads": 1, "cores": [], "inputs": 1, "executed": None}
    quiet = {"load_average": None, "clock_mhz": None, "throttles": None}
    launch |= {"before": quiet, "after": quiet, "others_cores": None, "energy_mj": None}
    outputs = {"logits": "", "predictions": [1], "ids": []}
    entry = {"key": ["torch", "a", 0], "launch": launch, "scored": None}
    scored = {"key": ["torch", "a", 1], "launch": launch, "scored": {"outputs": outputs, "perturbed": {}}}
    turns = {"key": ["turns", "a", 0], "rounds": [[[1], [2]]]}
    lines = ({"run": 1}, entry, turns, scored)
    return [b"".join(_text(line) + b"\n" for line in lines[:count]) for count in (3, 4)]


def _read_rules(data: bytes) -> None:
    from lc2fer.benchmarks.judging import rules

    rules.read(_put("rules/gates.toml", data))


def _read_run(data: bytes) -> None:
    import torch

    from lc2fer.training import state

    _put("run/run.json", data)
    if not (folder() / "run/state.safetensors").exists():
        state.keep(folder() / "run", {"a": torch.zeros(2)}, state.Progress(epoch=1, best_epoch=1))
    state.read(folder() / "run", {"config": "C8", "data": [{"name": "x", "split": "y"}]}, {"a": torch.zeros(2)})


def _read_state(data: bytes) -> None:
    import torch

    from lc2fer.training import state

    _put("state/run.json", b'{"config": "C8"}')
    _put("state/state.safetensors", data)
    state.read(folder() / "state", {"config": "C8"}, {"a": torch.zeros(2)})


def _state_seeds() -> list[bytes]:
    import torch

    from lc2fer.training import state

    state.keep(folder() / "kept", {"a": torch.zeros(2)}, state.Progress(epoch=1, best_epoch=1))
    return [(folder() / "kept/state.safetensors").read_bytes()]


def _read_recorded(data: bytes) -> None:
    from lc2fer import recorded

    _put("recorded/a.json", data)
    recorded.table(recorded.read(folder() / "recorded"))


def _recorded_seeds() -> list[bytes]:
    from lc2fer.recorded import Run

    fields: dict[str, Any] = dict.fromkeys(Run.__dataclass_fields__, "x")
    fields |= {"format": 1, "clocks_mhz": {}, "executed": {}, "l4t": None, "power_mode": None, "target": "trt-fp16"}
    return [_text({**fields, "warm_up_ns": [1] * 3, "samples_ns": list(range(1, 300))})]


# -- data sets -------------------------------------------------------------------------------------------------------


def _read_list(data: bytes) -> None:
    from lc2fer.data import rafdb

    for name in (f"{part}_0000{number}" for part in ("train", "test") for number in range(1, 8)):
        _put(f"raf/Image/aligned/{name}_aligned.jpg", b"")
    _put("raf/EmoLabel/list_patition_label.txt", data)
    rafdb.official(folder() / "raf")


def _read_fer2013(data: bytes) -> None:
    from lc2fer.data import fer2013

    fer2013.load(_put("fer/fer2013.csv", data))


def _fer_seeds() -> list[bytes]:
    pixels = " ".join(["7"] * 48 * 48)
    return [
        f"emotion,pixels,Usage\n0,{pixels},Training\n1,{pixels},PublicTest\n".encode(),
        b"emotion,pixels\n3,1 2 3\n",
    ]


def _read_ferplus(data: bytes) -> None:
    from lc2fer.data import ferplus
    from lc2fer.data.names import Names

    ferplus.read(_put("fer/fer2013new.csv", data), 2, Names())


def _read_votes(data: bytes) -> None:
    from lc2fer.data import votes
    from lc2fer.data.dataset import Sample

    path = _put("votes/votes.csv", data)
    votes.read(path.parent, [Sample(path.parent / "a.jpg", 0)])


def _read_listed(data: bytes) -> None:
    from lc2fer.predict import sources

    for _ in sources.walk(["-"], io.BytesIO(data), sources.Found()):
        pass


# -- pictures and films ----------------------------------------------------------------------------------------------


def _read_picture(data: bytes) -> None:
    from lc2fer import pictures

    spec = InputSpec(size=SIZE)
    assert spec.apply(pictures.read(data).image).shape == (3, SIZE, SIZE)


def _pictures() -> list[bytes]:
    from PIL import Image

    found = []
    colors = Image.fromarray(np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3))
    turn = Image.Exif()
    turn[0x0112] = 6
    for kind, mode, more in (
        *((kind, "RGB", {}) for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")),
        ("JPEG", "RGB", {"exif": turn, "progressive": True}),
        ("WEBP", "RGBA", {"exif": turn, "lossless": True}),
        *(("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGBA", "I;16")),
        *(("TIFF", mode, {}) for mode in ("1", "CMYK", "LAB", "F", "I;16")),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("JPEG", "CMYK", {}),
        ("GIF", "P", {"save_all": True, "append_images": [colors.convert("P")]}),
    ):
        file = io.BytesIO()
        image = Image.new(mode, (8, 8)) if mode in ("LAB", "F", "I;16") else colors.convert(mode)
        image.save(file, kind, **more)
        found.append(file.getvalue())
    return found


def _read_film(data: bytes) -> None:
    from lc2fer.predict import judging

    for count, _ in enumerate(judging.frames(_put("film/f.avi", data), 0.1)):
        if count == 3:
            break


def _films() -> list[bytes]:
    import cv2

    found = []
    for code, suffix in (("MJPG", "avi"), ("mp4v", "mp4")):
        path = folder() / f"made.{suffix}"
        film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 10, (32, 32))  # type: ignore[attr-defined]
        for level in (0, 128, 255):
            film.write(np.full((32, 32, 3), level, np.uint8))
        film.release()
        found.append(path.read_bytes())
    return found


# -- what people and browsers type ------------------------------------------------------------------------------------


def _read_address(data: bytes) -> None:
    from lc2fer.deploy.camera import address, capture, web

    text = data.decode("utf-8", "replace")
    address.shown(text)
    address.quoted(text)
    for parse in (capture.parse, web.parse_address):
        with contextlib.suppress(Lc2ferError):
            parse(text)


_RAF = b"".join(b"%s_0000%d.jpg %d\n" % (part, label, label) for part in (b"train", b"test") for label in range(1, 8))
_FERPLUS = (
    b"Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
    b"Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0\nPublicTest,fer0000001.png,6,0,1,1,0,0,0,0,2,0\n"
)
_VOTES = b"image,surprise,fear,disgust,happiness,sadness,anger,neutral\na.jpg,0,0,0,7,0,0,3\n"
_RUN = b'{"config": "C8", "data": [{"name": "x", "split": "y"}], "labels": ["a"]}'
_ADDRESSES = [b"rtsp://user:p@ss@host:554/x?token=secret", b"usb:0", b"csi:0", b"[::1]:8000", b"http://h/v?a=b"]

READERS = {
    "weights": Reader(_read_weights, _weights_seeds, ("lc2fer.header", "lc2fer.network.checkpoint")),
    "header": Reader(_read_header, _header_seeds, ("lc2fer.header", "lc2fer.network.checkpoint")),
    "manifest": Reader(_read_manifest, _manifest_seeds, ("lc2fer.artifact", "lc2fer.inputs", "lc2fer.recipe", "json")),
    "onnx": Reader(_read_onnx, lambda: [_small_onnx()], ("lc2fer.deploy.sessions.onnxruntime",), native=True),
    "ir": Reader(_read_ir, lambda: [_small_ir()[0]], ("lc2fer.deploy.sessions.openvino",), native=True),
    "bundle": Reader(_read_bundle, _bundle_seeds, ("lc2fer.deploy.device.bundle", "tarfile")),
    "bundle-json": Reader(_read_bundle_json, lambda: [_bundle_json()], ("lc2fer.deploy.device.bundle", "json")),
    "report": Reader(_read_report, _report_seeds, ("lc2fer.benchmarks.report", "lc2fer.benchmarks.judging", "json")),
    "gate": Reader(_judge_report, _report_seeds, ("lc2fer.benchmarks.judging", "lc2fer.benchmarks.views")),
    "journal": Reader(_read_journal, _journal_seeds, ("lc2fer.benchmarks.measuring.journal", "json")),
    "rules": Reader(
        _read_rules, lambda: [rules_path().read_bytes()], ("lc2fer.benchmarks.judging.rules", "tomllib", "tomli")
    ),
    "run": Reader(_read_run, lambda: [_RUN], ("lc2fer.training.state", "lc2fer.training.sources", "json")),
    "state": Reader(_read_state, _state_seeds, ("lc2fer.training.state",)),
    "recorded": Reader(_read_recorded, _recorded_seeds, ("lc2fer.recorded", "json")),
    "raf-list": Reader(_read_list, lambda: [_RAF], ("lc2fer.data",)),
    "fer2013": Reader(_read_fer2013, _fer_seeds, ("lc2fer.data", "csv")),
    "ferplus": Reader(_read_ferplus, lambda: [_FERPLUS], ("lc2fer.data", "csv")),
    "votes": Reader(_read_votes, lambda: [_VOTES], ("lc2fer.data", "csv")),
    "listed": Reader(_read_listed, lambda: [b"a.jpg\nb c.png\n", b"a\0b\0"], ("lc2fer.predict.sources",)),
    "picture": Reader(_read_picture, _pictures, ("lc2fer.pictures", "lc2fer.inputs", "PIL")),
    "film": Reader(_read_film, _films, ("lc2fer.predict.judging",), native=True),
    "address": Reader(_read_address, lambda: _ADDRESSES, ("lc2fer.deploy.camera.address",)),
}

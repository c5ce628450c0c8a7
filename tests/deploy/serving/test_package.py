"""Repositories for Triton, read by its own protobuf, and for OpenVINO Model Server, held against its schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lc2fer import artifact as artifacts
from lc2fer import cli, open_session
from lc2fer.artifact import Artifact, record_of
from lc2fer.inputs import LABELS

# src/schema.cpp of OpenVINO Model Server: what a model's "config" may have, "name" and "base_path" being required.
OVMS_TYPES: dict[str, Any] = {
    "name": str,
    "base_path": str,
    "batch_size": (int, str),
    "model_version_policy": dict,
    "shape": (dict, str),
    "nireq": int,
    "target_device": str,
    "plugin_config": dict,
}


@pytest.fixture(scope="module")
def made(small_exports: Callable[[str], Artifact]) -> Callable[[str], Artifact]:
    return small_exports


def package(artifact: Path, server: str, out: Path, *arguments: str) -> int:
    return cli.run("deploy", ["package", str(artifact), "--for", server, "--out", str(out), *arguments])


def config_of(folder: Path) -> Any:
    """As Triton reads it: any field that its schema does not know is an error."""
    pb = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="tritonclient is not installed here")
    from google.protobuf import text_format

    return text_format.Parse((folder / "config.pbtxt").read_text(), pb.ModelConfig())


@pytest.mark.parametrize(
    ("target", "backend", "files"),
    [
        ("onnx-fp32", "onnxruntime", ["1/model.onnx"]),
        ("openvino-fp32", "openvino", ["1/model.bin", "1/model.xml"]),
    ],
)
def test_triton_reads_its_repository(
    target: str,
    backend: str,
    files: list[str],
    made: Callable[[str], Artifact],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    artifact = made(target)
    out = tmp_path / "models"
    assert package(artifact.path, "triton", out, "--name", "faces", "--max-batch", "16", "--instances", "2") == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["files"] == [f"faces/{file}" for file in [*files, "config.pbtxt", "labels.txt"]]
    config = config_of(out / "faces")
    assert (config.name, config.backend, config.max_batch_size) == ("faces", backend, 16)
    assert config.default_model_filename == Path(files[-1]).name
    (given,), (answer,) = config.input, config.output
    assert (given.name, list(given.dims), answer.name, list(answer.dims)) == ("pixels", [3, 32, 32], "logits", [7])
    assert given.data_type == answer.data_type == 11  # TYPE_FP32
    assert (out / "faces" / answer.label_filename).read_text().split() == list(LABELS)
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    assert [(group.count, group.kind) for group in config.instance_group] == [(2, 2)]  # KIND_CPU
    threads = {key: value.string_value for key, value in config.parameters.items()}
    assert threads == ({"intra_op_thread_count": "1", "inter_op_thread_count": "1"} if target == "onnx-fp32" else {})
    assert all((out / "faces" / file).read_bytes() for file in files)


def test_a_fused_model_brings_its_operations(made: Callable[[str], Artifact], tmp_path: Path) -> None:
    import onnxruntime

    artifact = made("ort-int8-fused")
    assert package(artifact.path, "triton", tmp_path / "models", "--name", "faces", "--at", "/srv/models") == 0
    (named,) = config_of(tmp_path / "models" / "faces").model_operations.op_library_filename
    library = tmp_path / "models" / Path(named).relative_to("/srv/models")
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(str(library))
    served = onnxruntime.InferenceSession(tmp_path / "models/faces/1/model.onnx", options)
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32)).astype(np.float32)
    with open_session(artifact, threads=1) as session:
        assert np.array_equal(served.run(None, {"pixels": images})[0], session.run(images))


@pytest.mark.parametrize(("most", "dims"), [(1, [1, 3, 32, 32]), (8, [3, 32, 32])])
def test_an_engine_has_the_batch_that_it_was_built_for(
    most: int, dims: list[int], made: Callable[[str], Artifact], tmp_path: Path
) -> None:
    source = made("onnx-fp32")
    engine = tmp_path / "C8-trt-fp32.engine"
    engine.write_bytes(b"an engine")
    device = {"library": "tensorrt", "max_batch": most}
    written = replace(
        source, path=engine, kind="tensorrt", target="trt-fp32", files=(record_of(engine),), device=device
    )
    artifacts.write(written.manifest_path, written.to_json())
    assert package(engine, "triton", tmp_path / "models", "--name", "faces") == 0
    config = config_of(tmp_path / "models" / "faces")
    assert (config.platform, config.max_batch_size) == ("tensorrt_plan", most if most > 1 else 0)
    assert list(config.input[0].dims) == dims
    assert config.HasField("dynamic_batching") == (most > 1)
    assert [(group.count, group.kind) for group in config.instance_group] == [(1, 1)]  # KIND_GPU
    assert (tmp_path / "models/faces/1/model.plan").read_bytes() == b"an engine"


def test_openvino_model_server_reads_its_repository(made: Callable[[str], Artifact], tmp_path: Path) -> None:
    out = tmp_path / "models"
    assert package(made("openvino-fp32").path, "ovms", out, "--name", "faces", "--instances", "3") == 0
    document = json.loads((out / "config.json").read_text())
    assert list(document) == ["model_config_list"]
    ((entry,),) = [list(each.values()) for each in document["model_config_list"]]
    assert {"name", "base_path"} <= set(entry) <= set(OVMS_TYPES)
    assert all(isinstance(value, OVMS_TYPES[field]) for field, value in entry.items())
    assert (entry["name"], entry["base_path"], entry["nireq"]) == ("faces", "/models/faces", 3)
    assert entry["shape"] == {"pixels": "(1:32,3,32,32)"}
    assert sorted(path.name for path in (out / "faces/1").iterdir()) == ["model.bin", "model.xml"]

    import openvino

    core = openvino.Core()
    model = core.read_model(out / "faces/1/model.xml")
    model.reshape({"pixels": openvino.PartialShape([openvino.Dimension(1, 32), 3, 32, 32])})
    compiled = core.compile_model(model, "CPU", entry["plugin_config"])
    assert compiled(np.zeros((5, 3, 32, 32), np.float32))["logits"].shape == (5, 7)


@pytest.mark.parametrize(
    ("target", "server", "text"),
    [
        (
            "torch",
            "triton",
            "runs on PyTorch, which Triton does not serve. Expected an ONNX, OpenVINO or TensorRT one.",
        ),
        ("native-fp32", "triton", "runs on liblc2fer, which Triton does not serve. Expected an ONNX, OpenVINO or Ten"),
        (
            "native-fp32",
            "ovms",
            "runs on liblc2fer, which OpenVINO Model Server does not serve. Expected an ONNX or Op",
        ),
        ("torch", "ovms", "which OpenVINO Model Server does not serve. Expected an ONNX or OpenVINO model. Export"),
        (
            "ort-int8-fused",
            "ovms",
            "has operations of our own, which the server's release of OpenVINO does not know. Exp",
        ),
    ],
)
def test_what_a_server_cannot_run_is_refused(
    target: str,
    server: str,
    text: str,
    made: Callable[[str], Artifact],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert package(made(target).path, server, tmp_path / "models") == 2
    assert text in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(
    made: Callable[[str], Artifact], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("kept")
    assert package(made("onnx-fp32").path, "triton", tmp_path) == 2
    assert "is there already and holds something. Expected a new or an empty folder." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["..", "config.json"])
def test_a_name_that_is_another_place_is_refused(
    name: str, made: Callable[[str], Artifact], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert package(made("openvino-fp32").path, "ovms", tmp_path / "models", "--name", name) == 2
    assert name in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", [".", "link"])
def test_a_repository_is_written_into_an_empty_folder(
    out: str, made: Callable[[str], Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models-link").symlink_to("models")
    monkeypatch.chdir(tmp_path / "models" if out == "." else tmp_path)
    where = Path(".") if out == "." else Path("models-link")
    assert package(made("openvino-fp32").path.absolute(), "ovms", where, "--name", "faces") == 0
    found = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "models").rglob("*") if path.is_file())
    assert found == [
        "models/config.json",
        "models/faces/1/model.bin",
        "models/faces/1/model.xml",
        "models/faces/labels.txt",
    ]

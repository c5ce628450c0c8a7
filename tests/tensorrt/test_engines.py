"""From an ONNX file to an engine with its manifest, on TensorRT and CUDA of the tests: nothing here ran on a GPU."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from lc2fer.export.formats import tensorrt as engines
from lc2fer.export.formats import tensorrt_builder as tensorrt

from lc2fer import cli, open_session
from lc2fer.artifact import Artifact, hash_file, load
from lc2fer.errors import ParityError, TargetUnavailable

Export = Callable[[str], Artifact]


@pytest.mark.parametrize(("version", "bindings"), [("10.3.0", "Bindings"), ("11.4.0.106", "I/O Tensors")])
def test_an_engine_is_built_proven_and_described(
    version: str, bindings: str, gpu: ModuleType, export: Export, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TENSORRT_VERSION", version)
    artifact = export("trt-int8")
    manifest = json.loads(artifact.manifest_path.read_text())
    assert [record["name"] for record in manifest["files"]] == [
        "C8-trt-int8.engine",
        "C8-trt-int8.log",
        "C8-trt-int8.timing",
    ]
    assert artifact.path.read_bytes().startswith(b"fake-engine")  # raw: no header of ours before it
    source = load(artifact.path.with_name("C8-onnx-int8-fp16.onnx"))
    assert (manifest["kind"], manifest["parent_sha256"]) == ("tensorrt", source.sha256)
    assert manifest["recipe"]["precision"] == "int8"
    assert manifest["calibration"]["images"] == 40
    assert manifest["proof"]["images"] == 84
    device = manifest["device"]
    layers = device.pop("layers")
    assert device == {
        "library": "tensorrt",
        "version": version,
        "name": "Fake Orin",
        "sm": "8.7",
        "integrated": False,
        "l4t": None,
        "cuda": "12.6",
        "driver": "13.2",
        "attempts": [{"source": "C8-onnx-int8-fp16", "sha256": source.sha256, "outcome": "built", "message": ""}],
        "max_batch": 1,
        "executed_precisions": device["executed_precisions"],
        "checked": "ran on this device and agreed with the trained network",
    }
    assert device["executed_precisions"]["int8"] == 11  # the convolutions, but for the last behind GRN
    assert device["executed_precisions"]["fp16"] > 12
    assert [layer["precision"] for layer in layers if layer["type"] == "Conv"] == [*["int8"] * 11, "fp16"]
    assert {layer["precision"] for layer in layers if layer["type"] == "LayerNormalization"} == {"fp32"}
    log = artifact.path.with_suffix(".log").read_text().splitlines()
    assert log == [f"INFO: Building with {version}"]
    assert said[-1].startswith(
        f"C8-trt-int8.engine: from C8-onnx-int8-fp16.onnx by TensorRT {version} on Fake Orin: "
    ), said


@pytest.mark.parametrize("target", ["trt-fp32", "trt-fp16"])
def test_the_same_again_is_reused_and_another_machine_is_not(
    target: str, gpu: ModuleType, export: Export, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = export(target)
    builds: list[bytes | None] = []
    built = tensorrt.build

    def count(*arguments: object, **options: object) -> tensorrt.Built:
        builds.append(options["timing"])  # type: ignore[arg-type]
        return built(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(tensorrt, "build", count)
    assert export(target).sha256 == first.sha256
    assert said[-1] == f"C8-{target}.engine: reused, its sources, TensorRT and device are the same"
    assert builds == []
    monkeypatch.setattr(engines.artifacts, "tool_versions", lambda *packages: {"lc2fer": "0"})
    export(target)
    assert builds[0] is not None
    assert builds[0].startswith(b"10.3.0 ")  # what was timed on this device is used again
    monkeypatch.setenv("FAKE_GPU_NAME", "Fake Thor")
    monkeypatch.setenv("FAKE_GPU_SM", "11.0")
    again = export(target)
    assert again.device is not None
    assert (again.device["name"], again.device["sm"], builds[1:]) == ("Fake Thor", "11.0", [b""])


def test_an_engine_that_this_gpu_cannot_open_is_not_kept(
    gpu: ModuleType, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As TensorRT-RTX 1.7 on an H100: it builds for the GPUs that it knows, and this one is none of them."""
    monkeypatch.setenv("FAKE_TENSORRT_CANNOT_OPEN", "The engine cannot run on this GPU.")
    with pytest.raises(TargetUnavailable) as refused:
        export("trt-fp16")
    assert str(refused.value) == (
        "TensorRT 10.3.0 built C8-trt-fp16.engine, and the engine that was just built cannot be opened (The engine "
        "cannot run on this GPU.). A GPU that it supports was expected, and Fake Orin has SM 8.7; nothing was kept. "
        "Build it on the machine that will run it, or where there is no GPU."
    )


def test_int8_falls_back_in_the_open(
    gpu: ModuleType, export: Export, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TENSORRT_REFUSES", "fp16 scales")
    artifact = export("trt-int8")
    message = "Could not infer output types for operation: dequantize weightsHalf f16"
    assert artifact.device is not None
    assert [(attempt["source"], attempt["outcome"], attempt["message"]) for attempt in artifact.device["attempts"]] == [
        ("C8-onnx-int8-fp16", "refused", message),
        ("C8-onnx-int8", "built", ""),
    ]
    assert f"C8-trt-int8.engine: TensorRT 10.3.0 refuses C8-onnx-int8-fp16.onnx: {message}" in said
    assert artifact.recipe is not None
    assert artifact.recipe.opset == 18
    assert artifact.device["executed_precisions"].keys() == {"int8", "fp32"}
    assert export("trt-int8").sha256 == artifact.sha256
    assert said[-1].endswith("reused, its sources, TensorRT and device are the same")


def test_int8_is_refused_where_no_form_builds(
    gpu: ModuleType, export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TENSORRT_REFUSES", "int8")
    message = "Could not infer output types for operation: dequantize weightsHalf f16"
    with pytest.raises(TargetUnavailable) as refusal:
        export("trt-int8")
    assert str(refusal.value) == (
        f"TensorRT 10.3.0 refuses every form of C8-trt-int8 (C8-onnx-int8-fp16: {message}; C8-onnx-int8: {message}). "
        "A graph that it builds was expected; nothing else was built instead. "
        "Export trt-fp16, and report this message."
    )
    assert not list(tmp_path.glob("*.engine"))


def test_an_engine_that_disagrees_is_not_kept(
    gpu: ModuleType, export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx
    from onnx import numpy_helper

    built = tensorrt.build

    def forgetful(trt: ModuleType, model: bytes, **options: object) -> tensorrt.Built:
        proto = onnx.load_model_from_string(model)
        for tensor in proto.graph.initializer:
            if list(tensor.dims) == [7, 160]:
                tensor.CopyFrom(numpy_helper.from_array(0 * numpy_helper.to_array(tensor), tensor.name))
        return built(trt, proto.SerializeToString(), **options)  # type: ignore[arg-type]

    monkeypatch.setattr(tensorrt, "build", forgetful)
    with pytest.raises(ParityError, match=r"C8-trt-fp32.engine disagrees with the trained network"):
        export("trt-fp32")
    assert not [path for path in tmp_path.iterdir() if "trt" in path.name or path.name.startswith(".")]


def test_interruption_ends_the_build_and_leaves_what_was_there(
    gpu: ModuleType, export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: hash_file(path) for path in tmp_path.iterdir()}
    steps: list[int] = []

    class Bars:
        def __init__(self, **options: object) -> None: ...
        def __enter__(self) -> Bars:
            return self

        def __exit__(self, *error: object) -> None: ...
        def add_task(self, text: str, total: int) -> int:
            return 0

        def update(self, task: int, completed: int, total: int) -> None:
            steps.append(completed)
            if completed == 3:
                raise KeyboardInterrupt  # as Ctrl-C within TensorRT's callback

    monkeypatch.setattr(engines, "Progress", Bars)
    with pytest.raises(KeyboardInterrupt):
        export("trt-fp32")
    assert max(steps) == 3
    assert {path.name: hash_file(path) for path in tmp_path.iterdir()} == before


def test_a_graph_that_is_no_graph(gpu: ModuleType) -> None:
    import sys

    gpu.asked = True
    trt = __import__("tensorrt")
    assert trt is sys.modules["tensorrt"]
    with pytest.raises(tensorrt.Refused, match=r"^Conv node_of_it: .*Error parsing message"):
        tensorrt.build(trt, b"not a model", timing=None, progress=lambda *step: None)


# -- without a GPU ----------------------------------------------------------------------------------------------------

PROVEN = "C8-onnx-int8-fp16.onnx and C8-onnx-int8.onnx are made and proven"
THERE = (
    f"Engines are built on the device that runs them. {{out}}/{PROVEN}. Take them there in a bundle "
    "(lc2fer-deploy bundle --config C8), or alone and run: /usr/src/tensorrt/bin/trtexec --stronglyTyped "
    "--onnx=C8-onnx-int8-fp16.onnx --saveEngine=C8-trt-int8.engine"
)


@pytest.mark.parametrize(
    ("packages", "settings", "text"),
    [
        ((), {}, f"the package tensorrt is not installed. {THERE}"),
        (("tensorrt",), {}, f"neither pycuda nor cuda-python 12.6 or newer is installed. {THERE}"),
        (("tensorrt", "cuda"), {"GPU_STATUS": "35"}, f"no NVIDIA driver (cudaGetDeviceCount: 35). {THERE}"),
        (
            ("tensorrt", "cuda"),
            {"GPU_STATUS": "Failed to dlopen libcuda.so.1"},
            f"no NVIDIA driver (cudaGetDeviceCount: Failed to dlopen libcuda.so.1). {THERE}",
        ),
        (("tensorrt", "cuda"), {"GPU_STATUS": "100"}, f"no GPU (cudaGetDeviceCount: 100). {THERE}"),
        (("tensorrt", "cuda"), {"GPU_COUNT": "0"}, f"no GPU (cudaGetDeviceCount found none). {THERE}"),
        (
            ("tensorrt", "pycuda"),
            {"GPU_STATUS": "no CUDA-capable device is detected"},
            f"no NVIDIA driver (pycuda: cuInit failed: no CUDA-capable device is detected). {THERE}",
        ),
        *(
            (
                ("tensorrt", "cuda"),
                {"TENSORRT_VERSION": version},
                f"TensorRT {version} is installed, and 10.3 to 11.x is what this version of lc2fer is written for. "
                f"{{out}}/{PROVEN}. Install one of the versions named and run this command again.",
            )
            for version in ("8.6.2", "10.2.0", "12.0.1")
        ),
    ],
)
def test_a_machine_that_cannot_build_says_why_and_exits_3(
    packages: tuple[str, ...],
    settings: dict[str, str],
    text: str,
    put_in: Callable[..., None],
    export: Export,
    small_weights: Path,
    small_faces: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_in(*packages)
    for name, value in settings.items():
        monkeypatch.setenv(f"FAKE_{name}", value)
    arguments = ["--config", "C8", "--target", "trt-int8", "--weights", str(small_weights), "--data", str(small_faces)]
    assert cli.run("export", [*arguments, "--calibration-images", "40", "--out", str(tmp_path)]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    said = captured.err.splitlines()[-1]
    assert said == f"TargetUnavailable: TensorRT cannot be used here: {text.format(out=tmp_path)}"
    assert not list(tmp_path.glob("*.engine"))
    for name in ("C8-onnx-int8-fp16", "C8-onnx-int8"):
        assert load(tmp_path / f"{name}.onnx").proof is not None


def test_a_broken_tensorrt_is_told_from_a_missing_one(
    put_in: Callable[..., None], export: Export, tmp_path: Path
) -> None:
    put_in("tensorrt", "cuda")
    broken = tmp_path / "broken" / "tensorrt"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libnvdla_compiler.so: cannot open shared object file')")
    sys.path.insert(0, str(broken.parent))
    with pytest.raises(
        TargetUnavailable,
        match=r"the package tensorrt is installed and cannot be imported \(libnvdla_compiler.so: cannot open shared",
    ):
        export("trt-fp16")


def test_an_engine_opens_by_its_path(gpu: ModuleType, export: Export) -> None:
    import numpy as np

    artifact = export("trt-fp32")
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32)).astype(np.float32)
    with open_session(artifact.path) as session, open_session(artifact.path.with_name("C8-torch.safetensors")) as torch:
        assert np.abs(session.run(images) - torch.run(images)).max() < 1e-3

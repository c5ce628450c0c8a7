"""The session of TensorRT engines, through both bindings of CUDA, on a GPU of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from lc2fer.deploy.sessions import cuda
from lc2fer.deploy.sessions import tensorrt as deploy

from lc2fer import nvidia, open_session
from lc2fer.artifact import Artifact, record_of
from lc2fer.errors import ArtifactError, Lc2ferError, TargetUnavailable, UsageError

Export = Callable[[str], Artifact]


@pytest.fixture
def artifact(gpu: ModuleType, export: Export) -> Artifact:
    return export("trt-fp32")


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32)).astype(np.float32)


@pytest.fixture
def session(artifact: Artifact) -> Iterator[deploy.TensorRtSession]:
    with deploy.load(artifact) as opened:
        yield opened


@pytest.fixture
def logits(artifact: Artifact, images: np.ndarray) -> np.ndarray:
    with open_session(artifact.path.with_name("C8-onnx-fp32.onnx")) as reference:
        return reference.run(images)


def test_logits_are_the_callers(session: deploy.TensorRtSession, images: np.ndarray, logits: np.ndarray) -> None:
    first = session.run(images[:1])
    kept = first.copy()
    together = session.run(images)
    assert (together.shape, together.dtype) == ((3, 7), np.float32)
    assert np.abs(together - logits).max() < 1e-3
    assert np.array_equal(first, kept), "a later run overwrote an earlier answer"
    assert session.replays == (cuda.find_spec("pycuda") is None), "cuda-python captures graphs, pycuda has none"
    with pytest.raises(UsageError, match=r"was given uint8 \[3, 3, 32, 32\]. Expected float32"):
        session.run(images.astype(np.uint8))  # type: ignore[arg-type]


def test_bound_images_stay_on_the_device(
    session: deploy.TensorRtSession, images: np.ndarray, logits: np.ndarray
) -> None:
    compute = session.bind(images[2:])
    compute()
    session._cuda.download(session._place(1).output)
    session._cuda.synchronize()
    assert np.abs(session._place(1).output.array - logits[2]).max() < 1e-3


def test_a_jetson_shares_its_memory(
    artifact: Artifact, images: np.ndarray, logits: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GPU_INTEGRATED", "1")
    with deploy.load(artifact) as session:
        assert session._place(1).input.shared
        assert session._place(1).output.shared
        assert np.abs(session.run(images) - logits).max() < 1e-3


@pytest.mark.parametrize("setting", [{"TENSORRT_CAPTURE": "0"}, {"GPU_CAPTURE_STATUS": "900"}])
def test_an_engine_that_cannot_be_captured_runs_all_the_same(
    setting: dict[str, str], artifact: Artifact, images: np.ndarray, logits: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in setting.items():
        monkeypatch.setenv(f"FAKE_{name}", value)
    with deploy.load(artifact) as session:
        assert not session.replays
        assert np.abs(session.run(images) - logits).max() < 1e-3


def test_executed_precisions_are_read_back(session: deploy.TensorRtSession) -> None:
    assert session.executed_precisions() == {"fp32": session.executed_precisions()["fp32"]}  # type: ignore[index]


def test_a_closed_session_says_so(artifact: Artifact, images: np.ndarray, gpu: ModuleType) -> None:
    session = deploy.load(artifact)
    session.run(np.concatenate([images, images]))
    session.close()
    assert gpu.left() == []
    session.close()
    with pytest.raises(Lc2ferError, match=r"C8-trt-fp32.engine was closed. An open session was expected. Open it"):
        session.run(images)


def test_a_session_that_nobody_closed_frees_the_gpu(artifact: Artifact, images: np.ndarray, gpu: ModuleType) -> None:
    session = deploy.load(artifact)
    session.run(np.concatenate([images, images]))
    assert gpu.left() != []
    del session
    assert gpu.left() == []


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"GPU_SM": "8.9", "GPU_NAME": "Fake 4090"}, "device Fake Orin (here Fake 4090), SM 8.7 (here 8.9)"),
        ({"TENSORRT_VERSION": "10.16.2.10"}, "TensorRT 10.3.0 (here 10.16.2.10)"),
    ],
)
def test_an_engine_of_another_machine_is_refused_with_the_command(
    settings: dict[str, str],
    text: str,
    artifact: Artifact,
    put_in: Callable[..., None],
    gpu: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    for name, value in settings.items():
        monkeypatch.setenv(f"FAKE_{name}", value)
    monkeypatch.setattr(sys.modules["tensorrt"], "__version__", settings.get("TENSORRT_VERSION", "10.3.0"))
    with pytest.raises(ArtifactError) as refusal:
        open_session(artifact.path)
    assert str(refusal.value) == (
        f"{artifact.path} was built for {text}. An engine runs where it was built. "
        "Build it here: lc2fer-export --config C8 --target trt-fp32"
    )


def test_another_l4t_is_another_machine(artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = tmp_path / "nv_tegra_release"
    release.write_text("# R39 (release), REVISION: 2.0, GCID: 1, BOARD: generic, EABI: aarch64\n")
    monkeypatch.setattr(nvidia, "_L4T", release)
    assert nvidia.l4t() == "39.2.0"
    with pytest.raises(ArtifactError, match=r"was built for L4T None \(here 39.2.0\)"):
        open_session(artifact.path)


def test_truncated_and_foreign_files_are_errors(artifact: Artifact, gpu: ModuleType) -> None:
    whole = artifact.path.read_bytes()
    artifact.path.unlink()
    artifact.path.write_bytes(whole[:-100])
    with pytest.raises(ArtifactError, match=r"is not the file that its manifest describes .* truncated or changed"):
        open_session(artifact.path)
    with pytest.raises(
        ArtifactError,
        match=r"is not the file that its manifest describes .* truncated or changed. Build it here: lc2fer",
    ):
        deploy.load(artifact)
    artifact.path.write_bytes(b"not an engine")
    with pytest.raises(
        ArtifactError,
        match=r"TensorRT 10.3.0 refuses .*engine: Serialization assertion header.magicTag == kMAGIC_TAG failed. "
        r"A model that it can run was expected. Build it here: lc2fer-export --config C8 --target trt-fp32$",
    ):
        deploy.load(replace(artifact, files=(record_of(artifact.path),)))
    assert gpu.left() == []


def test_an_engine_with_other_tensors_is_refused(artifact: Artifact) -> None:
    spec = replace(artifact.input_spec, size=100)
    with pytest.raises(
        ArtifactError,
        match=r"takes and gives \[\[1, 3, 32, 32\], \[1, 7\]\]. One float32 input \[1, 3, 100, 100\] and one output "
        r"\[1, 7\] were expected. Build it here",
    ):
        deploy.load(replace(artifact, input_spec=spec))


def test_a_manifest_without_a_device_is_refused(artifact: Artifact) -> None:
    with pytest.raises(ArtifactError, match=r"does not say which device it was built for. Expected an engine of"):
        deploy.load(replace(artifact, device=None))


def test_a_full_gpu_says_so(artifact: Artifact, monkeypatch: pytest.MonkeyPatch, gpu: ModuleType) -> None:
    monkeypatch.setenv("FAKE_TENSORRT_MEMORY", "full")
    with pytest.raises(
        Lc2ferError,
        match=r"could not get its memory on Fake Orin. A context of some megabytes was expected to fit. End",
    ):
        deploy.load(artifact)
    assert gpu.left() == []


def test_a_failing_gpu_says_so(
    session: deploy.TensorRtSession, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cuda.find_spec("pycuda") is not None:
        text = r"CUDA failed \(pycuda: gone\). The GPU was working when"
        with pytest.raises(Lc2ferError, match=text), session._cuda._current():  # type: ignore[attr-defined]
            raise session._cuda._driver.Error("gone")  # type: ignore[attr-defined]
        return
    monkeypatch.setenv("FAKE_GPU_SYNCHRONIZE", "700")
    with pytest.raises(Lc2ferError, match=r"CUDA failed \(cudaStreamSynchronize: 700\). The GPU was working when"):
        session.run(images)
    monkeypatch.delenv("FAKE_GPU_SYNCHRONIZE")
    session._cuda.synchronize()


def test_no_gpu_is_found_before_tensorrt_is_touched(
    artifact: Artifact, gpu: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setenv("FAKE_GPU_STATUS", "35")
    monkeypatch.delitem(sys.modules, "tensorrt")
    with pytest.raises(
        TargetUnavailable,
        match=r"C8-trt-fp32.engine cannot be opened here: no NVIDIA driver \(.*35\). It runs with TensorRT on "
        r"Fake Orin. Open it there.",
    ):
        open_session(artifact.path)
    assert "tensorrt" not in sys.modules


# -- the inspector's two schemas --------------------------------------------------------------------------------------

TEN = """{"Layers": [
 {"Name": "conv", "LayerType": "CaskConvolution",
  "Inputs": [{"Name": "x", "Dimensions": [1, 64, 25, 25],
              "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}],
  "Outputs": [{"Name": "y", "Dimensions": [1, 64, 25, 25], "Format/Datatype": "Row major linear FP16 format"}]},
 {"Name": "Reformatting CopyNode", "LayerType": "Reformat",
  "Inputs": [{"Format/Datatype": "Row major linear FP32"}], "Outputs": [{"Format/Datatype": "Half"}]},
 {"Name": "norm", "LayerType": "kgen", "Inputs": [{"Format/Datatype": "Float"}], "Outputs": []},
 "a name alone"], "Bindings": ["pixels", "logits"]}"""
ELEVEN = """{"Layers": [
 {"Name": "conv", "LayerType": "CaskConvolution",
  "Inputs": [{"Name": "x", "Dimensions": [1, 64, 25, 25], "Format": "NC/32HW32", "DataType": "Int8"}], "Outputs": []},
 {"Name": "norm", "LayerType": "kgen", "Inputs": [{"Format": "kLINEAR", "DataType": "Half"}], "Outputs": []}],
 "I/O Tensors": [{"Name": "pixels", "IOMode": "Input", "DataType": "Float", "Dimensions": [1, 3, 100, 100]}]}"""


def test_both_schemas_of_the_inspector_are_read() -> None:
    ten = nvidia.layers(TEN)
    assert [layer["precision"] for layer in ten] == ["int8", "fp32", "fp32", "unknown"]
    assert nvidia.executed(ten) == {"int8": 1, "fp32": 1, "unknown": 1}  # a reformat computes nothing
    assert nvidia.executed(nvidia.layers(ELEVEN)) == {"int8": 1, "fp16": 1}
    for damaged in ("", "[]", '{"Layers": 3}', "not JSON"):
        with pytest.raises(ValueError, match=r"no layers|Expecting value"):
            nvidia.layers(damaged)


def test_a_profile_takes_batches(gpu: ModuleType, export: Export, images: np.ndarray) -> None:
    export.__self__.max_batch = 4  # type: ignore[attr-defined]
    artifact = export("trt-fp32")
    assert artifact.device is not None
    assert artifact.device["max_batch"] == 4
    batch = np.concatenate([images, images, images[:1]])
    with open_session(artifact.path.with_name("C8-onnx-fp32.onnx")) as reference:
        wanted = reference.run(batch)
    with deploy.load(artifact) as session:
        assert session.most == 4
        assert np.abs(session.run(batch) - wanted).max() < 1e-3
        assert set(session._held.places) == {1, 2, 4}
        assert np.abs(session.run(batch[2:]) - wanted[2:]).max() < 1e-3, (
            "a captured graph runs what it was captured for"
        )
    export.__self__.max_batch = 1  # type: ignore[attr-defined]
    again = export("trt-fp32")
    assert again.sha256 != artifact.sha256, "an engine for another batch was reused"
    with deploy.load(again) as session:
        assert session.most == 1


@pytest.mark.parametrize(
    ("images", "most", "pieces"), [(7, 4, [4, 2, 1]), (1, 1, [1]), (9, 3, [3, 3, 3]), (5, 6, [4, 1])]
)
def test_batches_are_cut_into_few_sizes(images: int, most: int, pieces: list[int]) -> None:
    assert list(deploy.cut(images, most)) == pieces

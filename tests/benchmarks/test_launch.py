import numpy as np
import pytest
from lc2fer.benchmarks.launch import Images, Settings, evaluate, measure
from lc2fer.benchmarks.worker import WorkerError

from lc2fer import artifact as artifacts
from lc2fer.errors import ArtifactError
from lc2fer.inputs import InputSpec

SHORT = Settings(threads=1, runs=50, seconds=0.0, warm_up_limit_s=0.3)


@pytest.fixture
def images(tmp_path) -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 3), dtype=np.uint8)
    pixels[:, :, :, 0] = (np.arange(70) % 7 * 32 + 16)[:, None, None]
    pixels.tofile(tmp_path / "images.bin")
    return Images(tmp_path / "images.bin", 70, 8)


def test_a_chattering_engine_is_measured_in_a_process_of_its_own(engine, tiny, images, tmp_path):
    artifact = tiny(tmp_path / "out", "C6-onnx-fp32", b"memory")
    measurement, outputs = measure(artifact, images, SHORT, tmp_path)
    assert outputs.predictions == tuple(np.arange(70) % 7)
    assert len(measurement.samples_ns) >= 50
    assert len(measurement.warm_up_ns) >= 25
    assert min(measurement.samples_ns) > 0
    assert sum(measurement.warm_up_ns) < 1e9
    assert measurement.inputs == 64
    assert "it has" in " ".join(measurement.degraded)
    if measurement.memory.kind is not None:
        assert list(measurement.memory.phases) == ["baseline", "import", "load", "first", "steady"]
        assert 50e6 < measurement.memory.growth_bytes("load") < 70e6
        assert 50e6 < measurement.memory.growth_bytes("steady") < 70e6
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".npy") == []


def test_a_real_model_is_scored_as_it_is(real_model, tiny, images, tmp_path):
    pytest.importorskip("onnxruntime")
    artifact = tiny(tmp_path / "out", "C6-onnx-fp32", real_model)
    outputs = evaluate(artifact, images, SHORT, tmp_path)
    pixels = np.fromfile(images.path, np.uint8).reshape(70, 64, 3).astype(np.float32)
    weights = np.arange(21, dtype=np.float32).reshape(3, 7) / 100
    assert np.allclose(outputs.logits, pixels.mean(axis=1) @ weights, rtol=1e-5)


def test_a_crash_is_told_with_its_signal_stage_and_last_line(engine, tiny, images, tmp_path):
    with pytest.raises(WorkerError) as raised:
        measure(tiny(tmp_path / "out", "C6-onnx-int8", b"crash", target="onnx-int8"), images, SHORT, tmp_path)
    assert str(raised.value) == (
        "The process that measures C6 onnx-int8 was killed by SIGSEGV while timing. A result was expected. "
        "Its last line was: engine: bad kernel"
    )


def test_an_error_of_the_engine_names_row_and_stage(engine, tiny, images, tmp_path):
    text = "measures C6 onnx-fp32, while running the first image, failed with RuntimeError: no such kernel"
    with pytest.raises(WorkerError, match=text):
        measure(tiny(tmp_path / "out", "C6-onnx-fp32", b"raise"), images, SHORT, tmp_path)


def test_logits_that_are_not_finite_are_refused(engine, tiny, images, tmp_path):
    with pytest.raises(ArtifactError, match=r"answered image 0 with NaN or infinity\. Finite logits"):
        evaluate(tiny(tmp_path / "out", "C6-onnx-fp32", b"nan"), images, SHORT, tmp_path)


def test_a_model_for_other_images_is_refused(engine, tiny, images, tmp_path):
    other = tiny(tmp_path / "size", "C6-onnx-fp32", b"", spec=InputSpec(size=9))
    with pytest.raises(ArtifactError, match=r"takes images of 9 pixels .* The images have 8 pixels"):
        evaluate(other, images, SHORT, tmp_path)
    other = tiny(tmp_path / "labels", "C6-onnx-fp32", b"", spec=InputSpec(size=8, labels=tuple("abcdefg")))
    with pytest.raises(ArtifactError, match="the labels a, b, c, d, e, f, g"):
        evaluate(other, images, SHORT, tmp_path)


def test_a_model_that_changed_on_disk_is_refused(engine, tiny, images, tmp_path):
    artifact = tiny(tmp_path / "out", "C6-onnx-fp32", b"fine")
    artifact.path.write_bytes(b"else")
    with pytest.raises(ArtifactError, match="is not the file that its manifest describes"):
        evaluate(artifact, images, SHORT, tmp_path)
    assert artifacts.hash_file(artifact.path) != artifact.sha256

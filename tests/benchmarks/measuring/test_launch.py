import numpy as np
import pytest
from lc2fer.benchmarks.measuring.launch import Images, Settings, evaluate, measure, measure_and_score
from lc2fer.benchmarks.measuring.perturb import perturb
from lc2fer.benchmarks.measuring.worker import WorkerError
from PIL import Image

from lc2fer import artifact as artifacts
from lc2fer.errors import ArtifactError
from lc2fer.inputs import InputSpec

SHORT = Settings(threads=1, runs=50, seconds=0.0, warm_up_limit_s=0.3)


@pytest.fixture
def images(tmp_path) -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 3), dtype=np.uint8)
    pixels[:, :, :, 0] = (np.arange(70) % 7 * 32 + 16)[:, None, None]
    pixels.tofile(tmp_path / "images.bin")
    perturb("occlusion", pixels[:20]).tofile(tmp_path / "covered.bin")
    files = []
    for place, picture in enumerate(pixels):
        files.append(tmp_path / f"{place}.png")
        Image.fromarray(picture).save(files[-1])
    return Images(tmp_path / "images.bin", 70, 8, tuple(files), {"occlusion": tmp_path / "covered.bin"}, 20)


def test_a_chattering_engine_is_measured_in_a_process_of_its_own(engine, tiny, images, tmp_path):
    artifact = tiny(tmp_path / "out", "C6-onnx-fp32", b"memory")
    launch, scored = measure_and_score(artifact, images, SHORT, tmp_path)
    assert scored.outputs.predictions == tuple(np.arange(70) % 7)
    assert len(launch.samples_ns) >= 50
    assert len(launch.compute_ns) >= 30
    assert len(launch.frame_ns) >= 30
    assert len(launch.warm_up_ns) >= 25
    assert min(launch.samples_ns) > 0
    assert sum(launch.warm_up_ns) < 1e9
    assert launch.inputs == 64
    runs, elapsed_ns = launch.throughput
    assert runs == 64
    assert elapsed_ns > 0
    assert launch.executed == {"int8": 2, "float": 1}
    assert min(launch.import_s, launch.load_s, launch.compile_s, launch.first_s) > 0
    if launch.memory.kind is not None:
        assert list(launch.memory.phases) == ["baseline", "import", "load", "compile", "first", "timed", "steady"]
        assert launch.memory.growth_bytes("load") < 30e6
        assert 50e6 < launch.memory.growth_bytes("compile") < 80e6
        assert 50e6 < launch.memory.growth_bytes("steady") < 80e6
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".npy") == []


def test_a_real_model_is_scored_as_it_is(real_model, tiny, images, tmp_path):
    pytest.importorskip("onnxruntime")
    artifact = tiny(tmp_path / "out", "C6-onnx-fp32", real_model)
    scored = evaluate(artifact, images, SHORT, tmp_path)
    pixels = np.fromfile(images.path, np.uint8).reshape(70, 64, 3).astype(np.float32)
    weights = np.arange(21, dtype=np.float32).reshape(3, 7) / 100
    assert np.allclose(scored.outputs.logits, pixels.mean(axis=1) @ weights, rtol=1e-5)
    covered = np.fromfile(images.perturbed["occlusion"], np.uint8).reshape(20, 64, 3).astype(np.float32)
    assert list(scored.perturbed) == ["occlusion"]
    assert np.allclose(scored.perturbed["occlusion"].logits, covered.mean(axis=1) @ weights, rtol=1e-5)


def test_a_crash_is_told_with_its_signal_stage_and_last_line(engine, tiny, images, tmp_path):
    with pytest.raises(WorkerError) as raised:
        measure(tiny(tmp_path / "out", "C6-onnx-int8", b"crash", target="onnx-int8"), images, SHORT, tmp_path)
    assert str(raised.value) == (
        "The process that measures C6 onnx-int8 was killed by SIGSEGV while timing. A result was expected. "
        "Its last line was: engine: bad kernel"
    )


def test_an_error_of_the_engine_is_said_as_a_session_says_it(engine, tiny, images, tmp_path):
    text = r"^ONNX Runtime refuses .*C6-onnx-fp32\.onnx: no such kernel\. A model that it can run was expected\."
    with pytest.raises(ArtifactError, match=text):
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

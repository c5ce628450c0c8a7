"""One suite for every session: the same images through each engine, and the same refusals."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from lc2fer.export.pipeline import Pipeline

from lc2fer import Session, open_session
from lc2fer.artifact import Artifact, record_of
from lc2fer.errors import ArtifactError, UsageError

TARGETS = ("torch", "onnx-fp32", "openvino-fp32", "native-fp32")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, noise_faces: Path) -> Callable[[str], Artifact]:
    return Pipeline("C8", tmp_path_factory.mktemp("sessions"), data=noise_faces).export


@pytest.fixture(scope="module", params=TARGETS)
def session(request: pytest.FixtureRequest, made: Callable[[str], Artifact]) -> Iterator[Session]:
    with open_session(made(request.param).path, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 3, 100, 100)).astype(np.float32)


def test_logits(session: Session, images: np.ndarray, made: Callable[[str], Artifact]) -> None:
    logits = session.run(images)
    assert (logits.shape, logits.dtype) == ((3, 7), np.float32)
    with open_session(made("torch")) as reference:
        assert np.abs(logits - reference.run(images)).max() < 1e-4 * np.abs(logits).max()


def test_a_batch_is_its_images(session: Session, images: np.ndarray) -> None:
    together = session.run(images)
    apart = np.concatenate([session.run(image[None]) for image in images])
    assert np.allclose(together, apart, atol=1e-5)


def test_answers_are_the_callers(session: Session, images: np.ndarray) -> None:
    first = session.run(images[:1])
    kept = first.copy()
    session.run(images[1:2])
    assert np.array_equal(first, kept), "a later run overwrote an earlier answer"


def test_an_image_can_be_put_in_place_beforehand(session: Session, images: np.ndarray) -> None:
    expected = session.run(images[1:2])
    for place in (0, 2):
        session.bind(np.ascontiguousarray(images[place : place + 1]))()  # type: ignore[attr-defined]
    assert np.array_equal(session.run(images[1:2]), expected)


def test_an_engine_tells_the_precision_that_it_runs_in(session: Session) -> None:
    if session.artifact.kind == "checkpoint":
        pytest.skip("PyTorch runs what the checkpoint holds")
    (precision, layers), *others = session.executed_precisions().items()  # type: ignore[attr-defined]
    assert precision in {"float", "f32"}
    assert layers > (5 if session.artifact.kind == "native" else 20)
    assert others == []


def test_a_batch_runs_after_onnx_runtime_told_its_precision(
    made: Callable[[str], Artifact], images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_session(made("onnx-fp32").path, threads=2) as session:
        session.executed_precisions()  # type: ignore[attr-defined]
        assert session.run(images).shape == (3, 7)
        assert session._single.get_profiling_start_time_ns() == 0  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []  # no profile is written


@pytest.mark.skipif(platform.machine() != "x86_64", reason="OpenVINO's own choice is known of x86 alone")
def test_openvino_chooses_what_half_precision_runs_in(made: Callable[[str], Artifact]) -> None:
    """float16 is slower than float32 where an Intel has instructions for it."""
    with open_session(made("openvino-fp16").path, threads=1) as session:
        assert set(session.executed_precisions()) <= {"bf16", "f32"}  # type: ignore[attr-defined]


def test_strided_input(session: Session, images: np.ndarray) -> None:
    strided = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.allclose(session.run(strided), session.run(images), atol=1e-5)


@pytest.mark.parametrize(
    ("batch", "text"),
    [
        (
            np.zeros((1, 3, 100, 100), np.uint8),
            r"was given uint8 \[1, 3, 100, 100\]. Expected float32 \[N, 3, 100, 100\]",
        ),
        (np.zeros((1, 3, 99, 100), np.float32), r"was given float32 \[1, 3, 99, 100\]"),
        (np.zeros((3, 100, 100), np.float32), r"was given float32 \[3, 100, 100\]"),
        (np.zeros((0, 3, 100, 100), np.float32), r"was given float32 \[0, 3, 100, 100\]"),
    ],
)
def test_wrong_batches(session: Session, batch: np.ndarray, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        session.run(batch)


def test_contract_travels(session: Session) -> None:
    from PIL import Image

    picture = session.artifact.input_spec.apply(Image.new("L", (120, 90), 200))
    assert (picture.shape, picture.dtype, picture.max()) == ((3, 100, 100), np.float32, 200.0)
    assert session.artifact.input_spec.labels[3] == "happiness"


@pytest.mark.parametrize("target", ["onnx-fp32", "openvino-fp32", "native-fp32"])
def test_a_foreign_file_is_an_error(target: str, made: Callable[[str], Artifact], tmp_path: Path) -> None:
    from dataclasses import replace

    artifact = made(target)
    garbage = tmp_path / artifact.path.name
    garbage.write_bytes(b"not a model")
    foreign = replace(artifact, path=garbage, files=(record_of(garbage),))
    with pytest.raises(ArtifactError, match=r"refuses .*A model that it can run was expected. Export it again"):
        open_session(foreign)

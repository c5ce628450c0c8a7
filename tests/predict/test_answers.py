"""lc2fer.predict and lc2fer.faces: the short way from Python."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forks import forked
from PIL import Image

import lc2fer
from lc2fer import artifact
from lc2fer.errors import ArtifactError, DataError, UsageError
from lc2fer.inputs import LABELS, InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build
from lc2fer.predicting import judging
from lc2fer.variants import VARIANTS


def test_a_photograph_s_face_is_found_and_judged(photograph: Callable[[str], Path]) -> None:
    path = photograph("astronaut")
    (answer,) = lc2fer.predict(path)
    assert answer.expression == "happiness"
    assert answer.confidence == max(answer.probabilities.values())
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)
    (face,) = lc2fer.faces(path)
    assert answer.box == tuple(round(side) for side in (face.left, face.top, face.width, face.height))
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
        assert lc2fer.predict(image) == lc2fer.predict(pixels) == (answer,)
    (unsure,) = lc2fer.predict(pixels, min_confidence=1.0)
    assert (unsure.expression, unsure.confidence) == (None, answer.confidence)


def test_a_session_may_be_given_and_a_crop_has_no_box(photograph: Callable[[str], Path]) -> None:
    bundled = artifact.bundled("C6")
    assert bundled is not None
    with lc2fer.open_session(bundled) as session:
        (answer,) = lc2fer.predict(photograph("astronaut"), session, faces="crop")
    assert answer.box is None
    assert tuple(answer.probabilities) == session.artifact.input_spec.labels


def test_a_model_is_the_file_of_that_name_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photograph: Callable[[str], Path]
) -> None:
    path, model = photograph("astronaut"), "C8.safetensors"
    labels = {"one": LABELS, "two": LABELS[::-1]}
    for folder, names in labels.items():
        (tmp_path / folder).mkdir()
        made = checkpoint.save(
            build(VARIANTS["C8"]), tmp_path / folder, "C8", input_spec=InputSpec(labels=names), training={}
        )
        monkeypatch.chdir(made.path.parent)
        (answer,) = lc2fer.predict(path, model, faces="crop")
        assert tuple(answer.probabilities) == names
    for file in (tmp_path / "one").iterdir():
        file.replace(tmp_path / "two" / file.name)
    (answer,) = lc2fer.predict(path, model, faces="crop")
    assert tuple(answer.probabilities) == LABELS
    with pytest.raises(ArtifactError, match=r"none\.onnx is missing"):
        lc2fer.predict(path, "none.onnx", faces="crop")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_answers_while_another_thread_was_answering(
    photograph: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = photograph("astronaut")
    there, go = threading.Event(), threading.Event()
    prepare = judging.prepare

    def slowly(*given: Any) -> Any:
        there.set()
        assert go.wait(60)
        return prepare(*given)

    monkeypatch.setattr(judging, "prepare", slowly)
    thread = threading.Thread(target=lc2fer.predict, args=(path,))
    thread.start()
    assert there.wait(60)
    monkeypatch.setattr(judging, "prepare", prepare)
    try:
        assert forked(lambda: len(lc2fer.faces(path))) == "1"
    finally:
        go.set()
        thread.join()


def test_no_face_is_no_answer() -> None:
    field = np.full((400, 600, 3), 90, np.uint8)
    assert lc2fer.predict(field) == ()
    assert lc2fer.faces(field) == ()


def test_a_picture_that_pillow_opened_and_cannot_read_is_told(photograph: Callable[[str], Path]) -> None:
    with Image.open(photograph("astronaut")) as image:
        file = BytesIO()
        image.convert("RGB").save(file, "JPEG")
    for ask in (lc2fer.predict, lc2fer.faces):
        with Image.open(BytesIO(file.getvalue()[:9000])) as half, pytest.raises(DataError) as refused:
            ask(half)
        assert str(refused.value).startswith("The picture cannot be read: image file is truncated (")
        assert str(refused.value).endswith(". Expected a whole JPEG, PNG or WebP. Choose another file.")


def test_what_cannot_be_is_told(tmp_path: Path) -> None:
    field = np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(UsageError, match=r"^faces is 'all'. Expected one of auto, crop, find. Pass one of them.$"):
        lc2fer.predict(field, faces="all")
    with pytest.raises(UsageError, match=r"^min_confidence is 2. Expected a probability, 0 to 1. Pass, say, 0.5.$"):
        lc2fer.predict(field, min_confidence=2)
    with pytest.raises(DataError, match="A picture was given as float64"):
        lc2fer.predict(np.zeros((40, 40, 3)))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"none.jpg"):
        lc2fer.faces(tmp_path / "none.jpg")


@pytest.mark.parametrize("confidence", ["0.5", None, float("nan")])
def test_a_confidence_that_is_no_number_is_told(confidence: Any) -> None:
    with pytest.raises(UsageError, match=rf"^min_confidence is {confidence!r}. Expected a probability, 0 to 1. Pass,"):
        lc2fer.predict(np.zeros((40, 40, 3), np.uint8), min_confidence=confidence)


@pytest.mark.parametrize("model", [5, b"C8.onnx", ["C8.onnx"]])
def test_a_model_that_is_none_is_told(model: Any) -> None:
    kind = type(model).__name__
    with pytest.raises(UsageError) as refused:
        lc2fer.predict(np.zeros((40, 40, 3), np.uint8), model, faces="crop")
    assert str(refused.value) == (
        f"model is a {kind}. Expected an exported file or an open session. Pass the file's path."
    )
    with pytest.raises(UsageError) as refused:
        lc2fer.open_session(model)
    assert str(refused.value) == f"A {kind} was given. Expected a model file or its manifest. Pass its path."


def test_no_name_is_no_file() -> None:
    for ask in (lc2fer.predict, lc2fer.faces):
        with pytest.raises(DataError, match=r"^'' is no file. Expected a picture of a face. Pass its path.$"):
            ask("")
    with pytest.raises(ArtifactError, match=r"^'' is no file. Expected a model file or its manifest. Pass its path.$"):
        lc2fer.predict(np.zeros((40, 40, 3), np.uint8), "")


def test_any_path_like_is_a_path(photograph: Callable[[str], Path]) -> None:
    class Entry:
        def __fspath__(self) -> str:
            return str(photograph("astronaut"))

    assert len(lc2fer.faces(Entry())) == 1  # type: ignore[arg-type]


def test_one_opened_picture_for_many_threads(photograph: Callable[[str], Path]) -> None:
    with Image.open(photograph("grace_hopper")) as picture, ThreadPoolExecutor(8) as pool:  # nothing is decoded yet
        found = list(pool.map(lambda _: lc2fer.faces(picture), range(8)))
    assert len(found[0]) == 1
    assert found == [found[0]] * 8

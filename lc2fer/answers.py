"""The short way from Python: `lc2fer.predict(picture)` and `lc2fer.faces(picture)`.

What was opened stays open for the process. Whoever serves many requests opens a session: lc2fer/session.py.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lc2fer import artifact as artifacts
from lc2fer import pictures
from lc2fer.errors import DataError, UsageError
from lc2fer.finder import Face, Finder, open_finder
from lc2fer.inputs import as_image
from lc2fer.metrics import softmax
from lc2fer.session import Session, open_session

if TYPE_CHECKING:
    from PIL.Image import Image

MIN_CONFIDENCE = 0.5  # below it no expression is said
_one_at_a_time = threading.Lock()  # a finder is for one thread, and so is a picture that is being decoded


def _in_a_fork() -> None:
    """A lock that another thread held comes along held, and the thread that would open it does not."""
    global _one_at_a_time
    _one_at_a_time = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_in_a_fork)


@dataclass(frozen=True)
class Answer:
    """What was seen in one face.

    `expression` is None where no expression is as probable as was asked for: unsure. `confidence` is that of the most
    probable one, 0..1. `probabilities` holds all, in the model's order; they sum to 1. `box` is left, top, width and
    height in pixels, None where the picture itself is the face.
    """

    expression: str | None
    confidence: float
    probabilities: Mapping[str, float]
    box: tuple[int, int, int, int] | None


def predict(
    picture: str | Path | Image | NDArray[np.uint8],
    model: str | Path | Session | None = None,
    *,
    faces: str = "auto",
    min_confidence: float = MIN_CONFIDENCE,
) -> tuple[Answer, ...]:
    """The expression of each face in a picture, the largest face first; empty where there is none.

    `picture` is a file, a PIL image, or pixels uint8 [H,W,3] in RGB. `model` is an exported file or an open session;
    without one the bundled C6 is used, which needs PyTorch. `faces` is "auto", "find" or "crop": whether faces are
    searched for, or the picture is one. Raises DataError for what is no picture, ArtifactError and TargetUnavailable as
    `open_session` does, UsageError for a wrong `faces` or `min_confidence`.
    """
    judging: Any = importlib.import_module("lc2fer.predicting.judging")
    if faces not in judging.WAYS:
        raise UsageError(f"faces is {faces!r}. Expected one of {', '.join(judging.WAYS)}. Pass one of them.")
    if not isinstance(min_confidence, Real) or not 0 <= min_confidence <= 1:
        raise UsageError(f"min_confidence is {min_confidence!r}. Expected a probability, 0 to 1. Pass, say, 0.5.")
    pixels = _pixels(picture)
    session = _session(model)
    spec = session.artifact.input_spec
    with _one_at_a_time:
        finder = None if faces == "crop" else _finder(os.getpid())
        found, taken = judging.prepare(pixels, spec, finder, faces)
    if not taken:
        return ()
    shares = softmax(session.run(np.stack(taken)))
    answers = []
    for face, row in zip(found or (None,), shares):
        best = int(row.argmax())
        sure = float(row[best]) >= min_confidence
        box = None if face is None else (round(face.left), round(face.top), round(face.width), round(face.height))
        answers.append(
            Answer(
                expression=spec.labels[best] if sure else None,
                confidence=float(row[best]),
                probabilities={name: float(share) for name, share in zip(spec.labels, row)},
                box=box,
            )
        )
    return tuple(answers)


def faces(picture: str | Path | Image | NDArray[np.uint8]) -> tuple[Face, ...]:
    """The faces of a picture, the largest first, each with its box, eyes, nose and mouth in pixels.

    `picture` is a file, a PIL image, or pixels uint8 [H,W,3] in RGB. Raises DataError for what is no picture and
    TargetUnavailable where neither ONNX Runtime nor OpenVINO is installed.
    """
    pixels = _pixels(picture)
    with _one_at_a_time:
        return _finder(os.getpid()).find(pixels)


def _pixels(picture: str | Path | Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
    if isinstance(picture, (str, os.PathLike)):
        if picture == "":
            raise DataError("'' is no file. Expected a picture of a face. Pass its path.")
        return np.asarray(pictures.read(Path(picture)).image, np.uint8)
    with _one_at_a_time:  # Pillow decodes an opened file when it is first looked at, which threads may do at once
        image = as_image(picture)
    return np.asarray(pictures.prepare(image), np.uint8)


def _session(model: str | Path | Session | None) -> Session:
    if not isinstance(model, (str, os.PathLike, type(None))):
        if not hasattr(model, "artifact"):
            what = f"model is a {type(model).__name__}"
            raise UsageError(f"{what}. Expected an exported file or an open session. Pass the file's path.")
        return model
    if model == "":
        return open_session(model)  # which says it
    path = artifacts.bundled("C6") if model is None else Path(model).absolute()  # the folder may be changed
    if path is None:
        raise UsageError("This installation has no bundled C6. Expected one in the package. Pass a model.")
    try:
        file = path.stat()
    except (OSError, ValueError):  # which `open_session` says
        return open_session(path)
    return _opened(path, (file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns), os.getpid())


@lru_cache(4)
def _opened(path: Path, file: tuple[int, ...], process: int) -> Session:
    """A session does not outlive a fork, so each process has its own; a model that was made again is another."""
    return open_session(path)


@lru_cache(1)
def _finder(process: int) -> Finder:
    return open_finder(thorough=True)

"""A picture's faces are found, or it is a face; what a model takes of each, and what an answer is."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer.errors import DataError, TargetUnavailable
from lc2fer.finder import Face, Finder
from lc2fer.inputs import InputSpec
from lc2fer.predicting import films
from lc2fer.text import remark

WAYS = ("auto", "crop", "find")
_SQUARE = 1.1  # longer over shorter side up to which a picture may be a crop
_CROP_SIDE = 256  # pixels; a small square picture in which nothing is found is taken as a crop
# Of a crop's side: the finder's box of the face in it. In FER2013's crops it is 0.89 in the middle and above 0.45 in
# 99.5 %; cutting those below 0.65 once more took 13 points of their right answers. A large picture may be a portrait.
_FILLS, _FILLS_SMALL = 0.65, 0.45


@dataclass(frozen=True)
class Answer:
    """What was seen in one face."""

    face: Face | None  # None: the whole picture is the face
    probabilities: NDArray[np.float32]  # [classes]

    def best(self, labels: tuple[str, ...]) -> tuple[str, float]:
        """The most probable expression and its probability."""
        place = int(self.probabilities.argmax())
        return labels[place], float(self.probabilities[place])


def prepare(
    image: NDArray[np.uint8], spec: InputSpec, finder: Finder | None, way: str = "auto"
) -> tuple[tuple[Face, ...] | None, tuple[NDArray[np.float32], ...]]:
    """The faces of an RGB picture uint8 [H,W,3], the largest first, and what a model takes of each, float32 [3,h,w].

    None for the faces where the picture is one. `way`: "crop" takes it as one, "find" only what the finder finds, which
    has to be given, "auto" decides.
    """
    faces = None if finder is None or way == "crop" else faces_of(image, finder, way)
    if faces is None:
        return None, (spec.apply(image),)
    return faces, tuple(spec.apply_face(image, face) for face in faces)


def faces_of(image: NDArray[np.uint8], finder: Finder, way: str = "auto") -> tuple[Face, ...] | None:
    """The faces of a picture; None where it is a crop, a face and little else.

    A square picture that one face fills is a crop, and so is a small square one in which nothing is found.
    """
    faces = finder.find(image)
    shorter, longer = sorted(image.shape[:2])
    if way == "auto" and longer <= _SQUARE * shorter:
        fills = _FILLS_SMALL if longer <= _CROP_SIDE else _FILLS
        if len(faces) == 1 and max(faces[0].width, faces[0].height) >= fills * shorter:
            return None
        if not faces and longer <= _CROP_SIDE:
            return None
    return faces


def frames(path: Path, every_s: float) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Pictures of a film, RGB uint8 [H,W,3], with their time in seconds: the first, and one each `every_s` seconds.

    Raises TargetUnavailable where OpenCV is not installed, DataError for a film that it cannot read.
    """
    try:
        cv2: Any = importlib.import_module("cv2")
    except ModuleNotFoundError:
        raise TargetUnavailable(
            f"{path} is a film, and the package cv2 is not installed. It comes with the extra [camera]. "
            "Run: pip install 'lc2fer[camera]'."
        ) from None
    film = cv2.VideoCapture(films.name_of(path))
    try:
        due_s, seen = 0.0, False
        clock = films.Clock(film, film.get(cv2.CAP_PROP_FPS) or 25.0)
        while film.grab():
            time_s = clock.read()
            if time_s + 1e-6 < due_s:
                continue
            got, picture = film.retrieve()
            if got:
                seen, due_s = True, due_s + every_s * max(1, (time_s - due_s) // every_s + 1)
                yield time_s, np.ascontiguousarray(picture[:, :, ::-1])  # BGR -> RGB
        if not seen:
            raise DataError(
                f"{path} cannot be read as a film. Expected one that OpenCV reads. Copy the file again, or convert it "
                "to MP4 with H.264."
            )
        cut = clock.cut(str(path))
        if cut:
            remark(cut)
    finally:
        film.release()

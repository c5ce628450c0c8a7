"""Where the faces are in a camera's picture: BlazeFace, which is always there, or YuNet where its file is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lc2fer.alignment import by_box
from lc2fer.finder import Face, Finder, open_finder

from .scene import Box


@dataclass(frozen=True)
class Found(Box):
    """The square that is judged of a face, and the face itself, of which a network may want its eyes."""

    face: Face | None = field(default=None, compare=False, repr=False)


class Detector(Protocol):
    """Finds faces; not to be called from two threads at once."""

    @property
    def name(self) -> str: ...

    def find(self, picture: NDArray[np.uint8]) -> list[Box]:
        """The faces of a BGR picture uint8 [H,W,3], the largest first."""
        ...


def open_detector(model: Path | None = None) -> Detector:
    """YuNet of that file, or BlazeFace.

    Raises ArtifactError for another file than YuNet's, TargetUnavailable where no engine is installed.
    """
    return _Detector(open_finder(model))


class _Detector:
    """A finder behind the camera's BGR pictures."""

    def __init__(self, finder: Finder) -> None:
        self.name = finder.name
        self._finder = finder

    def find(self, picture: NDArray[np.uint8]) -> list[Box]:
        return [box(face) for face in self._finder.find(picture, bgr=True)]


def box(face: Face) -> Found:
    """The square that is judged of a face, in whole pixels."""
    (x, y), side = by_box(face)
    return Found(round(x - side / 2), round(y - side / 2), round(side), round(side), face)

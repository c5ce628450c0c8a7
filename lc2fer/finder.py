"""A face in a picture, with eyes, nose, mouth and ears, and what finds it."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lc2fer.threads import check as check_threads

_CROP = 256  # pixels of a crop's longer side: with its margin, the finest size that a finder searches

Point = tuple[float, float]  # x and y in pixels, from the upper left corner


@dataclass(frozen=True)
class Face:
    """A face in a picture, in its pixels; left and right are the picture's sides. May stick out of the picture."""

    left: float
    top: float
    width: float
    height: float
    score: float  # 0..1
    eyes: tuple[Point, Point]  # the left one first
    nose: Point
    mouth: Point  # its middle
    ears: tuple[Point, Point] | None = None  # where the finder tells them
    # The square that networks were trained on, by the finder's box: its side over the box's longer one, and how far its
    # middle lies above the box's, in the same unit. Fitted for each finder on FER2013's faces (lc2fer/alignment.py).
    margin: float = 1.1
    raised: float = 0.035

    @property
    def eye_distance(self) -> float:
        """Pixels from one eye to the other."""
        return math.dist(*self.eyes)

    @property
    def roll_degrees(self) -> float:
        """How far the line of the eyes falls to the right; 0 for a level one, -180..180."""
        (left_x, left_y), (right_x, right_y) = self.eyes
        return math.degrees(math.atan2(right_y - left_y, right_x - left_x))

    def moved(self, right: float, down: float, scale: float = 1.0) -> Face:
        """The same face, that many pixels further to the right and down, and then so many times as large."""

        def point(at: Point) -> Point:
            return (at[0] + right) * scale, (at[1] + down) * scale

        return replace(
            self,
            left=(self.left + right) * scale,
            top=(self.top + down) * scale,
            width=self.width * scale,
            height=self.height * scale,
            eyes=(point(self.eyes[0]), point(self.eyes[1])),
            nose=point(self.nose),
            mouth=point(self.mouth),
            ears=None if self.ears is None else (point(self.ears[0]), point(self.ears[1])),
        )


class Finder(Protocol):
    """Finds faces; not to be called from two threads at once."""

    @property
    def name(self) -> str: ...

    def find(self, image: NDArray[np.uint8], *, bgr: bool = False) -> tuple[Face, ...]:
        """The faces of an RGB picture uint8 [H,W,3], or of a BGR one, the largest first."""
        ...


def open_finder(model: Path | None = None, *, threads: int = 1, thorough: bool = False) -> Finder:
    """BlazeFace, or YuNet where its file is given; OpenCV is not needed.

    `thorough` is for photographs: large ones are searched at larger sizes too, for the small faces of groups. Raises
    UsageError for threads that this machine does not have, ArtifactError for another file than YuNet's, and
    TargetUnavailable where no engine is installed.
    """
    check_threads(threads)
    finder: Finder = importlib.import_module("lc2fer.finders").open_finder(model, threads, thorough)
    return finder


def find_in_crop(finder: Finder, image: NDArray[np.uint8]) -> tuple[Face, ...]:
    """The faces of a picture uint8 [H,W,3] that was cut out around one, the largest first.

    Finders are trained on faces with something around them, so they are shown the picture with a black margin.
    """
    small, scale = shrink(image, _CROP) if max(image.shape[:2]) > _CROP else (image, 1.0)
    height, width = small.shape[:2]
    margin = max(height, width)
    around = np.zeros((height + 2 * margin, width + 2 * margin, 3), np.uint8)
    around[margin : margin + height, margin : margin + width] = small
    return tuple(face.moved(-margin, -margin, scale) for face in finder.find(around))


def shrink(image: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], float]:
    """The picture with a longer side of `side` pixels, and by how much it was larger."""
    from PIL import Image as pil

    height, width = image.shape[:2]
    scale = max(height, width) / side
    if scale == 1:
        return image, scale
    size = max(1, round(width / scale)), max(1, round(height / scale))
    small = pil.fromarray(image).resize(size, pil.Resampling.BILINEAR, reducing_gap=1.0)
    return np.asarray(small, np.uint8), scale

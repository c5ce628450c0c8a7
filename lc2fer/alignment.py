"""From a face in a picture to the square that a network judges: how large, how turned, and where the eyes are.

"none"   the plain square around the finder's box, as upright as the picture is.
"level"  the same square, turned until the eyes are level.
"eyes"   turned likewise, scaled and moved until the eyes lie where aligned faces have them.

The numbers come from FER2013's training faces, which nobody has aligned: of 1,000 of them, with a black margin around,
BlazeFace finds 916. In the middle its box is 0.888 of the picture and lies 0.032 below its middle, the eyes lie at
(0.31, 0.395) and (0.68, 0.39) and the mouth at 0.77. RAF-DB's aligned faces, none of which was at hand, are told to
have their eyes near the same places, level.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lc2fer.finder import Face

ALIGNMENTS = ("none", "level", "eyes")

# Of the square's side.
EYES_Y = 0.39
EYE_DISTANCE = 0.37
_EYES_TO_MOUTH = 0.38


def square(image: NDArray[np.uint8], face: Face, size: int, alignment: str = "none") -> NDArray[np.uint8]:
    """The face of an RGB picture uint8 [H,W,3] as uint8 [size,size,3].

    Beyond the picture's edge its last pixels are repeated.
    """
    return cut(image, *place(face, alignment), size)


def place(face: Face, alignment: str) -> tuple[tuple[float, float], float, float]:
    """Middle (x, y) and side, in pixels, of a face's square, and the degrees by which it is turned, clockwise."""
    middle, side = by_eyes(face) if alignment == "eyes" else by_box(face)
    return middle, side, 0.0 if alignment == "none" else face.roll_degrees


def by_box(face: Face) -> tuple[tuple[float, float], float]:
    """Middle (x, y) and side, in pixels, of the square around a face that its finder's box says."""
    longer = max(face.width, face.height)
    middle = face.left + face.width / 2, face.top + face.height / 2 - face.raised * longer
    return middle, face.margin * longer


def by_eyes(face: Face) -> tuple[tuple[float, float], float]:
    """Middle (x, y) and side, in pixels, of the square in which the eyes are where they belong, once it is turned.

    A face seen from the side has its eyes close together; there the distance to the mouth says how large it is.
    """
    (left_x, left_y), (right_x, right_y) = face.eyes
    eyes = (left_x + right_x) / 2, (left_y + right_y) / 2
    side = max(face.eye_distance / EYE_DISTANCE, math.dist(eyes, face.mouth) / _EYES_TO_MOUTH)
    roll, down = math.radians(face.roll_degrees), (0.5 - EYES_Y) * side
    return (eyes[0] - math.sin(roll) * down, eyes[1] + math.cos(roll) * down), side


def cut(
    image: NDArray[np.uint8], middle: tuple[float, float], side: float, degrees: float, size: int
) -> NDArray[np.uint8]:
    """A square of `side` pixels of the picture, turned by `degrees` clockwise, as uint8 [size,size,3].

    What is to become smaller is averaged first, over what each pixel covers; then it is turned with bilinear weights.
    """
    from PIL import Image as pil

    side = max(side, 1.0)
    turn = math.radians(degrees)
    reach = side / 2 * (abs(math.cos(turn)) + abs(math.sin(turn))) + 2  # half of the upright square around it
    x, y = middle
    left, top = math.floor(x - reach), math.floor(y - reach)
    width = math.ceil(2 * reach) + 1
    region = pil.fromarray(_region(image, left, top, width))
    if not degrees:
        corner = (x - side / 2 - left, y - side / 2 - top)
        box = (*corner, corner[0] + side, corner[1] + side)
        return np.asarray(region.resize((size, size), pil.Resampling.BILINEAR, box=box), np.uint8)
    small = max(1, math.ceil(width * min(1.0, size / side)))
    shrunk = region.resize((small, small), pil.Resampling.BILINEAR)
    step, ratio = side / size * small / width, small / width  # pixels of the shrunk region for one of the result
    across, along = step * math.cos(turn), step * math.sin(turn)
    at_x, at_y = (x - left) * ratio, (y - top) * ratio
    matrix = (across, -along, at_x - (across - along) * size / 2, along, across, at_y - (along + across) * size / 2)
    turned = shrunk.transform((size, size), pil.Transform.AFFINE, matrix, pil.Resampling.BILINEAR)
    return np.asarray(turned, np.uint8)


def _region(image: NDArray[np.uint8], left: int, top: int, width: int) -> NDArray[np.uint8]:
    """The square [width,width,3] at that place, which may lie outside the picture in part or in whole."""
    rows = np.clip(np.arange(top, top + width), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(left, left + width), 0, image.shape[1] - 1)
    if rows[0] == top and columns[0] == left and rows[-1] == top + width - 1 and columns[-1] == left + width - 1:
        return np.ascontiguousarray(image[top : top + width, left : left + width])
    return image[rows[:, np.newaxis], columns]

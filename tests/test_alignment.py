"""From a found face to the square that is judged: where its eyes come to lie, and what the numbers are fitted to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lc2fer import alignment
from lc2fer.finder import Face
from lc2fer.inputs import InputSpec


def face(x: float, y: float, size: float, degrees: float) -> Face:
    """A face around (x, y) whose eyes are `size` apart, turned clockwise; its box is upright."""
    across, down = math.radians(degrees), math.radians(degrees + 90)

    def at(right: float, below: float) -> tuple[float, float]:
        return (
            x + size * (right * math.cos(across) + below * math.cos(down)),
            y + size * (right * math.sin(across) + below * math.sin(down)),
        )

    left, top, side = x - 1.2 * size, y - 0.9 * size, 2.4 * size
    return Face(left, top, side, side, 0.9, (at(-0.5, 0), at(0.5, 0)), at(0, 0.5), at(0, 1))


def picture(found: Face, width: int = 400, height: int = 300) -> NDArray[np.uint8]:
    """A grey picture with a red left eye, a green right one and a blue mouth, each a dot."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.full((height, width, 3), 60, np.uint8)
    for channel, (x, y) in enumerate((*found.eyes, found.mouth)):
        near = (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 < (found.eye_distance / 8) ** 2
        pixels[near] = 0
        pixels[near, channel] = 255
    return pixels


def dots(square: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The middles (x, y) of the red, green and blue dots, in sides of the square."""
    found = []
    for channel in range(3):
        others = np.delete(square.astype(int), channel, axis=2).max(axis=2)
        strength = np.clip(square[:, :, channel].astype(int) - others, 0, None).astype(float)
        rows, columns = np.mgrid[: len(square), : len(square)] + 0.5
        found.append([(columns * strength).sum(), (rows * strength).sum()] / strength.sum() / len(square))
    return np.array(found)


@pytest.mark.parametrize("degrees", [-100.0, -25.0, 0.0, 12.0, 40.0])
@pytest.mark.parametrize("size", [20.0, 37.0, 90.0])
def test_aligned_eyes_lie_where_they_belong(degrees: float, size: float) -> None:
    found = face(200, 130, size, degrees)
    left, right, mouth = dots(alignment.square(picture(found), found, 100, "eyes"))
    np.testing.assert_allclose([left, right], [(0.315, 0.39), (0.685, 0.39)], atol=0.008)
    np.testing.assert_allclose(mouth, (0.5, 0.76), atol=0.008)


def test_a_level_square_is_the_plain_one_turned() -> None:
    found = face(200, 130, 40, 25)
    (plain_left, plain_right, _), (left, right, _) = (
        dots(alignment.square(picture(found), found, 100, kind)) for kind in ("none", "level")
    )
    assert plain_right[1] - plain_left[1] == pytest.approx(40 * math.sin(math.radians(25)) / (1.1 * 96), abs=0.01)
    assert right[1] == pytest.approx(left[1], abs=0.005)
    assert right[0] - left[0] == pytest.approx(40 / (1.1 * 96), abs=0.01)


def test_the_plain_square_is_fitted_to_the_finders_box() -> None:
    found = Face(100, 50, 80, 100, 0.9, ((0, 0), (1, 0)), (0, 0), (0, 0))
    assert alignment.by_box(found) == ((140, 96.5), pytest.approx(110))
    yunets = Face(100, 50, 80, 100, 0.9, ((0, 0), (1, 0)), (0, 0), (0, 0), margin=1.0, raised=0.01)
    assert alignment.by_box(yunets) == ((140, 99), 100)


def test_a_face_from_the_side_is_as_large_as_its_eyes_are_far_from_its_mouth() -> None:
    turned = Face(0, 0, 1, 1, 0.9, ((100, 100), (110, 100)), (0, 0), (105, 138))
    assert alignment.by_eyes(turned) == ((105, 111), 100)


@pytest.mark.parametrize("kind", alignment.ALIGNMENTS)
def test_beyond_the_picture_its_edge_is_repeated(kind: str) -> None:
    found = face(5, 5, 40, 10)
    square = alignment.square(np.full((60, 60, 3), (9, 8, 7), np.uint8), found, 48, kind)
    assert square.shape == (48, 48, 3)
    assert np.unique(square.reshape(-1, 3), axis=0).tolist() == [[9, 8, 7]]


@pytest.mark.parametrize("degrees", [0.0, 30.0])
def test_a_square_of_the_same_size_is_not_smoothed_and_a_larger_one_is_averaged(degrees: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    np.testing.assert_array_equal(alignment.cut(pixels, (150, 140), 100, 0.0, 100), pixels[90:190, 100:200])
    assert alignment.cut(pixels, (150, 150), 200, degrees, 20).std() < 15  # one pixel of a hundred: 74


def test_the_input_spec_prepares_a_found_face() -> None:
    found = face(200, 130, 37, 20)
    image: Any = picture(found)
    for kind in alignment.ALIGNMENTS:
        array = InputSpec(size=64, alignment=kind).apply_face(image, found)
        assert (array.dtype, array.shape, array.flags.c_contiguous) == (np.float32, (3, 64, 64), True)
        np.testing.assert_array_equal(array, alignment.square(image, found, 64, kind).transpose(2, 0, 1))

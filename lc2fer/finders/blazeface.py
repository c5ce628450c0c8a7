"""BlazeFace: where the faces are in a picture, with eyes, nose, mouth and ears.

The network is BlazeFace's full-range form (V. Bazarevsky et al., BlazeFace: Sub-millisecond Neural Face Detection on
Mobile GPUs, 2019; Google, Apache-2.0), as `weights/face_finder.md` tells. Its decoding is MediaPipe's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lc2fer.finder import Face, Point, shrink
from lc2fer.finders.boxes import check_image, largest_first, suppress
from lc2fer.finders.engine import Engine

FILE = Path(__file__).parents[1] / "weights" / "face_finder.onnx"
SIDE = 192  # pixels of the picture's longer side: what the network was trained on
_STRIDE = 4  # pixels between two places where a face may be
_MULTIPLE = 32  # of which the network's height and width are
_SCORE = 0.5  # MediaPipe's own threshold
# Photographs are searched at these sizes too, for the faces of groups: at each, faces of 8 pixels and more are found.
LARGER = (384, 768)
_SURER = 0.6  # what is found there only has to be more of a face: of more places, more look like one
_NEAR = 0.4  # of the picture's shorter side: what is found from afar has to fill it
_SMALLEST = 20  # pixels of a picture: a smaller face has no expression to judge


class BlazeFace:
    """The full-range network, at 192 pixels and, where the picture has them, at `larger` sides.

    With such, a picture in which nothing is found is searched once more from afar: the network hardly finds a face that
    fills the picture, as in a crop.
    """

    name = "BlazeFace"

    def __init__(self, engine: Engine, larger: Sequence[int] = ()) -> None:
        self._engine = engine
        self._larger = tuple(larger)

    def find(self, image: NDArray[np.uint8], *, bgr: bool = False) -> tuple[Face, ...]:
        check_image(image)
        found = suppress(*self._search(image, bgr, SIDE))
        for side in self._larger:
            if side <= max(image.shape[:2]):
                more = suppress(*self._search(image, bgr, side))
                found += [
                    (row, score)
                    for row, score in more
                    if score > _SURER and not any(_inside(row, old) for old, _ in found)
                ]
        if self._larger and not found:
            near = suppress(*self._search(image, bgr, SIDE // 2, SIDE // 4))
            found = [(row, score) for row, score in near if row[2] - row[0] > _NEAR * min(image.shape[:2])]
        faces = (_face(row, score) for row, score in found)
        return largest_first(face for face in faces if face.width >= _SMALLEST)

    def _search(
        self, image: NDArray[np.uint8], bgr: bool, side: int, border: int = 0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows [K,16] in the picture's pixels and scores [K]: left, top, right, bottom, and x and y of six points.

        The picture gets a longer side of `side` pixels and a black border.
        """
        small, scale = shrink(image, side)
        height, width = (-(-(size + 2 * border) // _MULTIPLE) * _MULTIPLE for size in small.shape[:2])
        pixels = np.full((1, 3, height, width), -1, np.float32)  # black where the picture does not reach
        place = pixels[0, :, border : border + small.shape[0], border : border + small.shape[1]]
        place[:] = (small[:, :, ::-1] if bgr else small).transpose(2, 0, 1) * np.float32(2 / 255) - 1
        outputs = self._engine.run(pixels)
        rows, scores = decode(outputs["boxes"][0], outputs["scores"][0, :, 0], (height, width), scale)
        return rows - border * scale, scores


def decode(
    raw: NDArray[np.float32], logits: NDArray[np.float32], shape: tuple[int, int], scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the network says, of those places that are sure enough to be a face.

    `raw` [N,16] are x and y of the middle (from the place), width and height, and six points (from the place); N is
    one a place, 4 pixels apart in the network's `shape`. `scale` is how much larger the picture is. MediaPipe,
    tensors_to_detections_calculator.
    """
    likely = np.flatnonzero(logits > math.log(_SCORE / (1 - _SCORE)))
    rows = raw[likely].astype(np.float64)
    scores = 1 / (1 + np.exp(-np.clip(logits[likely].astype(np.float64), -80, 80)))
    columns = shape[1] // _STRIDE
    anchors = (np.stack([likely % columns, likely // columns], axis=1) + 0.5) * _STRIDE  # x, y
    middle, half = rows[:, :2] + anchors, rows[:, 2:4] / 2
    points = (rows[:, 4:].reshape(-1, 6, 2) + anchors[:, np.newaxis]).reshape(-1, 12)
    rows = np.concatenate([middle - half, middle + half, points], axis=1) * scale
    whole = (half > 0).all(axis=1)
    return rows[whole], scores[whole]


def _inside(row: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether half of the smaller of two boxes lies in the other."""
    low, high = np.maximum(row[:2], other[:2]), np.minimum(row[2:4], other[2:4])
    smaller = min(np.prod(row[2:4] - row[:2]), np.prod(other[2:4] - other[:2]))
    return bool(np.prod(np.maximum(high - low, 0)) > 0.5 * smaller)


def _face(row: NDArray[np.float64], score: float) -> Face:
    left, top, right, bottom = row[:4].tolist()
    points: list[Point] = [(x, y) for x, y in row[4:].reshape(6, 2).tolist()]
    return Face(
        left=left,
        top=top,
        width=right - left,
        height=bottom - top,
        score=score,
        eyes=(points[0], points[1]),
        nose=points[2],
        mouth=points[3],
        ears=(points[4], points[5]),
    )

"""What finders share: boxes that overlap, and the check of what they are given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer.errors import UsageError
from lc2fer.finder import Face

_OVERLAP = 0.3  # intersection over union from which two boxes are one face


def suppress(rows: NDArray[np.float64], scores: NDArray[np.float64]) -> list[tuple[NDArray[np.float64], float]]:
    """One row for each group of boxes that overlap: their mean, weighted with the scores; its score is the best's.

    Rows are left, top, right, bottom and whatever follows. MediaPipe, non_max_suppression_calculator, weighted.
    """
    kept = []
    order = np.argsort(-scores, kind="stable")
    while order.size:
        near = overlaps(rows[order[0], :4], rows[order, :4]) > _OVERLAP
        near[0] = True  # a box without any width overlaps nothing
        group = order[near]
        kept.append((np.average(rows[group], axis=0, weights=scores[group]), float(scores[group[0]])))
        order = order[~near]
    return kept


def overlaps(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of a box [4] with others [N,4]; left, top, right, bottom."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    ratio: NDArray[np.float64] = shared / np.maximum(areas - shared, 1e-9)
    return ratio


def check_image(image: NDArray[np.uint8]) -> None:
    """Raise UsageError unless image is uint8 [H,W,3] with at least one pixel."""
    if not isinstance(image, np.ndarray):
        raise UsageError(
            f"A face finder was given a {type(image).__name__}. Expected an RGB picture, a NumPy array uint8 "
            "[H, W, 3]. Read pictures with lc2fer.pictures."
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise UsageError(
            f"A face finder was given {image.dtype} {list(image.shape)}. Expected an RGB picture, uint8 [H, W, 3]. "
            "Read pictures with lc2fer.pictures."
        )


def largest_first(faces: Any) -> tuple[Face, ...]:
    """The faces in order of their area."""
    return tuple(sorted(faces, key=lambda face: -face.width * face.height))

"""Heat over a picture: from a grid to pixels, its share inside the parts of a face, and what covering a patch does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer.data.face import Box

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # raw pixels [N,3,H,W] -> logits [N, classes]
Grid = NDArray[np.float64]

# Parts of a face -> the generator's boxes that make them up.
PARTS: Mapping[str, tuple[str, ...]] = {
    "mouth": ("mouth",),
    "eyes": ("left_eye", "right_eye"),
    "brows": ("left_brow", "right_brow"),
    "together": ("mouth", "left_eye", "right_eye", "left_brow", "right_brow"),
}

RESAMPLES = 2000
_PATCH = 0.16  # side of an occluding patch, of the image's
_CHUNK = 36  # covered images at once


def enlarge(grid: NDArray[Any], centres: NDArray[np.float64], size: int) -> Grid:
    """A grid [h, w] as pixels [size, size], linear between its cells' centres and even beyond the outer ones."""
    pixels = np.arange(size) + 0.5
    rows = np.stack([np.interp(pixels, centres, line) for line in np.asarray(grid, np.float64)])
    return np.stack([np.interp(pixels, centres, column) for column in rows.T], axis=1)


def inside(boxes: Sequence[Box], size: int) -> NDArray[np.bool_]:
    """The pixels [size, size] whose middle lies in one of the boxes (x0, y0, x1, y1)."""
    middle = np.arange(size) + 0.5
    found = np.zeros((size, size), bool)
    for x0, y0, x1, y1 in boxes:
        across, down = (middle >= x0) & (middle < x1), (middle >= y0) & (middle < y1)
        found |= down[:, None] & across[None, :]
    return found


def shares(heat: Grid, boxes: Mapping[str, Box]) -> dict[str, tuple[float, float]]:
    """Part -> (share of the heat inside it, share of the picture's area). The heat has a positive sum."""
    found = {}
    for part, names in PARTS.items():
        mask = inside([boxes[name] for name in names], len(heat))
        found[part] = (float(heat[mask].sum() / heat.sum()), float(mask.mean()))
    return found


def bootstrap(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % percentile interval of the mean of values [N], images drawn anew with replacement; the seed is fixed."""
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def attention(heats: Sequence[Grid], boxes: Sequence[Mapping[str, Box]]) -> dict[str, dict[str, float]]:
    """Part -> the mean share of heat in it with its interval, by chance, and in the same part of another face.

    `low` and `high` bound `heat`; `gain` is the heat in the face's own part less that in the next face's, which a map
    that is the same for every face does not have.
    """
    own = [shares(heat, theirs) for heat, theirs in zip(heats, boxes)]
    others = [shares(heat, theirs) for heat, theirs in zip(heats, [*boxes[1:], boxes[0]])]
    found = {}
    for part in PARTS:
        heat = np.array([one[part][0] for one in own])
        another = np.array([one[part][0] for one in others])
        low, high = bootstrap(heat)
        gain_low, gain_high = bootstrap(heat - another)
        found[part] = {
            "heat": float(heat.mean()),
            "low": low,
            "high": high,
            "chance": float(np.mean([one[part][1] for one in own])),
            "another_face": float(another.mean()),
            "gain": float((heat - another).mean()),
            "gain_low": gain_low,
            "gain_high": gain_high,
        }
    return found


def patches(size: int) -> tuple[int, list[int]]:
    """Side of the occluding patches and where they begin on one axis, in pixels; neighbours overlap by half."""
    side = max(2, round(_PATCH * size))
    count = -(-(size - side) // (side // 2)) + 1
    return side, [round(place) for place in np.linspace(0, size - side, count).tolist()]


def patch_centres(size: int) -> NDArray[np.float64]:
    """The middle of each occluding patch on one axis, in pixels."""
    side, starts = patches(size)
    return np.array(starts) + side / 2


def occlusion(run: Run, image: NDArray[np.float32], label: int) -> Grid:
    """How far the logit of `label` falls where a patch of an image [3, size, size] is covered: [n, n], rows down.

    The cover has the image's mean colour. Nothing but answers is asked of the model, so this works for any engine.
    """
    side, starts = patches(image.shape[1])
    colour = image.mean(axis=(1, 2))
    covered = np.repeat(image[None], len(starts) ** 2, axis=0)
    for place, (top, left) in enumerate((top, left) for top in starts for left in starts):
        covered[place, :, top : top + side, left : left + side] = colour[:, None, None]
    logits = np.concatenate([run(covered[start : start + _CHUNK]) for start in range(0, len(covered), _CHUNK)])
    whole = float(run(image[None])[0, label])
    return (whole - logits[:, label].astype(np.float64)).reshape(len(starts), len(starts))


def correlation(first: Grid, second: Grid) -> float | None:
    """Pearson's correlation of two grids; None where one of them is constant."""
    a, b = first.ravel() - first.mean(), second.ravel() - second.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else None

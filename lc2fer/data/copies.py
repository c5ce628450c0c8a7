"""Test images that also lie in the training part: the same file, saved anew, made smaller, or mirrored.

A perceptual hash finds candidates: the signs of the horizontal differences of a grey picture of 16x16, 240 bits (dHash,
N. Krawetz, 2013). Each is then compared in the pixels of 32x32, so that two faces that only look alike are none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lc2fer.artifact import hash_file
from lc2fer.data.dataset import Sample

MOST_BITS = 48  # of 240 that may differ: JPEG of quality 88 changes up to 20
MOST_LEVELS = 5.0  # root mean square of the differences, of 255
SIDE = 32  # pixels of the pictures that are compared
_AT_ONCE = 2048

Pictures = Callable[[Sequence[Sample]], NDArray[np.uint8]]  # samples' pixels, [N, 32, 32, 3]


@dataclass(frozen=True)
class Copy:
    """A training image and the test image that it is."""

    train: Sample
    test: Sample
    how: str  # "" for the same pixels, "saved anew", "mirrored"


def find(train: Sequence[Sample], test: Sequence[Sample], pictures: Pictures) -> list[Copy]:
    """The copies of test images among the training images, by the training image's path, each once."""
    if not train or not test:
        return []
    ours, theirs = (pictures(samples).mean(axis=3, dtype=np.float32) for samples in (train, test))  # grey, [N, 32, 32]
    both = np.concatenate([theirs, theirs[:, :, ::-1]])
    left, right = dhash(ours), dhash(both)
    nearest: dict[int, tuple[float, int]] = {}
    for begin in range(0, len(left), _AT_ONCE):
        differing = (left.shape[1] - left[begin : begin + _AT_ONCE] @ right.T) / 2
        for row, column in np.argwhere(differing <= MOST_BITS):
            levels = float(np.sqrt(((ours[begin + row] - both[column]) ** 2).mean()))
            nearest[begin + row] = min(nearest.get(begin + row, (np.inf, 0)), (levels, int(column)))
    found = []
    for place, (levels, column) in nearest.items():
        if levels <= MOST_LEVELS:
            one, twin = train[place], test[column % len(test)]
            same = levels == 0 or hash_file(one.path) == hash_file(twin.path)
            how = "mirrored" if column >= len(test) else "" if same else "saved anew"
            found.append(Copy(one, twin, how))
    return sorted(found, key=lambda copy: copy.train.path)


def dhash(grey: NDArray[np.floating]) -> NDArray[np.float32]:
    """240 signs, float32 [N, 240] of -1 and 1, of grey pictures [N, 32, 32]."""
    small = grey.reshape(len(grey), 16, 2, 16, 2).mean(axis=(2, 4))
    signs = np.where(small[:, :, 1:] > small[:, :, :-1], 1, -1)
    return np.asarray(signs.reshape(len(grey), -1), np.float32)

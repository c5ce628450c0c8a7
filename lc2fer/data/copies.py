"""Test images that also lie in the training part: the same file, saved anew, made smaller, or mirrored.

A perceptual hash finds candidates: the signs of the horizontal differences of a grey picture of 16x16, 240 bits (dHash,
N. Krawetz, 2013). Each is then compared in the pixels of 32x32, so that two faces that only look alike are none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lc2fer.artifact import hash_file, write
from lc2fer.data.dataset import Sample
from lc2fer.errors import UsageError
from lc2fer.storage import cache_folder

MOST_BITS = 48  # of 240 that may differ: JPEG of quality 88 changes up to 20
MOST_LEVELS = 5.0  # root mean square of the differences, of 255
SIDE = 32  # pixels of the pictures that are compared
WORTH_KEEPING = 2000  # training images
_AT_ONCE = 2048

Pictures = Callable[[Sequence[Sample]], NDArray[np.uint8]]  # samples' pixels, [N, 32, 32, 3]


@dataclass(frozen=True)
class Copy:
    """A training image and the test image that it is."""

    train: Sample
    test: Sample
    how: str  # "" for the same pixels, "saved anew", "mirrored"


def known(root: Path, train: Sequence[Sample], test: Sequence[Sample], pictures: Pictures) -> list[Copy]:
    """What `find` finds; of a large data set kept in the cache until a file's name, size or time changes."""
    path = _kept(train, test) if len(train) >= WORTH_KEEPING else None
    by_name = {sample.path.relative_to(root).as_posix(): sample for sample in (*train, *test)}
    if path is not None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            listed = json.loads(path.read_text(encoding="utf-8"))["copies"]
            return [Copy(by_name[ours], by_name[theirs], str(how)) for ours, theirs, how in listed]
    found = find(train, test, pictures)
    if path is not None:
        names = {sample: name for name, sample in by_name.items()}
        with suppress(OSError):  # without a cache it is found anew
            write(path, {"copies": [[names[copy.train], names[copy.test], copy.how] for copy in found]})
    return found


def _kept(train: Sequence[Sample], test: Sequence[Sample]) -> Path | None:
    digest = hashlib.sha256(f"{MOST_BITS} {MOST_LEVELS} {len(train)}".encode())
    try:
        for sample in (*train, *test):
            state = sample.path.stat()
            digest.update(f"{sample.path} {state.st_size} {state.st_mtime_ns}\n".encode(errors="surrogateescape"))
        return cache_folder() / "copies" / f"{digest.hexdigest()[:32]}.json"
    except (OSError, UsageError):  # a missing picture, which its reader names; no home folder
        return None


def find(train: Sequence[Sample], test: Sequence[Sample], pictures: Pictures) -> list[Copy]:
    """The copies of test images among the training images, by the training image's path, each once."""
    if not train or not test:
        return []
    theirs = _grey(pictures(test))
    both = np.concatenate([theirs, theirs[:, :, ::-1]])
    right = dhash(both)
    nearest: dict[int, tuple[float, int]] = {}
    for begin in range(0, len(train), _AT_ONCE):
        ours = _grey(pictures(train[begin : begin + _AT_ONCE]))
        differing = (right.shape[1] - dhash(ours) @ right.T) / 2
        for row, column in np.argwhere(differing <= MOST_BITS):
            levels = float(np.sqrt(((ours[row] - both[column]) ** 2).mean()))
            nearest[begin + row] = min(nearest.get(begin + row, (np.inf, 0)), (levels, int(column)))
    found = []
    for place, (levels, column) in nearest.items():
        if levels <= MOST_LEVELS:
            one, twin = train[place], test[column % len(test)]
            same = levels == 0 or hash_file(one.path) == hash_file(twin.path)
            how = "mirrored" if column >= len(test) else "" if same else "saved anew"
            found.append(Copy(one, twin, how))
    return sorted(found, key=lambda copy: copy.train.path)


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(pixels.mean(axis=3, dtype=np.float32))


def dhash(grey: NDArray[np.floating]) -> NDArray[np.float32]:
    """240 signs, float32 [N, 240] of -1 and 1, of grey pictures [N, 32, 32]."""
    small = grey.reshape(len(grey), 16, 2, 16, 2).mean(axis=(2, 4))
    signs = np.where(small[:, :, 1:] > small[:, :, :-1], 1, -1)
    return np.asarray(signs.reshape(len(grey), -1), np.float32)

"""Data sets: RAF-DB in its two layouts, and procedural faces written in the first of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lc2fer.data import rafdb
from lc2fer.data.rafdb import Dataset, Sample
from lc2fer.inputs import InputSpec, read_image
from lc2fer.storage import cache_folder

SYNTHETIC = "synthetic"


def open_dataset(name: str | Path, images: str = "aligned") -> Dataset:
    """The data set of a --data argument: a folder, or "synthetic", which draws the procedural faces once."""
    if str(name) != SYNTHETIC:
        return rafdb.load(Path(name), images)
    from lc2fer.data import synthetic

    root = cache_folder() / f"synthetic-{synthetic.GENERATOR}"
    if not root.exists():
        count = synthetic.TRAIN_IMAGES + synthetic.TEST_IMAGES
        print(f"Drawing {count:,} procedural faces into {root}, once.", file=sys.stderr, flush=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    return rafdb.load(synthetic.write(root))


def read_pixels(samples: Sequence[Sample], spec: InputSpec) -> NDArray[np.uint8]:
    """The prepared pictures, uint8 [N, size, size, 3]; raises DataError, naming the file, for an unreadable one."""
    pixels = np.empty((len(samples), spec.size, spec.size, 3), np.uint8)

    def read(place: int) -> None:
        pixels[place] = spec.pixels(read_image(samples[place].path))

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding releases the interpreter's lock
        for _ in pool.map(read, range(len(samples)), chunksize=64):
            pass
    return pixels


def labels_of(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """Class ids int64 [N], 0..6."""
    return np.fromiter((sample.label for sample in samples), np.int64, len(samples))

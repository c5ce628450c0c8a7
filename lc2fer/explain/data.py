"""The images that a report explains: some of D^u, D^v and D^e, and what is known of those that were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lc2fer.data import labels_of, read_pixels, synthetic
from lc2fer.data.dataset import Dataset, Sample, places
from lc2fer.data.face import Box, Face
from lc2fer.data.split import divide
from lc2fer.errors import DataError, UsageError
from lc2fer.inputs import InputSpec

SPLITS = ("D^u", "D^v", "D^e")  # to train on, to select the model on, to test
NEIGHBOURS = 10
FEWEST = 2 * NEIGHBOURS  # images a split: with fewer, neighbours and t-SNE say nothing
IMAGES = 500  # a split, where no --limit says otherwise


@dataclass(frozen=True)
class Part:
    """The images of one split that a report looks at."""

    name: str
    samples: tuple[Sample, ...]
    pixels: NDArray[np.uint8]  # [N, size, size, 3]
    labels: NDArray[np.int64]  # [N]
    available: int  # images of the whole split

    def batch(self, places: Sequence[int] | slice) -> NDArray[np.float32]:
        """Those images as a model takes them: float32 [n, 3, size, size], 0..255."""
        return np.ascontiguousarray(self.pixels[places].transpose(0, 3, 1, 2), dtype=np.float32)


@dataclass
class Pictures:
    """What the page shows beside the document's numbers, by the image's place in the part that is shown."""

    faces: NDArray[np.uint8] | None  # [N, size, size, 3]; None where the pictures must not be copied
    heats: dict[int, NDArray[np.float64]] = field(default_factory=dict)  # Grad-CAM, [size, size], 0 or more
    mean_heats: dict[int, NDArray[np.float64]] = field(default_factory=dict)  # the same by class
    occlusions: dict[int, NDArray[np.float64]] = field(default_factory=dict)  # [size, size], 0 or more
    boxes: dict[int, dict[str, Box]] = field(default_factory=dict)  # of the parts of drawn faces


def check_limit(limit: int | None) -> None:
    """Raise UsageError for a --limit that leaves too few images a split."""
    if limit is not None and limit < FEWEST:
        raise UsageError(
            f"--limit {limit} was given. t-SNE and the {NEIGHBOURS} nearest neighbours need {FEWEST} images a split or "
            "more. Raise --limit, or leave it out."
        )


def spread(count: int, limit: int) -> list[int]:
    """At most `limit` places of 0..count-1, drawn at random with a fixed seed, in order."""
    return sorted(np.random.default_rng(0).permutation(count)[:limit].tolist())


def read(dataset: Dataset, spec: InputSpec, limit: int | None, keep: int = 0) -> tuple[tuple[Part, Part, Part], str]:
    """D^u, D^v and D^e, and the fingerprint of the division of the training images, with `keep` as for `divide`.

    Without a limit: 500 images of D^u and of D^v and the whole of D^e. Raises DataError where a split has too few, and
    for classes that the spec does not have.
    """
    split, own = divide(dataset, keep=keep), places(dataset, spec.labels)
    found = []
    for name, samples in zip(SPLITS, (split.fit, split.validation, dataset.test)):
        if len(samples) < FEWEST:
            raise DataError(
                f"{name} of {dataset.place} has {len(samples)} images. t-SNE and the {NEIGHBOURS} nearest neighbours "
                f"need {FEWEST} or more. Add images, or pass a larger data set as --data."
            )
        most = limit or (len(samples) if name == "D^e" else IMAGES)
        chosen = tuple(samples[place] for place in spread(len(samples), most))
        found.append(Part(name, chosen, read_pixels(chosen, spec), own[labels_of(chosen)], len(samples)))
    return (found[0], found[1], found[2]), split.fingerprint


def drawn_faces(root: Path, samples: Sequence[Sample]) -> list[Face] | None:
    """The parameters of these pictures where the folder holds procedural faces; None for any other data set."""
    seed = synthetic.seed_of(root)
    return None if seed is None else [synthetic.face_of(sample.path, seed) for sample in samples]

"""D^u and D^v: 80 % of the training images to train on, 20 % to select and calibrate on (the paper's section on data).

The paper draws them at random and does not state its seed. Here an image's side follows from its own bytes and a seed,
within its class: the same image falls on the same side in every layout, order and copy of the data set, and two
identical files never fall on different sides.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass

from lc2fer.artifact import hash_file
from lc2fer.data.rafdb import Dataset, Sample
from lc2fer.errors import DataError
from lc2fer.inputs import LABELS

VALIDATION_SHARE = 0.2
SEED = 0  # fixed: calibration must find the D^v that training held out


@dataclass(frozen=True)
class Split:
    """Training samples divided, with each image's sha256 in the same order as its samples."""

    seed: int
    fit: tuple[Sample, ...]  # D^u
    validation: tuple[Sample, ...]  # D^v
    fit_sha256: tuple[str, ...]
    validation_sha256: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """One hash of both sides and the seed: equal for equal splits, whatever the layout."""
        digest = hashlib.sha256(f"split {self.seed}".encode())
        for side in (self.fit_sha256, self.validation_sha256):
            digest.update(b"|")
            for image in sorted(side):
                digest.update(bytes.fromhex(image))
        return digest.hexdigest()


def divide(dataset: Dataset, seed: int = SEED) -> Split:
    """Divide a data set's training images by class; raises DataError where a class has fewer than two of them."""
    classes: dict[int, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for sample in dataset.train:
        classes[sample.label][hash_file(sample.path)].append(sample)
    held: set[str] = set()
    for label, images in sorted(classes.items()):
        if len(images) < 2:
            raise DataError(
                f"{dataset.root} has one training image of class {label + 1} ({LABELS[label]}). At least two are "
                "needed, one to train on and one to validate on. Add images of that class."
            )
        drawn = sorted(images, key=lambda image: hashlib.sha256(f"{seed} {image}".encode()).digest())
        held.update(drawn[: max(1, round(VALIDATION_SHARE * len(drawn)))])
    sides: tuple[list[tuple[str, Sample]], list[tuple[str, Sample]]] = ([], [])
    for images in classes.values():
        for image, samples in images.items():  # one that lies in two classes is held in both
            sides[image in held].extend((image, sample) for sample in samples)
    fit, validation = (sorted(side, key=lambda pair: pair[1].path) for side in sides)
    return Split(
        seed,
        tuple(sample for _, sample in fit),
        tuple(sample for _, sample in validation),
        tuple(image for image, _ in fit),
        tuple(image for image, _ in validation),
    )

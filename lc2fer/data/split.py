"""D^u and D^v: 80 % of the training images to train on, 20 % to select and calibrate on (the paper's section on data).

The paper draws them at random and does not state its seed. Here an image's side follows from its own bytes and a seed,
within its class: the same image falls on the same side in every layout, order and copy of the data set, and two
identical files never fall on different sides.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lc2fer.artifact import hash_file
from lc2fer.data.dataset import Dataset, Sample
from lc2fer.errors import DataError
from lc2fer.text import printable

VALIDATION_SHARE = 0.2
TEST_SHARE = 0.2  # of a data set that comes in one part
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

    @property
    def contradictions(self) -> list[tuple[Sample, Sample]]:
        """Two samples of each image that has two classes."""
        first: dict[str, Sample] = {}
        found: dict[str, tuple[Sample, Sample]] = {}
        for image, sample in zip(self.fit_sha256 + self.validation_sha256, self.fit + self.validation):
            other = first.setdefault(image, sample)
            if other.label != sample.label:
                found.setdefault(image, (other, sample))
        return list(found.values())

    def notes(self, dataset: Dataset) -> list[str]:
        """What a user has to know of it: a sentence each."""
        found = self.contradictions
        if not found:
            return []
        told = (
            f"{printable(one.path.relative_to(dataset.root).as_posix())} as {dataset.class_name(one.label)}"
            for one in found[0]
        )
        return [
            f"{len(found):,} training images have two classes, for example {' and '.join(told)}. They count in both."
        ]


def divide(dataset: Dataset, seed: int = SEED, keep: int = 0) -> Split:
    """Divide a data set's training images by class, or take its own part to validate on where it has one.

    With `keep`, about so many images stay in D^v, each class by its share; D^u gets the others. Raises DataError where
    a class has fewer than two images to divide.
    """
    classes = _by_class(dataset.train)
    if dataset.validation:
        sides = [(hash_file(sample.path), sample) for sample in dataset.validation]
        held = {image for image, _ in sides}
        fit = [pair for pair in _pairs(classes) if pair[0] not in held]  # never on both sides
        return _split(seed, *_kept(fit, sides, keep, seed))
    held = set()
    for label, images in sorted(classes.items()):
        if len(images) < 2:
            raise DataError(
                f"{dataset.place} has one training image of class {dataset.class_name(label)}. At least two are "
                "needed, one to train on and one to validate on. Add images of that class."
            )
        held.update(_drawn(images, VALIDATION_SHARE, str(seed)))
    return _split(seed, *_kept(*_sides(_pairs(classes), held), keep, seed))


def images_kept(training: Mapping[str, Any] | None) -> int:
    """`keep` of the split that weights were trained with, by their manifest."""
    found = (training or {}).get("validation_images", 0)
    return found if isinstance(found, int) else 0


def hold_out(samples: Iterable[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Samples of one part as a training and a test part, by class and by the files' hashes alone."""
    classes = _by_class(samples)
    held = {image for images in classes.values() for image in _drawn(images, TEST_SHARE, "test")}
    kept, test = _sides(sorted(_pairs(classes), key=lambda pair: pair[1].path), held)
    return [sample for _, sample in kept], [sample for _, sample in test]


_Classes = dict[int, dict[str, list[Sample]]]  # label -> sha256 -> samples
_Pair = tuple[str, Sample]


def _by_class(samples: Iterable[Sample]) -> _Classes:
    classes: _Classes = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        classes[sample.label][hash_file(sample.path)].append(sample)
    return classes


def _pairs(classes: _Classes) -> list[_Pair]:
    return [(image, one) for images in classes.values() for image, samples in images.items() for one in samples]


def _sides(pairs: Iterable[_Pair], held: set[str]) -> tuple[list[_Pair], list[_Pair]]:
    """Those that are not held and those that are; an image that lies in two classes is on one side with both."""
    every = list(pairs)
    return [pair for pair in every if pair[0] not in held], [pair for pair in every if pair[0] in held]


def _kept(fit: list[_Pair], validation: list[_Pair], keep: int, seed: int) -> tuple[list[_Pair], list[_Pair]]:
    """The same sides with about `keep` images in the second one; as they are with 0."""
    classes: dict[int, set[str]] = defaultdict(set)
    for image, sample in validation:
        classes[sample.label].add(image)
    share = keep / sum(map(len, classes.values()))
    if not 0 < share < 1:
        return fit, validation
    held = {image for images in classes.values() for image in _drawn(images, share, f"{seed} kept")}
    moved, kept = _sides(validation, held)
    return fit + moved, kept


def _drawn(images: Iterable[str], share: float, seed: str) -> list[str]:
    """That share of the images, one at least, by the hash of the seed and their own."""
    drawn = sorted(images, key=lambda image: hashlib.sha256(f"{seed} {image}".encode()).digest())
    return drawn[: max(1, round(share * len(drawn)))]


def _split(seed: int, fit: Iterable[_Pair], validation: Iterable[_Pair]) -> Split:
    fit, validation = (sorted(side, key=lambda pair: pair[1].path) for side in (fit, validation))
    return Split(
        seed,
        tuple(sample for _, sample in fit),
        tuple(sample for _, sample in validation),
        tuple(image for image, _ in fit),
        tuple(image for image, _ in validation),
    )

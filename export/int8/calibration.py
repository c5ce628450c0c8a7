"""The images that quantisation and proofs may look at: D^v, and a proof that none of them is in D^e."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer.artifact import hash_file
from lc2fer.data import labels_of, read_pixels
from lc2fer.data.dataset import Dataset, Sample, places
from lc2fer.data.split import Split, divide
from lc2fer.errors import DataError
from lc2fer.inputs import InputSpec
from lc2fer.recipe import Calibration

from .recorded import Ranges

PROOF_IMAGES = 256


@dataclass(frozen=True)
class CalibrationSet:
    """Prepared images of D^v; iterating gives float32 [1,3,H,W] again and again."""

    pixels: NDArray[np.uint8]  # [N,H,W,3]
    labels: NDArray[np.int64]  # [N]; what policy is chosen by, nothing that calibrates looks at it; -1: not the model's
    sha256: tuple[str, ...]  # of each image's file
    spec: InputSpec
    seed: int
    split: str  # fingerprint of the split that D^v comes from
    scored: int  # images of D^e that none of these is among

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the images' hashes, the preprocessing and the seed: what decides the ranges besides the method."""
        return _fingerprint(self.spec, self.seed, self.sha256)

    def first(self, count: int) -> CalibrationSet:
        """The first `count` of these images, or all where there are fewer."""
        return replace(self, pixels=self.pixels[:count], labels=self.labels[:count], sha256=self.sha256[:count])

    def __len__(self) -> int:
        return len(self.pixels)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for place in range(len(self.pixels)):
            yield self.batch(place, place + 1)

    def batch(self, begin: int, end: int) -> NDArray[np.float32]:
        """Float32 [end-begin,3,H,W] in 0..255."""
        return np.ascontiguousarray(self.pixels[begin:end].transpose(0, 3, 1, 2), dtype=np.float32)

    def to_json(self) -> dict[str, Any]:
        """The manifest's entry."""
        return {
            "images": len(self),
            "fingerprint": self.fingerprint,
            "seed": self.seed,
            "split": self.split,
            "none_among_test_images": self.scored,
        }


Known = CalibrationSet | Ranges  # what is known of the images that INT8 is to serve


class Validation:
    """D^v of a data set, opened when it is first needed."""

    def __init__(
        self,
        dataset: Dataset,
        spec: InputSpec,
        *,
        strict: bool = True,
        keep: int = 0,
        seen: int = Calibration().count,
    ) -> None:
        """`strict`: raise DataError for classes that the model, by its spec, does not know; `keep` as for `divide`;
        `seen`: images that calibration sees at most."""
        self.dataset = dataset
        self.spec = spec
        self.keep = keep
        self.seen = seen
        self.classes = places(dataset, spec.labels, strict=strict)

    @cached_property
    def split(self) -> Split:
        return divide(self.dataset, keep=self.keep)

    @cached_property
    def _validation(self) -> tuple[list[Sample], list[str]]:
        """D^v without copies of test images, and the files' hashes."""
        every = zip(self.split.validation, self.split.validation_sha256)
        pairs = [pair for pair in every if pair[0].path not in self.dataset.copies]
        return [sample for sample, _ in pairs], [sha256 for _, sha256 in pairs]

    @property
    def available(self) -> int:
        """Images of D^v."""
        return len(self._validation[0])

    @cached_property
    def test_sha256(self) -> dict[str, Sample]:
        """Images of D^e by the hash of their file."""
        return {hash_file(sample.path): sample for sample in self.dataset.test}

    @cached_property
    def test_pixels_sha256(self) -> dict[str, Sample]:
        """Images of D^e by the hash of their prepared pixels: finds copies that were saved anew without loss."""
        pixels = read_pixels(self.dataset.test, self.spec)
        return {_hash(image): sample for image, sample in zip(pixels, self.dataset.test)}

    def draw(self, count: int, seed: int, *, skip: int = 0) -> CalibrationSet:
        """`count` images of D^v in an order that follows from `seed` alone, the first `skip` left out.

        Raises DataError where D^v has too few images, or one of them is in D^e.
        """
        pairs = self._drawn(count, seed, skip)
        chosen = [sample for sample, _ in pairs]
        chosen_sha256 = tuple(sha256 for _, sha256 in pairs)
        pixels = read_pixels(chosen, self.spec)
        for sample, file, image in zip(chosen, chosen_sha256, pixels):
            twin = self.test_sha256.get(file) or self.test_pixels_sha256.get(_hash(image))
            if twin is not None:
                raise DataError(
                    f"{sample.path} is the same picture as the test image {twin.path.name}. Calibration and policy may "
                    "not see D^e. Remove the copy among the training images."
                )
        return CalibrationSet(
            pixels=pixels,
            labels=self.classes[labels_of(chosen)],
            sha256=chosen_sha256,
            spec=self.spec,
            seed=seed,
            split=self.split.fingerprint,
            scored=len(self.dataset.test),
        )

    def _drawn(self, count: int, seed: int, skip: int) -> list[tuple[Sample, str]]:
        """The images that `draw` is to read, with their files' hashes."""
        samples, hashes = self._validation
        if len(samples) < count + skip:
            what = "D^v" if self.dataset.validation else "D^v, 20 % of the training images"
            raise DataError(
                f"{self.dataset.place} has {len(samples)} validation images ({what}). "
                f"{count + skip} are needed: {skip} to calibrate with and {count} to prove with. Use a larger data set."
                if skip
                else f"{self.dataset.place} has {len(samples)} validation images ({what}). "
                f"{count} are needed to calibrate with. Use a larger data set, or lower --calibration-images."
            )
        order = sorted(
            range(len(samples)), key=lambda place: hashlib.sha256(f"draw {seed} {hashes[place]}".encode()).digest()
        )
        return [(samples[place], hashes[place]) for place in order[skip : skip + count]]

    def calibration(self, wanted: Calibration) -> CalibrationSet:
        """The images that a recipe asks for."""
        return self.draw(wanted.count, wanted.seed)

    @cached_property
    def proof(self) -> CalibrationSet:
        """Images to prove an artifact on, none of which any recipe's calibration saw where D^v is large enough."""
        return self.policy(PROOF_IMAGES)

    @cached_property
    def proof_fingerprint(self) -> str:
        """The same images' fingerprint; none of them is read."""
        seed = Calibration().seed
        count, skip = self._policy(PROOF_IMAGES)
        return _fingerprint(self.spec, seed, [sha256 for _, sha256 in self._drawn(count, seed, skip)])

    def policy(self, count: int) -> CalibrationSet:
        """`count` images to decide by, or all there are; those that calibration sees come in last."""
        count, skip = self._policy(count)
        return self.draw(count, Calibration().seed, skip=skip)

    def _policy(self, count: int) -> tuple[int, int]:
        count = min(count, self.available)
        return count, min(self.seen, self.available - count)


def _fingerprint(spec: InputSpec, seed: int, images: Iterable[str]) -> str:
    digest = hashlib.sha256(json.dumps([spec.to_json(), seed], sort_keys=True).encode())
    for image in sorted(images):
        digest.update(bytes.fromhex(image))
    return digest.hexdigest()


def _hash(image: NDArray[np.uint8]) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()

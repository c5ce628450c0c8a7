"""The test images as they are scored and timed: in the order of their files' hashes, prepared once a size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lc2fer.artifact import hash_file
from lc2fer.data import read_pixels
from lc2fer.data.dataset import Dataset, Sample, places
from lc2fer.inputs import LABELS, InputSpec

from ..report.document import FEWEST_INPUTS, Data
from .perturb import FACTORS, perturb


@dataclass(frozen=True)
class Images:
    """Prepared pictures of one size in a file, uint8 [count, size, size, 3], and what they were made from."""

    path: Path
    count: int
    size: int  # pixels a side
    files: tuple[Path, ...] = ()  # the picture files, in the same order
    perturbed: Mapping[str, Path] = field(default_factory=dict)  # factor -> the first of them under it
    perturbed_count: int = 0
    labels: tuple[str, ...] = LABELS  # what a model that is scored on them has to tell apart

    @property
    def timed(self) -> list[int]:
        """Places of the images that latency is measured on, spread evenly."""
        wanted = min(FEWEST_INPUTS, self.count)
        return [place * self.count // wanted for place in range(wanted)]


def test_set(
    dataset: Dataset,
    name: str,
    limit: int | None,
    labels: Sequence[str] | None = None,  # noqa: PT028 - it is no test
) -> tuple[list[Sample], Data]:
    """D^e in the order of its files' hashes, at most `limit` of it: so a part of it is a fair sample of all classes.

    `labels` are the models' where these have other ones, or another order, than the data set; raises DataError where
    they lack one of its.
    """
    labels = tuple(labels or dataset.labels)
    own = places(dataset, labels)
    hashed = sorted((hash_file(sample.path), str(sample.path), sample) for sample in dataset.test)[:limit]
    digest = hashlib.sha256()
    for sha256, _, sample in hashed:
        label = int(own[sample.label])
        digest.update(bytes.fromhex(sha256) + label.to_bytes(1 if label < 256 else 2, "big"))
    samples = [sample for _, _, sample in hashed]
    return samples, Data(
        name=name,
        fingerprint=digest.hexdigest(),
        available=len(dataset.test),
        images=tuple(sample.path.relative_to(dataset.root).as_posix() for sample in samples),
        labels=tuple(int(own[sample.label]) for sample in samples),
        label_names=labels,
    )


def preparer(
    samples: Sequence[Sample], perturbed: int, work: Path, labels: tuple[str, ...] = LABELS
) -> Callable[[InputSpec], Images]:
    """What makes the images of a spec, once for each size: the rest of a spec is fixed in this version."""
    prepared: dict[int, Images] = {}

    def images(spec: InputSpec) -> Images:
        if spec.size not in prepared:
            pixels = read_pixels(samples, spec)
            path = work / f"images-{spec.size}.bin"
            pixels.tofile(path)
            paths = {}
            for factor in FACTORS if perturbed else ():
                paths[factor] = work / f"images-{spec.size}-{factor}.bin"
                perturb(factor, pixels[:perturbed]).tofile(paths[factor])
            files = tuple(sample.path for sample in samples)
            covered = len(pixels[:perturbed])
            prepared[spec.size] = Images(path, len(samples), spec.size, files, paths, covered, labels)
        return prepared[spec.size]

    return images

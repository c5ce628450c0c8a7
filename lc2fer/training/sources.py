"""The data sets of a run: opened, divided, of the same classes, and written down each under a name of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lc2fer.arguments import at_home
from lc2fer.artifact import hash_file
from lc2fer.data import labels_of, open_dataset, undecided
from lc2fer.data.dataset import Dataset, Sample, places, to_tell_apart
from lc2fer.data.split import Split, divide
from lc2fer.errors import DataError, UsageError
from lc2fer.inputs import InputSpec
from lc2fer.reading import Reading
from lc2fer.text import printable
from lc2fer.training import faces as train_data
from lc2fer.training.faces import Faces


@dataclass(frozen=True)
class Sources:
    """What a run learns from; the classes are the first data set's, and the others have no more than these."""

    names: tuple[str, ...]  # each data set's, no two alike
    datasets: tuple[Dataset, ...]
    splits: tuple[Split, ...]
    parts: tuple[tuple[Sample, ...], ...]  # what is trained on: of D^u, and with votes images without a majority

    @property
    def labels(self) -> tuple[str, ...]:
        return self.datasets[0].labels

    @property
    def notes(self) -> list[str]:
        """What is to be known of how they were read."""
        found = []
        for name, dataset, split, part in zip(self.names, self.datasets, self.splits, self.parts):
            notes = [*dataset.notes, *split.notes(dataset)]
            if lost := len(dataset.train + dataset.validation) - len(split.fit + split.validation):
                notes.append(f"Left out: {lost:,} training images that are D^v's too.")
            if more := len(set(part) & set(dataset.undecided)):
                notes.append(f"{more:,} training images without a majority are learnt from by their votes.")
            found += [f"{name}: {note}" if len(self.datasets) > 1 else note for note in notes]
        return found

    def described(self, kind: str, targets: Tensor) -> list[dict[str, Any]]:
        """What a run's description says of them; `targets` are those of `samples`, float32 [N,classes]."""
        found: list[dict[str, Any]] = []
        rows = targets.split([len(part) for part in self.parts])
        for place, (name, part, split) in enumerate(zip(self.names, self.parts, self.splits)):
            one = {"name": name, "fit_images": len(part), "split": split.fingerprint}
            one["labels"] = self._labels_hash(place)
            if kind == "votes":
                known = dict(zip(split.fit, split.fit_sha256))
                images = [known.get(sample) or hash_file(sample.path) for sample in part]
                one["votes"] = _hashed(zip(images, rows[place].tolist()))
            found.append(one)
        return found

    def _labels_hash(self, place: int) -> str:
        """Of each image of a data set with its class in the run, whatever its path; the split's has no classes."""
        split = self.splits[place]
        ids = self.ids(self.datasets[place], split.fit + split.validation)
        return _hashed(zip(split.fit_sha256 + split.validation_sha256, ids.tolist()))

    @property
    def record(self) -> dict[str, Any]:
        """What split.json says: D^v of each."""
        return {
            name: {"seed": split.seed, "fingerprint": split.fingerprint, "validation": list(split.validation_sha256)}
            for name, split in zip(self.names, self.splits)
        }

    def ids(self, dataset: Dataset, samples: Sequence[Sample]) -> NDArray[np.int64]:
        """The samples' classes among the run's, int64 [N]."""
        return np.asarray(places(dataset, self.labels)[labels_of(samples)], np.int64)

    @property
    def samples(self) -> list[Sample]:
        """All that is trained on."""
        return [sample for part in self.parts for sample in part]

    def faces(self, spec: InputSpec, device: torch.device) -> Faces:
        """The same, read."""
        ids = np.concatenate([self.ids(*pair) for pair in zip(self.datasets, self.parts)])
        return train_data.faces(self.samples, spec, device, ids)

    def validation(self, spec: InputSpec, device: torch.device) -> list[Faces]:
        """D^v of each data set, read."""
        return [
            train_data.faces(split.validation, spec, device, self.ids(dataset, split.validation))
            for dataset, split in zip(self.datasets, self.splits)
        ]


def open_sources(
    data: Sequence[str], images: str, reading: Reading, limit: int, keep: int, *, votes: bool = False
) -> Sources:
    """Open the data sets and divide them, with `keep` images in each D^v if it is not 0.

    With `votes`, images without a majority are trained on too, unless there is a limit. Raises DataError as
    `open_dataset` and `divide` do, for other classes or a single one, and for training images that are test images of
    another data set; UsageError for a data set that is named twice.
    """
    datasets = tuple(open_dataset(name, images, reading) for name in data)
    to_tell_apart(datasets[0])
    for place, dataset in enumerate(datasets[1:], 1):
        places(dataset, datasets[0].labels)
        if dataset.root.resolve() in [other.root.resolve() for other in datasets[:place]]:
            raise UsageError(
                f"{dataset.place} was given twice as --data. Each data set was expected once, for its images would "
                "count twice. Leave one out."
            )
    splits = _without_others(tuple(divide(dataset, keep=keep) for dataset in datasets))
    _apart(datasets, splits)
    parts = [train_data.limited(split, limit) for split in splits]
    if votes and not limit:
        held = [one for split in splits for one in split.validation]
        tests = {dataset.root: dataset.test for dataset in datasets}
        more = (
            undecided(one, [*held, *(test for root in tests if root != one.root for test in tests[root])])
            for one in datasets
        )
        parts = [(*part, *those) for part, those in zip(parts, more)]
    return Sources(distinct(data), datasets, splits, tuple(parts))


def _without_others(splits: Sequence[Split]) -> tuple[Split, ...]:
    """The same without training images that are in another's D^v: it judges all that was learnt."""
    found = []
    for split in splits:
        held = {image for other in splits if other is not split for image in other.validation_sha256}
        fit = [pair for pair in zip(split.fit, split.fit_sha256) if pair[1] not in held]
        found.append(replace(split, fit=tuple(one for one, _ in fit), fit_sha256=tuple(image for _, image in fit)))
    return tuple(found)


def _hashed(pairs: Iterable[tuple[str, Any]]) -> str:
    """Of images' hashes and what belongs to each, in any order."""
    return hashlib.sha256(repr(sorted(pairs)).encode()).hexdigest()


def _apart(datasets: Sequence[Dataset], splits: Sequence[Split]) -> None:
    """Raise DataError where a file of one data set's training images is a test image of another."""
    if len(datasets) < 2:
        return
    tests = [{hash_file(sample.path): sample.path for sample in dataset.test} for dataset in datasets]
    for split, dataset in zip(splits, datasets):
        ours = dict(zip(split.fit_sha256 + split.validation_sha256, split.fit + split.validation))
        for other, theirs in zip(datasets, tests):
            if other is dataset or not (both := sorted(ours.keys() & theirs.keys(), key=lambda one: ours[one].path)):
                continue
            raise DataError(
                f"{len(both):,} training images of {dataset.place} are test images of {other.place}: "
                f"{printable(ours[both[0]].path)} is the same file as {printable(theirs[both[0]])}. Test images were "
                "expected to be in no training part. Remove them from it, or train on one of the two."
            )


def distinct(data: Sequence[str]) -> tuple[str, ...]:
    """A name for each folder: its last part, with as many of those before it as tell it from the others."""
    paths = [at_home(name).resolve() if at_home(name).exists() else Path(name) for name in data]
    names: list[str] = []
    for path in paths:
        parts = path.parts or (str(path),)
        count = 1
        while count < len(parts) and any(other != path and other.parts[-count:] == parts[-count:] for other in paths):
            count += 1
        names.append("/".join(parts[-count:]))
    return tuple(names)


def same(was: Any, now: Any) -> bool:
    """Whether a description's entry tells of the same run.

    Of its data sets the names do not count, which moving them changes, nor the labels and votes where a run of before
    did not write them down.
    """
    if not (_of_datasets(was) and _of_datasets(now)):
        return bool(was == now)
    ignored = {"name"} | ({"labels", "votes"} - {key for one in was for key in one})
    first, second = ([{key: one[key] for key in one if key not in ignored} for one in each] for each in (was, now))
    return bool(first == second)


def _of_datasets(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)

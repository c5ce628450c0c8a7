"""A data set as it lies on disk: its classes, its parts, and what of its folders is a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lc2fer.errors import DataError
from lc2fer.inputs import LABELS

PICTURES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".pgm", ".ppm"}
_HIDDEN = {"thumbs.db", "desktop.ini", "__macosx"}  # and all that begins with a dot


@dataclass(frozen=True)
class Sample:
    """One picture and its class, a place in its data set's labels."""

    path: Path
    label: int


@dataclass(frozen=True)
class Dataset:
    """A data set as it lies on disk: `train` is the paper's D^u and D^v together, `test` its D^e.

    Where the data set has a part to validate on, `validation` is D^v and `train` is D^u.
    """

    root: Path
    layout: str  # official | folders | fer2013 | ferplus | affectnet
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    labels: tuple[str, ...] = LABELS
    validation: tuple[Sample, ...] = ()
    notes: tuple[str, ...] = ()  # what a user has to know of how it was read: a sentence each
    source: Path | None = None  # what it was read from, where its pictures lie elsewhere
    copies: frozenset[Path] = frozenset()  # training images that are test images too, and were kept
    shares: Mapping[Path, tuple[float, ...]] | None = field(default=None, repr=False)  # of the crowd's votes, by label
    undecided: tuple[Sample, ...] = ()  # of the training part: no majority, but votes; in none of the parts above

    @property
    def place(self) -> Path:
        """What a message calls it."""
        return self.source or self.root

    def class_name(self, label: int) -> str:
        """How a class is called in a message: RAF-DB's have numbers too."""
        return f"{label + 1} ({self.labels[label]})" if self.labels == LABELS else self.labels[label]


class Litter:
    """What was left out of folders of pictures, counted."""

    def __init__(self) -> None:
        self.hidden: list[str] = []
        self.others: Counter[str] = Counter()

    def folders(self, place: Path) -> list[Path]:
        """The folders in a folder that are not hidden, by name."""
        found = sorted(entry for entry in place.iterdir() if entry.is_dir())
        return [entry for entry in found if not self._hides(entry)]

    def pictures(self, place: Path) -> list[Path]:
        """The pictures in a folder, by name; the rest is counted."""
        found = []
        for entry in sorted(place.iterdir()):
            if self._hides(entry):
                continue
            if entry.suffix.lower() in PICTURES and not entry.is_dir():
                found.append(entry)
            else:
                self.others["folders" if entry.is_dir() else entry.suffix.lower() or "no ending"] += 1
        return found

    @property
    def kinds(self) -> str:
        """What was no picture, counted by kind."""
        return ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.others.items()))

    def notes(self) -> tuple[str, ...]:
        """A sentence that says with numbers what was left out; none where nothing was."""
        parts = []
        if self.hidden:
            names = ", ".join(sorted(set(self.hidden))[:3])
            parts.append(
                f"{len(self.hidden):,} hidden files or folders ({names}{', ...' * (len(set(self.hidden)) > 3)})"
            )
        if self.others:
            parts.append(f"{sum(self.others.values()):,} files or folders that are no pictures ({self.kinds})")
        return (f"Left out: {' and '.join(parts)}.",) if parts else ()

    def _hides(self, entry: Path) -> bool:
        hidden = entry.name.startswith(".") or entry.name.lower() in _HIDDEN
        if hidden:
            self.hidden.append(entry.name)
        return hidden


def complete(
    root: Path,
    labels: Sequence[str],
    parts: Mapping[str, Iterable[Sample]],
    looked: Mapping[tuple[str, str], Sequence[Path]] = MappingProxyType({}),
) -> None:
    """Raise DataError for a part in which a class has no picture, where there is no class, and for one whose name is no
    text: models carry the names, and the files of engines and servers take UTF-8 and a line each.

    `looked` has the folders of a part and a class in which pictures were looked for.
    """
    if not labels:
        raise DataError(
            f"{root} holds no picture of any class. Expected pictures of two classes at least. Complete the data set; "
            "if --synonyms leaves classes out, leave out fewer."
        )
    odd = next((name for name in labels if any(sign < " " or "\ud800" <= sign <= "\udfff" for sign in name)), None)
    if odd is not None:
        raise DataError(
            f"{root} has the class {odd!r}. A name in UTF-8 without control characters was expected, for models carry "
            "it. Rename its folder, or name it with --synonyms."
        )
    for part, samples in parts.items():
        present = {sample.label for sample in samples}
        for label, name in enumerate(labels):
            if label in present:
                continue
            held = [said for folder in looked.get((part, name), ()) if (said := _held(folder))]
            but = f" ({'; '.join(held)})" if held else ""
            advice = "Put its pictures into that folder itself, as JPEG or PNG" if held else "Complete the data set"
            if tuple(labels) == LABELS:
                raise DataError(
                    f"{root} has no {part} image of class {label + 1} ({name}){but}. Expected at least one of each "
                    f"class 1..7. {advice}."
                )
            raise DataError(
                f"{root} has no {part} image of class {name}{but}. Expected at least one of each class: "
                f"{', '.join(labels)}. {advice}, or leave the class out with --synonyms {name}=."
            )


def _held(folder: Path) -> str:
    """What a folder without pictures holds instead; empty where it holds nothing."""
    litter = Litter()
    litter.pictures(folder)
    return f"{folder} holds {litter.kinds}" if litter.others else ""


def to_tell_apart(dataset: Dataset) -> None:
    """Raise DataError where a data set has one class only, from which nothing can be learnt."""
    if len(dataset.labels) < 2:
        raise DataError(
            f"{dataset.place} has one class only, {dataset.labels[0]}. Expected two at least, to learn to tell them "
            "apart. Pass a data set with a folder for each class, such as train/happy/ and train/sad/."
        )


def places(dataset: Dataset, labels: Sequence[str], *, strict: bool = True) -> NDArray[np.int64]:
    """For each class of a data set its place in a model's labels, int64 [classes]; -1 for one that is not among them.

    Raises DataError for that one, unless `strict` is false.
    """
    foreign = [name for name in dataset.labels if name not in labels]
    if foreign and strict:
        raise DataError(
            f"{dataset.place} has the class {foreign[0]}, which the model does not know: it tells "
            f"{', '.join(labels)} apart. Data of these classes was expected. Pass other --data, or leave the class "
            f"out with --synonyms {foreign[0]}=."
        )
    return np.array([labels.index(name) if name in labels else -1 for name in dataset.labels], np.int64)

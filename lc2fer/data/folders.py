"""Pictures in a folder a class: RAF-DB's, FER2013's and AffectNet's folder forms, and anybody's own classes.

train/<class>/*.jpg, test/<class>/*.jpg and, where there is one, val/<class>/*.jpg or valid/<class>/*.jpg, in the folder
itself, in DATASET/ or in the only folder of it (lc2fer/data/parts.py). <class> is a name or a number
(lc2fer/data/names.py). Without a test part, D^e is split off by the files' hashes.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from lc2fer.data import names
from lc2fer.data.dataset import Dataset, Litter, Sample, complete
from lc2fer.data.parts import parts_of
from lc2fer.data.split import TEST_SHARE, hold_out
from lc2fer.errors import DataError
from lc2fer.inputs import LABELS

_SHOWN = 4  # classes in a note


def load(root: Path, place: Path, labels_from: str | None = None, synonyms: tuple[str, ...] = ()) -> Dataset:
    """The data set in `place`, the folder `root` or one in it.

    Raises DataError, naming the folder, for a class folder that means nothing, an empty class and a missing training
    part; UsageError for a wrong entry of `synonyms`.
    """
    litter, notes, own = Litter(), [], names.Names(synonyms)
    parts = parts_of(place) or {"train": place}
    if "train" not in parts:
        there = ", ".join(f"{folder.name}/" for folder in parts.values())
        raise DataError(f"{place} has {there} and no train/. Expected images to train on. Complete the data set.")
    folders = {part: litter.folders(folder) for part, folder in parts.items()}
    table, scheme = _table([folder for theirs in folders.values() for folder in theirs], labels_from, own, place)
    labels = names.ordered(label for label in table.values() if label is not None)
    if scheme in ("0", "1") and not synonyms:
        labels = LABELS  # RAF-DB's seven, all of which have to be there
    found: dict[str, list[Sample]] = {
        part: [
            Sample(picture, labels.index(label))
            for folder in theirs
            if (label := table[folder.name]) is not None
            for picture in litter.pictures(folder)
        ]
        for part, theirs in folders.items()
    }
    looked: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for part, theirs in folders.items():
        for folder in theirs:
            looked[part, table[folder.name] or ""].append(folder)
    complete(root, labels, {part: samples for part, samples in found.items() if part != "validation"}, looked)
    dropped = sorted(name for name, label in table.items() if label is None)
    if dropped:
        notes.append(f"Left out, as --synonyms says: the folders {', '.join(dropped)}.")
    if scheme == "affectnet" and labels_from is None:
        told = ", ".join(f"{name} {label}" for name, label in sorted(table.items()))
        notes.append(f"The numbers are read as AffectNet's: {told}. --labels-from ferplus reads them as FER+'s.")
    if labels_from is not None and scheme is None:
        notes.append(f"--labels-from {labels_from} has no effect: the classes of {place} are names.")
    notes += own.notes(place)
    if scheme is None and not own.given and not set(labels) & set(names.EXPRESSIONS):
        first = ", ".join(labels[:_SHOWN]) + ", ..." * (len(labels) > _SHOWN)
        notes.append(
            f"No class of {place} is an expression that is known: each folder is a class of its own ({first})."
        )
    if "validation" in found:
        notes.append(f"{parts['validation'].name}/ is D^v: {len(found['validation']):,} images.")
    if "test" not in found:
        found["train"], found["test"] = hold_out(found["train"])
        notes.append(
            f"{root} has no test part. {TEST_SHARE:.0%} of each class were split off by their files' hashes as D^e: "
            f"{len(found['test']):,} images."
        )
    validation = tuple(found.get("validation", ()))
    every = (*notes, *litter.notes())
    return Dataset(root, "folders", tuple(found["train"]), tuple(found["test"]), labels, validation, every)


def _table(
    folders: list[Path], labels_from: str | None, own: names.Names, place: Path
) -> tuple[dict[str, str | None], str | None]:
    """Name of a class's folder -> its class, None where the user leaves it out; and how numbers among them are read."""
    called = {folder.name: folder for folder in folders}
    given = {name for name in called if names.written(name).lower() in own.given}
    digits = called.keys() - given
    if not digits or not all(name.isdigit() for name in digits):
        return {name: own.label(name) for name in called}, None
    scheme = labels_from or names.scheme(digits, str(place))
    meant = {name: names.meaning(name, scheme, str(called[name])) for name in sorted(digits)}
    return {name: own.label(meant.get(name, name)) for name in called}, scheme

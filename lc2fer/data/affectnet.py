"""AffectNet (Mollahosseini, Hasani, Mahoor, IEEE TAC 2017) as its authors serve the cropped faces.

train_set/images/0.jpg with train_set/annotations/0_exp.npy, the number of its expression as text, and val_set/ alike.
val_set is D^v; D^e, which is not given away, is split off the training part. The folder form is lc2fer/data/folders.py.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from lc2fer.data import names
from lc2fer.data.dataset import Dataset, Litter, Sample, complete
from lc2fer.data.split import TEST_SHARE, hold_out
from lc2fer.errors import MALFORMED, DataError

_PARTS = {"train": "train_set", "validation": "val_set"}


def is_here(root: Path) -> bool:
    """Whether the folder holds annotated faces of that form."""
    return (root / "train_set" / "annotations").is_dir()


def load(root: Path, synonyms: tuple[str, ...] = ()) -> Dataset:
    """The data set in that folder, of 8 classes, or of 7 where `synonyms` has "contempt=".

    Raises DataError, naming the file, for a picture without an annotation and an annotation that is no expression.
    """
    own, litter, dropped = names.Names(synonyms), Litter(), 0
    meant: dict[str, list[tuple[Path, str]]] = {part: [] for part in _PARTS}
    for part, folder in _PARTS.items():
        place = root / folder / "images"
        for picture in litter.pictures(place) if place.is_dir() else ():
            label = own.label(_expression(root / folder / "annotations" / f"{picture.stem}_exp.npy"))
            if label is None:
                dropped += 1
            else:
                meant[part].append((picture, label))
    labels = names.ordered(label for pairs in meant.values() for _, label in pairs)
    found = {part: [Sample(path, labels.index(label)) for path, label in pairs] for part, pairs in meant.items()}
    kept, test = hold_out(found["train"])
    complete(root, labels, {"train": kept, "test": test})
    notes = [
        f"AffectNet has no test part. {TEST_SHARE:.0%} of each class of train_set were split off by their files' "
        f"hashes as D^e: {len(test):,} images."
    ]
    if found["validation"]:
        notes.append(f"val_set is D^v: {len(found['validation']):,} images.")
    if dropped:
        notes.append(f"Left out, as --synonyms says: {dropped:,} images.")
    every = (*notes, *own.notes(root), *litter.notes())
    return Dataset(root, "affectnet", tuple(kept), tuple(test), labels, tuple(found["validation"]), every)


def _expression(path: Path) -> str:
    """The class in an annotation's file."""
    try:
        text = str(np.load(path, allow_pickle=False).item()).strip()
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing. Expected an annotation for each picture of images/. Unpack AffectNet again."
        ) from None
    except (*MALFORMED, OSError, EOFError, BadZipFile):  # an .npz, or half of one
        text = "unreadable"
    return names.meaning(text, "affectnet", str(path))

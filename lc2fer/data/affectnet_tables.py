"""AffectNet (Mollahosseini, Hasani, Mahoor, IEEE TAC 2017) as its authors serve the whole photographs.

training.csv and validation.csv  subDirectory_filePath, face_x, face_y, face_width, face_height, ..., expression, ...
Manually_Annotated_Images/       the photographs, which may also lie in Manually_Annotated/ or beside the tables

Expressions 0 to 7 are classes; 8 (none), 9 (uncertain) and 10 (no face) are left out. The faces are cut out once, into
the cache (affectnet_rows.py). validation.csv is D^v; D^e is split off the training part.
"""

from __future__ import annotations

import csv
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lc2fer.artifact import hash_file, staged
from lc2fer.data import affectnet_rows, names
from lc2fer.data.dataset import Dataset, Sample, complete
from lc2fer.data.split import TEST_SHARE, hold_out
from lc2fer.storage import cache_folder
from lc2fer.text import remark

_TABLES = {"training.csv": "train", "validation.csv": "validation"}


def is_here(root: Path) -> bool:
    """Whether the folder holds tables of that form."""
    try:
        with (root / "training.csv").open(encoding="utf-8-sig") as file:
            return file.readline(1000).startswith(affectnet_rows.COLUMNS[0])
    except (OSError, ValueError):
        return False


def load(root: Path, synonyms: tuple[str, ...] = ()) -> Dataset:
    """The data set in that folder, of 8 classes, or of 7 where `synonyms` has "contempt=".

    Raises DataError, naming the line or the file, for a row that is none and a photograph that cannot be read.
    """
    own, made = names.Names(synonyms), _faces(root)
    with (made / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = [(name, part, own.label(names.NUMBERS["affectnet"][one])) for name, part, one in csv.reader(file)]
    labels = names.ordered(label for _, _, label in rows if label is not None)
    found: dict[str, list[Sample]] = {"train": [], "validation": []}
    for name, part, label in rows:
        if label is not None:
            found[part].append(Sample(made / name, labels.index(label)))
    kept, test = hold_out(found["train"])
    complete(root, labels, {"train": kept, "test": test})
    notes = [
        f"AffectNet has no test part. {TEST_SHARE:.0%} of each class of training.csv were split off by their faces' "
        f"hashes as D^e: {len(test):,} images."
    ]
    if found["validation"]:
        notes.append(f"validation.csv is D^v: {len(found['validation']):,} images.")
    left_out = int((made / "left_out").read_text())
    if left_out:
        notes.append(f"Left out: {left_out:,} rows without an expression (none, uncertain, no face).")
    if dropped := sum(label is None for _, _, label in rows):
        notes.append(f"Left out, as --synonyms says: {dropped:,} images.")
    notes += own.notes(root)
    return Dataset(
        made, "affectnet", tuple(kept), tuple(test), labels, tuple(found["validation"]), tuple(notes), source=root
    )


def _faces(root: Path) -> Path:
    """The folder with the faces and index.csv (file, part, expression), made where it is not there yet."""
    tables = {root / name: part for name, part in _TABLES.items() if (root / name).is_file()}
    made = cache_folder() / f"affectnet-{'-'.join(hash_file(table)[:12] for table in tables)}"
    if made.is_dir():
        return made
    remark(f"Cutting AffectNet's faces out into {made}, once.")
    with staged(made.parent) as staging, ThreadPoolExecutor(os.cpu_count()) as pool:
        (new := staging / made.name).mkdir()
        left_out = 0
        with (new / "index.csv").open("w", encoding="utf-8", newline="") as index:
            for table, part in tables.items():
                said = list(affectnet_rows.read(root, table))
                rows = [row for row in said if row is not None]
                left_out += len(said) - len(rows)
                places = [new / f"{part}_{number:06d}.ppm" for number in range(1, len(rows) + 1)]
                for _ in pool.map(affectnet_rows.cut, rows, places, chunksize=64):
                    pass
                csv.writer(index).writerows((place.name, part, row.expression) for place, row in zip(places, rows))
        (new / "left_out").write_text(str(left_out))
        if not made.is_dir():  # else another process was sooner
            os.replace(new, made)
    return made

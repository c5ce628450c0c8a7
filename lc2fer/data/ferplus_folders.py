"""FER+'s own folders, as its generate_training_data.py fills them from FER2013: pictures, and their votes beside them.

FER2013Train/label.csv  fer0000000.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0
FER2013Valid/ is D^v and FER2013Test/ D^e. There is no header; the votes are in the order of fer2013new.csv.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lc2fer.data import fer2013, ferplus
from lc2fer.data.dataset import Dataset
from lc2fer.data.names import Names
from lc2fer.errors import DataError

_TABLE = "label.csv"
_PARTS = {"train": "FER2013Train", "validation": "FER2013Valid", "test": "FER2013Test"}


def is_here(root: Path) -> bool:
    """Whether a folder holds FER+'s."""
    return (root / _PARTS["train"] / _TABLE).is_file()


def load(root: Path, synonyms: tuple[str, ...] = ()) -> Dataset:
    """The data set; raises DataError, naming the line, for a row without its picture or that is none of FER+'s."""
    own, pictures, votes = Names(synonyms), [], []
    for part, name in _PARTS.items():
        for picture, row in _rows(root / name):
            pictures.append((picture, part))
            votes.append(row)
    counted = ferplus.majorities(ferplus.COLUMNS, np.array(votes, np.int64).reshape(-1, len(ferplus.COLUMNS)), own)
    return fer2013.assembled(root, "ferplus", pictures, counted.labels, counted, own, _PARTS)


def _rows(folder: Path) -> Iterator[tuple[Path, list[int]]]:
    """Each picture of a part and its ten votes."""
    table = folder / _TABLE
    if not table.is_file():
        return
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file)
        try:
            for row in rows:
                if any(row):
                    yield _row(table, rows.line_num, row)
        except csv.Error as error:
            raise DataError(f"{table} is no CSV ({error}). Expected FER+'s. Copy the file again.") from None


def _row(table: Path, line: int, row: list[str]) -> tuple[Path, list[int]]:
    try:
        votes = [int(cell) for cell in row[2:]]
    except ValueError:
        votes = []
    if len(votes) != len(ferplus.COLUMNS) or not all(0 <= vote < 2**31 for vote in votes):
        raise DataError(
            f"{table}, line {line}: {','.join(row)[:80]!r}. Expected a picture's name, its box and "
            f"{len(ferplus.COLUMNS)} numbers of votes, as FER+ has. Copy the file again."
        )
    name = row[0].strip()
    picture = table.parent / name
    if os.path.basename(name) != name or not os.path.isfile(picture):  # also of names that no system has
        raise DataError(
            f"{table}, line {line}: {name or 'the picture'} is missing. Expected it beside the table. Run FER+'s "
            "generate_training_data.py, which writes the pictures from fer2013.csv."
        )
    return picture, votes

"""Votes of many people for each picture, beside a data set: `votes.csv` in its folder.

    image,surprise,fear,disgust,happiness,sadness,anger,neutral
    Image/aligned/train_00001_aligned.jpg,0,0,0,7,0,0,3

Paths are relative to the folder, with "/"; numbers are votes or shares, 0 or more, not all 0.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer.data.dataset import Sample
from lc2fer.data.names import written
from lc2fer.errors import DataError
from lc2fer.inputs import LABELS

FILE = "votes.csv"


def _rows(table: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        yield from ((table.line_num, row) for row in table)
    except csv.Error as error:
        raise DataError(f"{path} is no CSV ({error}). Expected a row of votes a picture. Copy it again.") from None


def read(root: Path, samples: Sequence[Sample], labels: Sequence[str] = LABELS) -> NDArray[np.float32] | None:
    """Shares of the votes for the samples, float32 [N,classes] in the labels' order; None where there is no such file.

    Raises DataError, naming the line, for a row that is none, and for a sample without one.
    """
    path = root / FILE
    if not path.is_file():
        return None
    found: dict[str, list[float]] = {}
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = _rows(csv.reader(file), path)
        number, header = next(rows, (1, []))
        if [written(word) for word in header] != ["image", *labels]:
            raise DataError(
                f"{path} begins with {','.join(header)!r}. Expected {','.join(['image', *labels])!r}. "
                "Correct its first line."
            )
        for number, row in rows:
            if not any(row):  # an empty line, as at a file's end
                continue
            try:
                votes = [float(word) for word in row[1:]]
                good = len(votes) == len(labels) and all(vote >= 0 for vote in votes) and 0 < sum(votes) < math.inf
            except ValueError:
                good = False
            if not good:
                raise DataError(
                    f"{path}, line {number}: {','.join(row)!r} is no row of votes. Expected an image and "
                    f"{len(labels)} numbers, 0 or more, not all 0. Correct the line."
                )
            if found.setdefault(row[0], votes) != votes:
                raise DataError(
                    f"{path}, line {number}: {row[0]} has other votes than in a line before. One row for each image "
                    "was expected. Remove one of them."
                )
    shares = np.empty((len(samples), len(labels)), np.float32)
    for place, sample in enumerate(samples):
        name = sample.path.relative_to(root).as_posix()
        if name not in found:
            raise DataError(
                f"{path} has no row for {name}. Votes for every training image were expected. Add the row, or train "
                "with --targets labels."
            )
        shares[place] = np.divide(found[name], sum(found[name]))
    return shares

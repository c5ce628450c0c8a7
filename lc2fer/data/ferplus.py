"""FER+ (Barsoum, Zhang, Ferrer, Zhang, ICMI 2016): ten people's votes for each picture of FER2013.

fer2013new.csv  Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lc2fer.data.names import Names
from lc2fer.errors import DataError

FILE = "fer2013new.csv"
COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "nf")
_NO_CLASS = COLUMNS[-2:]


@dataclass(frozen=True)
class Votes:
    """The votes, merged to classes."""

    labels: tuple[str | None, ...]  # the majority's class of each row; None: unknown, no face, left out, or a tie
    counts: dict[str, NDArray[np.int64]]  # class -> votes of each row

    def of(self, row: int, labels: tuple[str, ...]) -> list[int]:
        """A row's votes for each of these classes."""
        return [int(self.counts[label][row]) for label in labels]

    def shares(self, row: int, labels: tuple[str, ...]) -> tuple[float, ...]:
        """Of a row's votes for these classes, the share of each."""
        found = self.of(row, labels)
        return tuple(each / sum(found) for each in found)


def read(path: Path, parts: Sequence[str], own: Names) -> Votes:
    """The votes for pictures of these parts ("training", ...); raises DataError for a table that is not theirs."""
    said: list[str] = []
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows, columns = csv.reader(file), []
        try:
            columns = [word.strip().lower() for word in next(rows, [])][2:]
            every = [row for row in rows if any(row)]
            said = [row[0].strip().lower() for row in every]
            votes = np.array([[int(cell) for cell in row[2:]] for row in every], np.int64)
        except (ValueError, OverflowError, csv.Error):
            votes = np.empty((0, 0), np.int64)
    if votes.shape != (len(parts), len(columns)) or "neutral" not in columns or (votes < 0).any():
        raise DataError(
            f"{path} holds {len(votes):,} rows of votes for {len(parts):,} pictures. Expected FER+'s table, a row for "
            "each row of fer2013.csv beside it. Copy both again, or move this one away to use FER2013's own labels."
        )
    other = next((row for row, (one, part) in enumerate(zip(said, parts)) if one != part), None)
    if other is not None and len(set(parts)) > 1:  # all of one part: fer2013.csv came without its column
        raise DataError(
            f"{path} has votes for a picture of {said[other]!r} in row {other + 1}, where fer2013.csv has one of "
            f"{parts[other]!r}. The rows of both were expected in one order, FER2013's own. Copy both again, or move "
            "this one away to use FER2013's own labels."
        )
    return majorities(columns, votes, own)


def majorities(columns: Sequence[str], votes: NDArray[np.int64], own: Names) -> Votes:
    """The votes int64 [pictures,columns], merged to classes."""
    groups: dict[str, list[int]] = {}
    lost: list[NDArray[np.int64]] = []
    for place, column in enumerate(columns):
        label = None if column in _NO_CLASS else own.label(column)
        if label is None:
            lost.append(votes[:, place])
        else:
            groups.setdefault(label, []).append(place)
    counts = {label: votes[:, places].sum(axis=1) for label, places in groups.items()}
    tally = np.stack([*counts.values(), *lost], axis=1)
    alone = (tally == tally.max(axis=1, keepdims=True)).sum(axis=1) == 1
    winners = [*counts, *[None] * len(lost)]
    return Votes(tuple(winners[best] if one else None for best, one in zip(tally.argmax(axis=1), alone)), counts)

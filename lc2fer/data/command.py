"""lc2fer data check: what --data would read of a folder and what it would refuse, before an hour of training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from tabulate import tabulate  # type: ignore[import-untyped]

from lc2fer import reading
from lc2fer.data import labels_of, layout_of, without_copies
from lc2fer.data.dataset import Dataset, Sample, to_tell_apart
from lc2fer.data.names import written
from lc2fer.data.split import divide
from lc2fer.errors import DataError
from lc2fer.inputs import read_image
from lc2fer.text import printable, remark

_MOST_NAMED = 100  # refused files in the last line; the table has them all
_MANY = 2000  # pictures


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(prog="lc2fer data", description="Look at a data set; nothing is trained.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    says = "tell what --data DIR would read: layout, classes and their images, files refused, copies; exit 2 if any is"
    checking = verbs.add_parser("check", help=says, description=f"{says[0].upper()}{says[1:]}.")
    checking.add_argument("data", metavar="DIR", help='a folder of faces, fer2013.csv, or "synthetic"')
    reading.add_images(checking)
    reading.add_arguments(checking)
    return parser


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command; returns the last line's document, with exit code 2 where --data would be refused."""
    given = parser().parse_args(arguments)
    wanted = reading.Reading.of(vars(given))
    found = layout_of(given.data, given.images, wanted)
    count = len(found.train) + len(found.validation) + len(found.test)
    if count >= _MANY:
        remark(f"Reading {count:,} pictures.")
    found, refused, wrong = _looked_at(found, wanted.leave_out_copies)
    sides: dict[str, Sequence[Sample]] = {"train": found.train, "validation": found.validation, "test": found.test}
    try:
        to_tell_apart(found)
        split = divide(found)
        found = replace(found, notes=(*found.notes, *split.notes(found)))
        sides |= {"train": split.fit, "validation": split.validation}
    except DataError as error:
        wrong = [*wrong, *error.lines]
    counts = {side: _counts(samples, found.labels) for side, samples in sides.items()}
    read_as = _renamed(found)
    rows = [[name, *(counts[side][name] for side in sides)] for name in found.labels]
    rows.append(["all", *(len(samples) for samples in sides.values())])
    print(f"{printable(found.place)}: layout {found.layout}")
    print(tabulate(rows, ["class", "D^u, train", "D^v, validate", "D^e, test"]))
    if read_as:
        print("Read as: " + ", ".join(f"{printable(folder)} is {label}" for folder, label in read_as.items()) + ".")
    for note in (*found.notes, *(f"Refused: {reason}" for reason in refused.values()), *wrong):
        print("\n".join(printable(line) for line in note.split("\n")))
    good = not refused and not wrong
    print("--data takes it." if good else "--data refuses it, for what stands above.")
    return {
        "data": given.data,
        "flags": wanted.arguments,
        "layout": found.layout,
        "images": counts,
        "read_as": read_as,
        "refused": len(refused),
        "refused_files": list(refused)[:_MOST_NAMED],
        "notes": [*found.notes, *wrong],
        "exit_code": 0 if good else 2,
    }


def _looked_at(found: Dataset, leave_out: bool) -> tuple[Dataset, dict[str, str], list[str]]:
    """The data set, its unreadable files, each with the reason, and what else is refused: copies."""
    try:
        return without_copies(found, leave_out), {}, []
    except DataError as error:
        refused = _unreadable([*found.train, *found.validation, *found.test])
        if not refused:
            return found, {}, list(error.lines)
    train, validation, test = (
        tuple(one for one in part if str(one.path) not in refused)
        for part in (found.train, found.validation, found.test)
    )
    found, _, wrong = _looked_at(replace(found, train=train, validation=validation, test=test), leave_out)
    return found, refused, wrong


def _unreadable(samples: Sequence[Sample]) -> dict[str, str]:
    def why(sample: Sample) -> str | None:
        try:
            read_image(sample.path)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        return {str(one.path): said for one, said in zip(samples, pool.map(why, samples)) if said is not None}


def _counts(samples: Sequence[Sample], labels: Sequence[str]) -> dict[str, int]:
    return dict(zip(labels, np.bincount(labels_of(samples), minlength=len(labels)).tolist()))


def _renamed(found: Dataset) -> dict[str, str]:
    """The folders of classes that are called otherwise than their class."""
    if found.layout != "folders":
        return {}
    every = sorted({(one.path.parent.name, found.labels[one.label]) for one in (*found.train, *found.test)})
    return {folder: label for folder, label in every if written(folder) != label}

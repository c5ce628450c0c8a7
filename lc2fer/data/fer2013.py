"""FER2013 (Goodfellow et al., arXiv 1307.0414) as Kaggle serves it, one CSV with the pixels in it.

fer2013.csv or icml_face_data.csv  emotion,pixels,Usage: 0..6, 2,304 numbers, Training | PublicTest | PrivateTest
FER+'s fer2013new.csv beside it gives labels and votes instead. PublicTest is D^v, PrivateTest D^e. The pictures are
written once to the cache, as PGM: the same bytes everywhere.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lc2fer.artifact import hash_file, staged
from lc2fer.data import ferplus, names
from lc2fer.data.dataset import Dataset, Sample, complete
from lc2fer.data.split import TEST_SHARE, hold_out
from lc2fer.errors import DataError
from lc2fer.storage import cache_folder

FILES, SIDE = ("fer2013.csv", "icml_face_data.csv"), 48
ENOUGH_VOTES = 5  # of ten, for the classes: a picture without a majority says something then
_PARTS = {"training": "train", "publictest": "validation", "privatetest": "test"}
_CALLED = {"validation": "PublicTest", "test": "PrivateTest"}


def load(path: Path, synonyms: tuple[str, ...] = ()) -> Dataset:
    """The data set of that CSV; raises DataError, naming the line, for a row that is none of its."""
    own, root = names.Names(synonyms), _pictures(path)
    with (root / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))  # picture, part, number of the emotion
    table, parts = path.with_name(ferplus.FILE), [usage for _, usage, _ in rows]
    votes = ferplus.read(table, parts, own) if table.is_file() else None
    meant = [own.label(names.NUMBERS["fer2013"][one]) for _, _, one in rows] if votes is None else votes.labels
    pictures = [(root / name, _PARTS[usage]) for name, usage, _ in rows]
    return assembled(root, "fer2013", pictures, meant, votes, own, _CALLED, path)


def assembled(
    root: Path,
    layout: str,
    pictures: Sequence[tuple[Path, str]],
    meant: Sequence[str | None],
    votes: ferplus.Votes | None,
    own: names.Names,
    called: Mapping[str, str],
    source: Path | None = None,
) -> Dataset:
    """The data set of these pictures, each with its part, and of what each is meant to show; None: no class.

    `called` has the names of the parts for messages. Raises DataError for a class without a picture in a part.
    """
    place = source or root
    labels = names.ordered(label for label in meant if label is not None)
    found: dict[str, list[Sample]] = {"train": [], "validation": [], "test": []}
    shares: dict[Path, tuple[float, ...]] = {}
    undecided: list[Sample] = []
    for row, ((picture, part), label) in enumerate(zip(pictures, meant)):
        if label is not None:
            found[part].append(Sample(picture, labels.index(label)))
        elif votes is not None and part == "train" and sum(given := votes.of(row, labels)) >= ENOUGH_VOTES:
            undecided.append(Sample(picture, given.index(max(given))))
        else:
            continue
        if votes is not None:
            shares[picture] = votes.shares(row, labels)
    lost = len(meant) - sum(map(len, found.values()))
    why = [*["unknown, no face, a tie"] * (votes is not None), *["as --synonyms says"] * bool(own.given)]
    notes = [f"Left out: {lost:,} of {len(meant):,} rows ({', '.join(why)})."] if lost else []
    notes += own.notes(place)
    if found["validation"]:
        notes.append(f"{called['validation']} is D^v: {len(found['validation']):,} images.")
    if not found["test"]:
        found["train"], found["test"] = hold_out(found["train"])
        notes.append(
            f"{place} has no {called['test']}. {TEST_SHARE:.0%} of each class were split off by their hashes as D^e: "
            f"{len(found['test']):,} images."
        )
    complete(place, labels, {part: found[part] for part in ("train", "test")})
    train, validation, test = (tuple(found[part]) for part in ("train", "validation", "test"))
    return Dataset(
        root,
        layout,
        train,
        test,
        labels,
        validation,
        tuple(notes),
        source,
        shares=shares or None,
        undecided=tuple(undecided),
    )


def _pictures(path: Path) -> Path:
    """The folder with the pictures and index.csv (file, part, emotion), written where it is not there yet."""
    if (root := cache_folder() / f"fer2013-{hash_file(path)[:16]}").is_dir():
        return root
    with staged(root.parent) as staging:
        (made := staging / root.name).mkdir()
        with (made / "index.csv").open("w", encoding="utf-8", newline="") as index:
            try:
                for number, (usage, emotion, pixels) in enumerate(_rows(path), 1):
                    name = f"{usage}_{number:05d}.pgm"
                    (made / name).write_bytes(f"P5\n{SIDE} {SIDE}\n255\n".encode() + pixels)
                    csv.writer(index).writerow((name, usage, emotion))
            except csv.Error as error:
                raise DataError(f"{path} is no CSV ({error}). Expected FER2013's. Copy the file again.") from None
        if not root.is_dir():  # else another process was sooner
            os.replace(made, root)
    return root


def _rows(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Part, emotion and pixels of each row."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file, skipinitialspace=True)
        header = [word.strip().lower() for word in next(rows, [])]
        if not {"emotion", "pixels"} <= set(header):
            raise DataError(
                f"{path} begins with {','.join(header)!r}. Expected emotion,pixels,Usage, as FER2013 has. Pass the "
                "file or the folder of fer2013.csv."
            )
        for row in rows:
            if not any(row):  # an empty line, as at a file's end
                continue
            cells = dict(zip(header, row))
            emotion, usage = cells.get("emotion", ""), cells.get("usage", "Training").lower()
            try:
                pixels = bytes(map(int, cells.get("pixels", "").split()))
            except ValueError:
                pixels = b""
            if emotion not in names.NUMBERS["fer2013"] or usage not in _PARTS or len(pixels) != SIDE * SIDE:
                raise DataError(
                    f"{path}, line {rows.line_num}: emotion {emotion!r}, {len(pixels):,} pixels, Usage {usage!r}. "
                    f"Expected 0 (anger) to 6 (neutral), {SIDE * SIDE:,} numbers 0..255, and Training, PublicTest or "
                    "PrivateTest. Copy the file again."
                )
            yield usage, emotion, pixels

"""Which files a command is to look at: pictures, folders, patterns, and lists that another program writes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lc2fer import pictures
from lc2fer.errors import DataError, UsageError
from lc2fer.targets import KINDS

FILMS = frozenset((".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg"))


@dataclass(frozen=True)
class Item:
    """A file, and what it is called within what was asked for."""

    path: Path
    name: Path  # relative: below the folder that was given, or the file's own name

    @property
    def is_film(self) -> bool:
        return self.path.suffix.lower() in FILMS


@dataclass
class Found:
    """How a walk through folders went."""

    left_out: int = 0  # files in folders that are neither pictures nor films, and hidden ones
    of_phones: int = 0  # of these: HEIC and AVIF

    def remark(self) -> str | None:
        """What to say of pictures that were left out though somebody took them."""
        if not self.of_phones:
            return None
        one = self.of_phones == 1
        what = "1 picture in HEIC or AVIF was" if one else f"{self.of_phones:,} pictures in HEIC or AVIF were"
        return f"{what} left out. JPEG, PNG or WebP was expected. Convert {'it' if one else 'them'} to JPEG."


def walk(
    given: Iterable[str], stdin: BinaryIO, found: Found, *, leave: Path | None = None
) -> Iterator[Item | DataError]:
    """The files of a command's arguments, one after the other: what each folder holds comes in order of its names.

    "-" is a list on `stdin`, a path a line, or with null characters between them as `find -print0` writes. The folder
    `leave` is not looked into, and no folder twice, whatever links lead to it. A folder or a list without any picture,
    and a folder that may not be read, is a DataError among the items; a pattern that matches nothing raises UsageError.
    Nothing is kept: a list may be as long as it likes.
    """
    for text in given:
        if text == "-":
            none = True
            for path in _listed(stdin):
                none = False
                yield Item(path, Path(path.name))
            if none:
                yield DataError("The list on standard input is empty. Expected a path a line. Look at what writes it.")
            continue
        path = Path(text)
        if path.is_dir():
            yield from _folder(path, found, leave)
        elif not os.path.lexists(path) and glob.has_magic(text):
            matches = sorted(glob.glob(text, recursive=True))
            if not matches:
                raise UsageError(f"{text!r} matches no file. Expected pictures. Correct the pattern.")
            for match in map(Path, matches):
                if match.is_dir():
                    continue
                yield Item(match, Path(match.name))
        else:
            yield Item(path, Path(path.name))


def new_folder(path: Path, option: str) -> None:
    """Raise UsageError unless that folder is new or empty."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(
            f"{option} {path} is there already and holds something. Expected a new or an empty folder, so that nothing "
            "is overwritten. Name another one."
        )


def new_table(path: Path, option: str, read: Iterable[Path]) -> None:
    """Raise UsageError for a table that would be written over a file that is `read`, a picture, a film or a model, and
    for one in a folder that is not there.

    Of `--csv photos/*` a shell makes the first photograph the table.
    """
    models = {kind.suffix for kind in KINDS.values()}
    same = os.path.exists(path) and any(os.path.exists(one) and path.samefile(one) for one in read)
    if same or path.suffix.lower() in pictures.SUFFIXES | FILMS | models:
        what = "is read, too" if same else "is called like a picture, a film or a model"
        raise UsageError(
            f"{option} {path} {what}. Expected the name of a table, so that nothing else is overwritten. Name one, as "
            f"in {option} faces.csv."
        )
    if not path.parent.is_dir():
        raise UsageError(f"{option} is {path}. Its folder was expected to be there. Make it, or name another.")


def _folder(folder: Path, found: Found, leave: Path | None) -> Iterator[Item | DataError]:
    none = True
    closed: list[OSError] = []
    seen = set() if leave is None else {leave.resolve()}
    for place, below, names in os.walk(folder, onerror=closed.append, followlinks=True):
        here = Path(place)
        if here.resolve() in seen:  # a link leads where a walk was already, or above where it is
            below.clear()
            continue
        seen.add(here.resolve())
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            path = here / name
            if pictures.is_named(path) or (path.suffix.lower() in FILMS and not name.startswith(".")):
                none = False
                yield Item(path, path.relative_to(folder))
            else:
                found.left_out += 1
                found.of_phones += pictures.is_of_phone(path)
    for error in closed:
        yield DataError(
            f"{error.filename} cannot be looked into: {error.strerror}. Expected a folder that this user may read. "
            "Correct its permissions."
        )
    if none and not closed:
        yield DataError(f"{folder} holds no picture. Expected some, in it or below it. Name another folder.")


def _listed(stdin: BinaryIO) -> Iterator[Path]:
    """Paths of a list: lines, or with null characters between them."""
    rest = b""
    while block := stdin.read1(65536) if hasattr(stdin, "read1") else stdin.read(65536):
        rest += block
        mark = b"\0" if b"\0" in rest else b"\n"
        *whole, rest = rest.split(mark)
        yield from (Path(os.fsdecode(name.rstrip(b"\r"))) for name in whole if name.strip())
    if rest.strip():
        yield Path(os.fsdecode(rest.rstrip(b"\r\n")))

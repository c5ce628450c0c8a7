"""The rows of AffectNet's tables, each a face in a photograph, and the faces themselves."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lc2fer import pictures
from lc2fer.data import names
from lc2fer.errors import DataError

SIDE = 128  # pixels of a face, at most
_BOX = ("face_x", "face_y", "face_width", "face_height")
COLUMNS = ("subDirectory_filePath", *_BOX, "expression")
_PLACES = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images", "Manually_Annotated", ".")
_NONE = ("8", "9", "10")


@dataclass(frozen=True)
class Row:
    """One face."""

    picture: Path
    box: tuple[int, int, int, int]  # left, top, right, bottom in pixels
    expression: str  # "0" to "7"


def read(root: Path, table: Path) -> Iterator[Row | None]:
    """The rows of a table; None for one without an expression. Raises DataError for what is no row of AffectNet's."""
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            yield from _rows(root, table, csv.DictReader(file))
        except csv.Error as error:
            raise DataError(
                f"{table} is no CSV ({error}). Expected a row a face, as AffectNet's. Copy the file again."
            ) from None


def _rows(root: Path, table: Path, found: csv.DictReader[str]) -> Iterator[Row | None]:
    if not set(COLUMNS) <= set(found.fieldnames or ()):
        raise DataError(f"{table} lacks columns of AffectNet's. Expected {', '.join(COLUMNS)}. Copy the file again.")
    for row in found:
        said = (row["expression"] or "").strip()
        if said in _NONE:
            yield None
            continue
        names.meaning(said, "affectnet", f"{table}, line {found.line_num}")
        try:
            x, y, width, height = (int(float(row[name])) for name in _BOX)
        except (TypeError, ValueError, OverflowError):
            width = height = 0
        if width < 1 or height < 1:
            raise DataError(
                f"{table}, line {found.line_num}: the face's box is {', '.join(str(row[name]) for name in _BOX)}. "
                "Expected left, top, width and height in pixels. Correct or remove the row."
            )
        name = row["subDirectory_filePath"] or ""
        places = (root / place / name for place in _PLACES)
        picture = next((place for place in places if place.is_file()), None)
        if picture is None or ".." in Path(name).parts or Path(name).is_absolute():
            raise DataError(
                f"{table}, line {found.line_num}: {name} is missing. Expected it in {root / _PLACES[0]}. Unpack "
                "AffectNet again, or remove the row."
            )
        yield Row(picture, (x, y, x + width, y + height), said)


def cut(row: Row, place: Path) -> None:
    """Write the face as PPM, of at most 128 pixels a side: the same bytes wherever the picture is decoded alike.

    Raises DataError for a picture that cannot be read and for one that the face's box lies beside.
    """
    from PIL import Image

    picture = pictures.read(row.picture).image
    left, top, right, bottom = row.box
    inside = max(left, 0), max(top, 0), min(right, picture.width), min(bottom, picture.height)
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        raise DataError(
            f"{row.picture} has {picture.width}x{picture.height} pixels, and the face's box in AffectNet's table lies "
            f"beside them, from {left}, {top} to {right}, {bottom}. Expected one in the picture. Correct or remove the "
            "row."
        )
    face = picture.crop(inside)
    factor = SIDE / max(face.size)
    if factor < 1:
        face = face.resize([max(1, round(side * factor)) for side in face.size], Image.Resampling.BILINEAR)
    place.write_bytes(pictures.encoded(face, "PPM"))

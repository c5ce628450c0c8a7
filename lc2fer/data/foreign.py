"""What people pass as a data set and no reader takes: what it is, and what to do with it."""

from __future__ import annotations

from pathlib import Path

from lc2fer.errors import DataError

_TABLES = (".parquet", ".arrow")


def refuse_boxes(root: Path) -> None:
    """Raise DataError for boxes as YOLO has them, in images/ and labels/ or train/images/ and train/labels/."""
    for place in (root, *(entry for entry in _in(root) if entry.is_dir())):
        labels = place / "labels"
        if not labels.is_dir() or not (place / "images").is_dir():
            continue
        if any(path.suffix.lower() == ".txt" for folder in (labels, *_in(labels)) for path in _in(folder)):
            raise DataError(
                f"{root} holds boxes for a detector, as YOLO's ({labels.relative_to(root)}/ has text files beside "
                "images/). Faces in a folder for each class were expected. Cut the boxes out, each into train/<class>/ "
                "or test/<class>/, or download the data set in its form for classification."
            )


def refuse_tables(root: Path) -> None:
    """Raise DataError for pictures in Parquet or Arrow files, as Hugging Face serves them."""
    for path in (inner for entry in _in(root) for inner in (entry, *_in(entry))):
        if path.suffix.lower() in _TABLES:
            raise DataError(
                f"{root} holds pictures in tables, as Hugging Face serves them ({path.relative_to(root)}). Pictures in "
                "a folder for each class were expected. Write each out into train/<class>/ or test/<class>/: "
                'row["image"].save(...) for each row of datasets.load_dataset(...).'
            )


def _in(place: Path) -> list[Path]:
    return sorted(place.iterdir()) if place.is_dir() else []

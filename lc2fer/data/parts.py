"""Where in a folder the parts of a data set are: train/, val/ and test/, by whatever names, or classes alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lc2fer.data.dataset import Litter
from lc2fer.errors import DataError

# What the folders of parts are called, in lower case.
PARTS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training", "train_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "val_set", "publictest"), "validation"),
    **dict.fromkeys(("test", "testing", "test_set", "privatetest"), "test"),
}


def place_of(root: Path) -> Path | None:
    """The folder with the parts, or with the classes where there are no parts; None where there is none."""
    for place in (root / "DATASET", root, *_only_folder(root)):
        if place.is_dir() and (parts_of(place) or _classes(place)):
            return place
    return None


def parts_of(place: Path) -> dict[str, Path]:
    """The folders of the parts in a folder: "train", "validation" and "test", those that are there.

    Raises DataError for two folders of one part.
    """
    found: dict[str, Path] = {}
    for entry in sorted(place.iterdir()):
        part = PARTS.get(entry.name.lower())
        if part is None or not entry.is_dir():
            continue
        if part in found:
            raise DataError(
                f"{place} has {found[part].name}/ and {entry.name}/, which are both its {part} part. Expected one "
                "folder for each part. Put their pictures into one, or move one away."
            )
        found[part] = entry
    return found


def _classes(place: Path) -> bool:
    """Whether the folders in it hold pictures: two or more, which are classes."""
    folders = Litter().folders(place)
    return len(folders) > 1 and all(Litter().pictures(folder) for folder in folders)


def without_pictures(root: Path) -> list[Path]:
    """The folders without pictures beside others that have some: what keeps these from being classes."""
    for place in (root / "DATASET", root, *_only_folder(root)):
        folders = Litter().folders(place) if place.is_dir() else []
        if empty := [folder for folder in folders if not Litter().pictures(folder)]:
            return empty if len(empty) < len(folders) else []
    return []


def _only_folder(root: Path) -> list[Path]:
    folders = Litter().folders(root) if root.is_dir() else []
    return folders if len(folders) == 1 else []

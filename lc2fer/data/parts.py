"""Where in a folder the parts of a data set are: train/, val/ and test/, by whatever names, or classes alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lc2fer.data.dataset import Litter

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
    """The folders of the parts in a folder: "train", "validation" and "test", those that are there."""
    found = [entry for entry in sorted(place.iterdir()) if entry.is_dir() and entry.name.lower() in PARTS]
    return {PARTS[entry.name.lower()]: entry for entry in found}


def _classes(place: Path) -> bool:
    """Whether the folders in it hold pictures: two or more, which are classes."""
    folders = Litter().folders(place)
    return len(folders) > 1 and all(Litter().pictures(folder) for folder in folders)


def _only_folder(root: Path) -> list[Path]:
    folders = Litter().folders(root) if root.is_dir() else []
    return folders if len(folders) == 1 else []

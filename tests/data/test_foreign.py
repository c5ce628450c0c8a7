"""Folders that people have and no reader takes: each is called what it is."""

from __future__ import annotations

from pathlib import Path

import layouts
import pytest

from lc2fer.data import open_dataset
from lc2fer.errors import DataError


def refused(root: Path) -> str:
    with pytest.raises(DataError) as error:
        open_dataset(root)
    return str(error.value)


@pytest.mark.parametrize("order", ["train/{}", "{}/train", "{}"])
def test_boxes_of_a_detector(tmp_path: Path, order: str) -> None:
    for kind in ("images", "labels"):
        (tmp_path / order.format(kind)).mkdir(parents=True)
    (tmp_path / order.format("labels") / "1.txt").write_text("4 0.5 0.5 1.0 1.0\n")
    (tmp_path / order.format("images") / "1.png").write_bytes(layouts.face(0, 0).tobytes())
    said = refused(tmp_path)
    labels = order.format("labels").removesuffix("/train")
    assert said.startswith(f"{tmp_path} holds boxes for a detector, as YOLO's ({labels}/ has text files beside images/")
    assert said.endswith(
        "Faces in a folder for each class were expected. Cut the boxes out, each into train/<class>/ or test/<class>/, "
        "or download the data set in its form for classification."
    )


def test_classes_that_are_called_so_are_classes(tmp_path: Path) -> None:
    root = layouts.folders(tmp_path / "faces", ("images", "labels"), {"train": 4, "test": 1})
    assert open_dataset(root).labels == ("images", "labels")


@pytest.mark.parametrize("name", ["train-00000-of-00001.parquet", "data/train.arrow"])
def test_tables_of_pictures(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"PAR1")
    assert refused(tmp_path) == (
        f"{tmp_path} holds pictures in tables, as Hugging Face serves them ({name}). Pictures in a folder for each "
        'class were expected. Write each out into train/<class>/ or test/<class>/: row["image"].save(...) for each '
        "row of datasets.load_dataset(...)."
    )


def test_the_folder_above_a_data_set(tmp_path: Path, noise_faces: Path) -> None:
    (tmp_path / "RAF-DB").mkdir()
    (tmp_path / "RAF-DB" / "basic").symlink_to(noise_faces)
    inner = tmp_path / "RAF-DB" / "basic"
    for above, expected in ((tmp_path, tmp_path / "RAF-DB" / "basic"), (inner.parent, inner)):
        assert refused(above) == (
            f"{above} is no data set itself; {expected} is one. The folder of one was expected. Pass {expected}."
        )
    layouts.fer2013(tmp_path / "fer", {"Training": 1})
    assert refused(tmp_path).startswith(
        f"{tmp_path} is no data set itself; {tmp_path / 'fer'} is one, and so is another in it."
    )


def test_pictures_without_folders(tmp_path: Path) -> None:
    layouts.folders(tmp_path, ("",), {"": 3})
    assert refused(tmp_path).startswith(
        f"{tmp_path} holds no data set that is known: 3 pictures lie in it, in no folder of a class. Expected RAF-DB"
    )


def test_folders_that_are_no_expressions_are_told(tmp_path: Path) -> None:
    people = [f"AF{number:02d}" for number in range(6)]
    found = open_dataset(layouts.folders(tmp_path / "kdef", people, {"train": 2, "test": 1}))
    assert found.notes == (
        f"No class of {found.root} is an expression that is known: each folder is a class of its own (AF00, AF01, "
        "AF02, AF03, ...).",
    )
    own = layouts.folders(tmp_path / "own", ("bored", "happy"), {"train": 2, "test": 1})
    assert open_dataset(own).notes == ()

"""RAF-DB's two layouts, and every way in which a folder is not one of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lc2fer.data import rafdb
from lc2fer.errors import DataError

Writer = Callable[..., Path]


@pytest.fixture
def official(write_faces: Writer, tmp_path: Path) -> Path:
    return write_faces(tmp_path / "rafdb", train=2, test=1, side=8)


@pytest.fixture
def folders(write_faces: Writer, tmp_path: Path) -> Path:
    return write_faces(tmp_path / "rafdb", train=2, test=1, side=8, layout="folders")


def listing(root: Path) -> Path:
    return root / "EmoLabel" / "list_patition_label.txt"


def refusal(root: Path, images: str = "aligned") -> str:
    with pytest.raises(DataError) as refused:
        rafdb.load(root, images)
    return str(refused.value)


def test_the_official_layout(official: Path) -> None:
    found = rafdb.load(official)
    assert (found.root, found.layout) == (official, "official")
    assert [sample.label for sample in found.train] == [*range(7), *range(7)]
    assert [sample.label for sample in found.test] == list(range(7))
    assert found.train[8].path == official / "Image" / "aligned" / "train_00009_aligned.png"
    assert all(sample.path.is_file() for sample in found.train + found.test)


def test_original_images_have_no_suffix(official: Path) -> None:
    original = official / "Image" / "original"
    original.mkdir()
    for path in (official / "Image" / "aligned").iterdir():
        shutil.copy(path, original / path.name.replace("_aligned", ""))
    assert rafdb.load(official, "original").test[0].path == original / "test_00001.png"


@pytest.mark.parametrize("inner", ["DATASET", ""])
def test_the_folder_layout(folders: Path, inner: str) -> None:
    found = rafdb.load(folders / inner)
    assert found.layout == "folders"
    assert [sample.label for sample in found.train] == [label for label in range(7) for _ in range(2)]
    assert found.test[6].path == folders / "DATASET" / "test" / "7" / "test_00007.png"


def test_files_that_are_no_pictures_are_left_out_of_a_class_folder(folders: Path) -> None:
    (folders / "DATASET" / "train" / "1" / "Thumbs.db").write_bytes(b"")
    (folders / "DATASET" / "train_labels.csv").write_text("image,label\n")
    (folders / "DATASET" / "train" / "1" / "extra.JPG").write_bytes(b"")
    assert len(rafdb.load(folders).train) == 15


def test_a_blank_line_and_windows_line_ends_are_no_entries(official: Path) -> None:
    listing(official).write_bytes(listing(official).read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert len(rafdb.load(official).train) == 14


def test_no_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == (
        f"{tmp_path / 'none'} is not a folder. Expected RAF-DB, or pictures laid out like it. Pass its folder as "
        "--data, or --data synthetic for procedural faces."
    )


def test_another_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        f"{tmp_path} holds neither EmoLabel/list_patition_label.txt nor train/1..7. Expected RAF-DB's official layout "
        "or its folder layout. Pass the folder that contains EmoLabel/ and Image/, or DATASET/."
    )


@pytest.mark.parametrize("images", ["aligned", "original"])
def test_no_images(official: Path, images: str) -> None:
    shutil.rmtree(official / "Image")
    assert refusal(official, images) == (
        f"{official / 'Image' / images} is missing. EmoLabel/list_patition_label.txt is there, so the {images} images "
        f"were expected beside it. Unpack RAF-DB's {images}.zip there."
    )


def test_a_missing_picture_is_named_with_its_line(official: Path) -> None:
    picture = official / "Image" / "aligned" / "train_00003_aligned.png"
    picture.unlink()
    assert refusal(official) == (
        f"{picture} is missing. list_patition_label.txt, line 3, names it. Unpack the images again, or remove the line."
    )


@pytest.mark.parametrize("label", ["0", "8", "-1", "happy", "1.0", "٣"])
def test_a_label_outside_1_to_7(official: Path, label: str) -> None:
    lines = listing(official).read_text().splitlines()
    lines[4] = f"train_00005.png {label}"
    listing(official).write_text("\n".join(lines), encoding="utf-8")
    assert refusal(official) == (
        f"{listing(official)}, line 5: the label is {label!r}. Expected 1 (surprise) to 7 (neutral), RAF-DB's basic "
        "emotions. Correct or remove it."
    )


@pytest.mark.parametrize(
    "line", ["train_00001.png", "train_00001.png 1 2", "val_00001.png 1", "train_x/../../secret.png 1", "1 train_1.png"]
)
def test_a_line_that_is_no_entry(official: Path, line: str) -> None:
    listing(official).write_text(listing(official).read_text() + line + "\n")
    assert refusal(official) == (
        f'{listing(official)}, line 22: {line!r} is not an entry. Expected "train_00001.jpg 5" or "test_0001.jpg 5". '
        "Correct the line."
    )


def test_a_listing_that_is_not_text(official: Path) -> None:
    listing(official).write_bytes(b"\xff\xfe\x00")
    assert refusal(official) == (
        f'{listing(official)} is not text. Expected lines such as "train_00001.jpg 5". Copy it again.'
    )


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_class(official: Path, split: str) -> None:
    lines = listing(official).read_text().splitlines()
    kept = [line for line in lines if not (line.startswith(split) and line.endswith(" 3"))]
    listing(official).write_text("\n".join(kept))
    assert refusal(official) == (
        f"{official} has no {split} image of class 3 (disgust). Expected at least one of each class 1..7. "
        "Complete the data set."
    )


def test_an_empty_listing(official: Path) -> None:
    listing(official).write_text("")
    assert refusal(official).startswith(f"{official} has no train image of class 1 (surprise).")


def test_a_folder_that_is_no_class(folders: Path) -> None:
    (folders / "DATASET" / "train" / "8").mkdir()
    assert refusal(folders).startswith(f"{folders / 'DATASET' / 'train' / '8'}: the label is '8'. Expected 1 (surprise")


def test_no_test_folder(folders: Path) -> None:
    shutil.rmtree(folders / "DATASET" / "test")
    assert refusal(folders) == (
        f"{folders / 'DATASET' / 'test'} is missing. The folder layout has train/1..7 and test/1..7. Unpack it again."
    )


def test_an_empty_class_folder(folders: Path) -> None:
    for path in (folders / "DATASET" / "test" / "2").iterdir():
        path.unlink()
    assert refusal(folders).startswith(f"{folders} has no test image of class 2 (fear).")

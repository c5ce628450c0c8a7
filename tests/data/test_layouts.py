"""Data sets as people have them: each form is detected, its classes are named, and what is left out is counted."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import layouts
import pytest
from PIL import Image

from lc2fer.data import names, open_dataset
from lc2fer.data.split import divide
from lc2fer.errors import DataError, UsageError
from lc2fer.inputs import LABELS
from lc2fer.reading import NUMBERINGS, Reading

Writer = Callable[..., Path]
EIGHT = (*LABELS, "contempt")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refused(path: Path, **reading: Any) -> str:
    with pytest.raises((DataError, UsageError)) as error:
        open_dataset(path, reading=Reading(**reading))
    return str(error.value)


def counted(samples: Any) -> list[int]:
    counts = Counter(sample.label for sample in samples)
    return [counts[label] for label in range(max(counts) + 1)]


# -- folders with names ------------------------------------------------------------------------------------------------


def test_fer2013s_folders_are_the_seven_in_raf_dbs_order(tmp_path: Path) -> None:
    called = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    found = open_dataset(layouts.folders(tmp_path / "fer", called, {"train": 3, "test": 2}))
    assert (found.layout, found.labels, found.notes) == ("folders", LABELS, ())
    assert (counted(found.train), counted(found.test)) == ([3] * 7, [2] * 7)
    angry = next(sample for sample in found.train if sample.path.parent.name == "angry")
    assert found.labels[angry.label] == "anger"


def test_classes_of_ones_own_follow_those_that_are_known(tmp_path: Path) -> None:
    called = ("tired", "Bored", "happy", "neutral", "engaged")
    found = open_dataset(layouts.folders(tmp_path / "own", called, {"Train": 3, "Test": 1}))
    assert found.labels == ("happiness", "neutral", "Bored", "engaged", "tired")


def test_synonyms_are_one_class_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    root = layouts.folders(tmp_path / "own", ("joy", "happy", "3_Happiness", "anger"), {"train": 3, "test": 1})
    assert open_dataset(root).labels == ("happiness", "anger")
    assert counted(open_dataset(root).train) == [9, 3]
    own = open_dataset(root, reading=Reading(synonyms=("joy=joy", "anger=rage")))
    assert (own.labels, counted(own.train)) == (("happiness", "joy", "rage"), [6, 3, 3])
    less = open_dataset(root, reading=Reading(synonyms=("happiness=",)))
    assert less.labels == ("anger",)
    assert less.notes == ("Left out, as --synonyms says: the folders 3_Happiness, happy, joy.",)


def test_a_synonym_that_matches_nothing_is_told(tmp_path: Path) -> None:
    root = layouts.folders(tmp_path / "own", ("happy", "sad"), {"train": 3, "test": 1})
    found = open_dataset(root, reading=Reading(synonyms=("hapy=joy", "SAD=blue"), labels_from="0"))
    assert found.labels == ("happiness", "blue")
    assert found.notes == (
        f"--labels-from 0 has no effect: the classes of {root} are names.",
        f"--synonyms hapy=joy matches no class of {root}, which has happy, sad.",
    )
    fer = layouts.fer2013(tmp_path / "fer", {"Training": 3, "PrivateTest": 1})
    assert open_dataset(fer, reading=Reading(synonyms=("contempt=",), labels_from="0")).notes == (
        f"--synonyms contempt= matches no class of {fer / 'fer2013.csv'}, which has anger, disgust, fear, happiness, "
        "neutral, sadness, surprise.",
        f"--labels-from 0 has no effect: {fer / 'fer2013.csv'} has a numbering of its own.",
    )


def test_folders_that_a_mac_wrote_have_the_names_that_are_typed(tmp_path: Path) -> None:
    """Its names are decomposed, u and two dots."""
    root = layouts.folders(tmp_path / "own", ("w\u00fctend", "happy"), {"train": 3, "test": 1})
    (root / "test" / "w\u00fctend").rename(root / "test" / "wu\u0308tend")
    assert open_dataset(root).labels == ("happiness", "w\u00fctend")
    for typed in ("w\u00fctend", "wu\u0308tend"):
        found = open_dataset(root, reading=Reading(synonyms=(f"{typed}=anger",)))
        assert (found.labels, found.notes) == (("happiness", "anger"), ())


@pytest.mark.parametrize("entry", ["happy", "=joy", ""])
def test_a_synonym_that_is_none(tmp_path: Path, entry: str) -> None:
    root = layouts.folders(tmp_path / "own", ("happy", "sad"), {"train": 2, "test": 1})
    assert refused(root, synonyms=(entry,)) == (
        f"--synonyms has {entry!r}. Expected NAME=CLASS, or NAME= to leave that class out. Write for example happy=joy."
    )


@pytest.mark.parametrize("part", ["val", "valid", "Validation", "PublicTest"])
def test_a_part_to_validate_on_is_d_v(tmp_path: Path, part: str) -> None:
    root = layouts.folders(tmp_path / "own", ("happy", "sad"), {"train": 4, part: 2, "test": 1})
    found = open_dataset(root)
    assert found.notes == (f"{part}/ is D^v: 4 images.",)
    split = divide(found)
    assert (split.fit, split.validation) == (found.train, found.validation)
    assert (len(found.train), len(found.test)) == (8, 2)


def test_without_a_test_part_one_is_split_off_by_the_hashes(tmp_path: Path) -> None:
    root = layouts.folders(tmp_path / "own", ("happy", "sad"), {"train": 10})
    found = open_dataset(root)
    assert (counted(found.train), counted(found.test)) == ([8, 8], [2, 2])
    assert found.notes == (
        f"{root} has no test part. 20% of each class were split off by their files' hashes as D^e: 4 images.",
    )
    assert not {sample.path for sample in found.train} & {sample.path for sample in found.test}
    flat = open_dataset(Path(shutil.copytree(root / "train", tmp_path / "flat")))
    assert [sample.path.name for sample in flat.test] == [sample.path.name for sample in found.test]


def test_the_folder_inside_the_only_folder_is_found(tmp_path: Path) -> None:
    layouts.folders(tmp_path / "zip" / "inside", ("happy", "sad"), {"train": 3, "test": 1})
    assert open_dataset(tmp_path / "zip").labels == ("happiness", "sadness")


def test_a_class_without_test_images(tmp_path: Path) -> None:
    root = layouts.folders(tmp_path / "own", ("happy", "bored"), {"train": 3, "test": 1})
    shutil.rmtree(root / "test" / "bored")
    assert refused(root) == (
        f"{root} has no test image of class bored. Expected at least one of each class: happiness, bored. Complete the "
        "data set, or leave the class out with --synonyms bored=."
    )


def test_a_header_without_rows_and_classes_that_are_all_left_out(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n")
    said = (
        "holds no picture of any class. Expected pictures of two classes at least. Complete the data set; if "
        "--synonyms leaves classes out, leave out fewer."
    )
    assert refused(tmp_path) == f"{tmp_path / 'fer2013.csv'} {said}"
    root = layouts.folders(tmp_path / "own", ("happy", "sad"), {"train": 3, "test": 1})
    assert refused(root, synonyms=("happiness=", "sad=")) == f"{root} {said}"


def test_a_class_whose_pictures_lie_deeper_or_are_of_another_kind(tmp_path: Path) -> None:
    root = layouts.folders(tmp_path / "own", ("happy", "bored"), {"train": 3, "test": 1})
    shutil.move(root / "train" / "bored", root / "subject1")
    (root / "train" / "bored").mkdir()
    shutil.move(root / "subject1", root / "train" / "bored" / "subject1")
    (root / "train" / "bored" / "a.gif").touch()
    assert refused(root) == (
        f"{root} has no train image of class bored ({root / 'train' / 'bored'} holds 1 .gif, 1 folders). Expected at "
        "least one of each class: happiness, bored. Put its pictures into that folder itself, as JPEG or PNG, or leave "
        "the class out with --synonyms bored=."
    )


def test_class_folders_alone_of_which_one_is_empty(tmp_path: Path) -> None:
    root = layouts.folders(tmp_path / "own", ("happy", "sad"), {"": 3})
    (root / "angry").mkdir()
    assert refused(root).startswith(
        f"{root} holds no data set that is known: no picture lies in {root / 'angry'}, beside folders with pictures. "
        "Expected RAF-DB "
    )


def test_no_training_part(tmp_path: Path) -> None:
    root = layouts.folders(tmp_path / "own", ("happy", "sad"), {"test": 1})
    assert refused(root) == f"{root} has test/ and no train/. Expected images to train on. Complete the data set."


@pytest.mark.parametrize(
    ("first", "second", "part"),
    [("Training", "train", "train"), ("PrivateTest", "test", "test"), ("val", "valid", "validation")],
)
def test_two_folders_for_one_part(tmp_path: Path, first: str, second: str, part: str) -> None:
    counts = {"train": 2, "test": 1, first: 2, second: 2}
    root = layouts.folders(tmp_path / "own", ("happy", "sad"), counts)
    assert refused(root) == (
        f"{root} has {first}/ and {second}/, which are both its {part} part. Expected one folder for each part. Put "
        "their pictures into one, or move one away."
    )


# -- folders with numbers ----------------------------------------------------------------------------------------------


def test_numbers_from_1_are_raf_dbs(tmp_path: Path) -> None:
    found = open_dataset(layouts.folders(tmp_path / "raf", "1234567", {"train": 2, "valid": 1, "test": 1}))
    assert (found.labels, found.notes) == (LABELS, ("valid/ is D^v: 7 images.",))


def test_numbers_from_0_are_asked_for(tmp_path: Path) -> None:
    root = layouts.folders(tmp_path / "raf", "0123456", {"train": 2, "test": 1})
    assert refused(root) == (
        f"{root}: the labels are 0, 1, 2, 3, 4, 5, 6. Expected 1 (surprise) to 7 (neutral), RAF-DB's basic emotions, "
        "or to be told whose these are. Pass --labels-from 0 for RAF-DB's order counted from 0, or --labels-from "
        "fer2013 or affectnet for theirs."
    )
    first = {
        scheme: found.labels[next(sample.label for sample in found.train if sample.path.parent.name == "0")]
        for scheme in ("0", "fer2013", "affectnet")
        for found in [open_dataset(root, reading=Reading(labels_from=scheme))]
    }
    assert first == {"0": "surprise", "fer2013": "anger", "affectnet": "neutral"}


def test_eight_numbers_are_affectnets(tmp_path: Path) -> None:
    root = layouts.folders(tmp_path / "affectnet", "01234567", {"train": 2, "val": 1, "test": 1})
    found = open_dataset(root)
    assert found.labels == EIGHT
    assert found.notes == (
        "The numbers are read as AffectNet's: 0 neutral, 1 happiness, 2 sadness, 3 surprise, 4 fear, 5 disgust, 6 "
        "anger, 7 contempt. --labels-from ferplus reads them as FER+'s.",
        "val/ is D^v: 8 images.",
    )
    seven = open_dataset(root, reading=Reading(synonyms=("contempt=",)))
    assert seven.labels == LABELS
    assert seven.notes[0] == "Left out, as --synonyms says: the folders 7."
    other = open_dataset(root, reading=Reading(labels_from="ferplus"))
    assert [other.labels[one.label] for one in other.train if one.path.parent.name == "2"] == ["surprise"] * 2


def test_a_number_without_a_meaning(tmp_path: Path) -> None:
    root = layouts.folders(tmp_path / "raf", "12345678", {"train": 1, "test": 1})
    assert refused(root).startswith(f"{root / 'train' / '8'}: the label is '8'. Expected 1 (surprise) to 7 (neutral), ")


def test_the_numberings_are_the_flags() -> None:
    assert tuple(names.NUMBERS) == NUMBERINGS
    assert set(names.SYNONYMS) == set(EIGHT)


# -- RAF-DB's official layout, as it goes round ------------------------------------------------------------------------


@pytest.fixture
def official(write_faces: Writer, tmp_path: Path) -> Path:
    return write_faces(tmp_path / "rafdb", train=2, test=1, side=8)


@pytest.mark.parametrize("how", ["mark", "third", "tabs", "spelling", "blank"])
def test_variants_of_raf_dbs_list(official: Path, how: str) -> None:
    plain = open_dataset(official)
    path = official / "EmoLabel" / "list_patition_label.txt"
    text = path.read_text()
    if how == "spelling":
        path.rename(path.with_name("list_partition_label.txt"))
    elif how == "mark":
        path.write_text("\ufeff" + text, encoding="utf-8")
    else:
        path.write_text(
            {"third": text.replace("\n", " 1\n"), "tabs": text.replace(" ", "\t"), "blank": "\n" + text}[how]
        )
    assert open_dataset(official) == plain


def test_raf_dbs_list_counted_from_0(official: Path) -> None:
    plain = open_dataset(official)
    path = official / "EmoLabel" / "list_patition_label.txt"
    lines = [line.split() for line in path.read_text().splitlines()]
    path.write_text("".join(f"{name} {int(label) - 1}\n" for name, label in lines))
    assert refused(official).startswith(f"{path}: the labels are 0, 1, 2, 3, 4, 5, 6. Expected 1 (surprise) to 7 ")
    assert open_dataset(official, reading=Reading(labels_from="0")) == plain
    assert refused(official, labels_from="affectnet") == (
        f"--labels-from affectnet was given for {official}, RAF-DB's official layout. Expected 1, its own numbers, or "
        "0 for the same counted from 0. Correct --labels-from."
    )


def test_pictures_that_the_list_does_not_name(official: Path) -> None:
    shutil.copy(official / "Image" / "aligned" / "test_00001_aligned.png", official / "Image" / "aligned" / "more.png")
    assert open_dataset(official).notes == (
        f"Left out: 1 files of {official / 'Image' / 'aligned'} that list_patition_label.txt does not name.",
    )


# -- what is read, what is left out, what is no data set ---------------------------------------------------------------


def test_pictures_by_any_ending(tmp_path: Path) -> None:
    root = layouts.folders(tmp_path / "own", ("happy", "sad"), {"train": 2, "test": 1})
    for place, (suffix, kind) in enumerate({".webp": "WEBP", ".jfif": "JPEG", ".bmp": "BMP", ".tif": "TIFF"}.items()):
        Image.fromarray(layouts.face(0, 100 + place)).save(root / "train" / "happy" / f"more{suffix}", kind)
    assert counted(open_dataset(root).train) == [6, 2]
    assert open_dataset(root).notes == ()


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    root = layouts.folders(tmp_path / "own", ("happy", "sad"), {"train": 2, "test": 1})
    (root / "train" / "happy" / "._0001.png").write_bytes(b"\0\5\26\7")
    for name in (".ipynb_checkpoints", "happy/.ipynb_checkpoints", "happy/more"):
        (root / "train" / name).mkdir()
    for name in ("train/happy/Thumbs.db", "train/sad/.DS_Store", "train/sad/list.txt", "train/sad/notes.txt"):
        (root / name).write_bytes(b"")
    found = open_dataset(root)
    assert counted(found.train) == [2, 2]
    assert found.notes == (
        "Left out: 5 hidden files or folders (.DS_Store, ._0001.png, .ipynb_checkpoints, ...) and 3 files or folders "
        "that are no pictures (2 .txt, 1 folders).",
    )


def test_a_folder_that_is_no_data_set(tmp_path: Path) -> None:
    assert refused(tmp_path) == (
        f"{tmp_path} holds no data set that is known. Expected RAF-DB (EmoLabel/ and Image/), FER2013 (fer2013.csv), "
        "AffectNet (train_set/ and val_set/, or training.csv), or train/<class>/ and test/<class>/ with pictures. Pass "
        "the folder that contains them."
    )
    with zipfile.ZipFile(tmp_path / "faces.zip", "w"):
        pass
    assert refused(tmp_path / "faces.zip") == (
        f"{tmp_path / 'faces.zip'} is a file. Expected a folder of pictures, or fer2013.csv. Unpack it and pass its "
        "folder."
    )
    assert refused(tmp_path / "none").startswith(f"{tmp_path / 'none'} is not a folder. ")


@pytest.mark.parametrize("name", [b"ha\xffppy", b"ha\nppy"])
def test_a_class_whose_name_no_model_can_carry(name: bytes, tmp_path: Path) -> None:
    odd = os.fsdecode(name)
    root = layouts.folders(tmp_path / "faces", (odd, "sad"), {"train": 2, "test": 1})
    assert refused(root) == (
        f"{root} has the class {odd!r}. A name in UTF-8 without control characters was expected, for models carry it. "
        "Rename its folder, or name it with --synonyms."
    )
    found = open_dataset(root, reading=Reading(synonyms=(f"{odd}=happy",)))
    assert set(found.labels) == {"happy", "sadness"}


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.folders(tmp_path / "faces", ("happy", "sad"), {"train": 2, "test": 1})
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_dataset("~/faces").root == tmp_path / "faces"
    assert refused(Path("~nobody-of-that-name/faces")).startswith("~nobody-of-that-name/faces is not a folder. ")

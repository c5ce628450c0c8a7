"""AffectNet in its two forms: faces with annotations, and photographs with tables."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pytest
from PIL import Image

from lc2fer.data import affectnet, open_dataset
from lc2fer.errors import DataError
from lc2fer.inputs import LABELS
from lc2fer.reading import Reading

EIGHT = (*LABELS, "contempt")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path / "cache"))


def refused(path: Path) -> str:
    with pytest.raises(DataError) as error:
        open_dataset(path)
    return str(error.value)


def counted(samples: Any) -> list[int]:
    """How many there are of each class."""
    counts = Counter(sample.label for sample in samples)
    return [counts[label] for label in range(len(counts))]


def test_affectnets_annotations(tmp_path: Path) -> None:
    root = layouts.affectnet(tmp_path / "affectnet", {"train_set": 5, "val_set": 1})
    found = open_dataset(root)
    assert (found.layout, found.labels) == ("affectnet", EIGHT)
    assert (counted(found.train), counted(found.test), counted(found.validation)) == ([4] * 8, [1] * 8, [1] * 8)
    assert found.notes == (
        "AffectNet has no test part. 20% of each class of train_set were split off by their files' hashes as D^e: "
        "8 images.",
        "val_set is D^v: 8 images.",
    )
    assert affectnet.load(root, ("contempt=",)).labels == LABELS
    (root / "train_set" / "annotations" / "3_exp.npy").unlink()
    assert refused(root) == (
        f"{root / 'train_set' / 'annotations' / '3_exp.npy'} is missing. Expected an annotation for each picture of "
        "images/. Unpack AffectNet again."
    )
    np.save(root / "train_set" / "annotations" / "3_exp.npy", np.array("8"))
    assert refused(root).startswith(
        f"{root / 'train_set' / 'annotations' / '3_exp.npy'}: the label is '8'. Expected 0 (neutral) to 7 (contempt), "
    )


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"\x93NUMPY\x01\x00"])
def test_an_annotation_that_is_none(tmp_path: Path, content: bytes) -> None:
    root = layouts.affectnet(tmp_path / "affectnet", {"train_set": 1})
    place = root / "train_set" / "annotations" / "3_exp.npy"
    place.write_bytes(content)
    assert refused(root).startswith(f"{place}: the label is 'unreadable'. Expected 0 (neutral) to 7 (contempt), ")
    with place.open("wb") as file:
        np.savez(file, label=np.array("3"))
    assert refused(root).startswith(f"{place}: the label is 'unreadable'. ")


def test_affectnets_tables(tmp_path: Path) -> None:
    root = layouts.affectnet_tables(tmp_path / "affectnet", {"training": 5, "validation": 1})
    found = open_dataset(root)
    assert (found.layout, found.labels, found.place) == ("affectnet", EIGHT, root)
    assert (counted(found.train), counted(found.test), counted(found.validation)) == ([4] * 8, [1] * 8, [1] * 8)
    assert found.notes == (
        "AffectNet has no test part. 20% of each class of training.csv were split off by their faces' hashes as D^e: "
        "8 images.",
        "validation.csv is D^v: 8 images.",
        "Left out: 6 rows without an expression (none, uncertain, no face).",
    )
    for sample in (*found.train, *found.test):  # the face alone, not the photograph around it
        number = int(sample.path.stem.split("_")[1]) - 1
        face = layouts.face(number % 8, number + 1000 * len("training"))
        np.testing.assert_array_equal(np.asarray(Image.open(sample.path)), face)
    seven = open_dataset(root, reading=Reading(synonyms=("contempt=",)))
    assert seven.labels == LABELS
    assert seven.notes[-1] == "Left out, as --synonyms says: 6 images."


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            "0/0.png,8,8,32,32,,7.5,0,0",
            "line 2: the label is '7.5'. Expected 0 (neutral) to 7 (contempt), the numbers of",
        ),
        (
            "0/0.png,8,8,NULL,32,,1,0,0",
            "line 2: the face's box is 8, 8, NULL, 32. Expected left, top, width and height",
        ),
        ("0/0.png,8,8,0,32,,1,0,0", "line 2: the face's box is 8, 8, 0, 32. Expected left, top, width and height"),
        ("0/none.png,8,8,32,32,,1,0,0", "line 2: 0/none.png is missing. Expected it in "),
        ("../training.csv,8,8,32,32,,1,0,0", "line 2: ../training.csv is missing. Expected it in "),
    ],
)
def test_a_row_of_affectnets_that_is_none(tmp_path: Path, row: str, text: str) -> None:
    root = layouts.affectnet_tables(tmp_path / "affectnet", {"training": 1})
    table = root / "training.csv"
    header = table.read_text().splitlines()[0]
    table.write_text(f"{header}\n{row}\n")
    assert refused(root).startswith(f"{table}, {text}")
    table.write_text("subDirectory_filePath,expression\n")
    assert refused(root) == (
        f"{table} lacks columns of AffectNet's. Expected subDirectory_filePath, face_x, face_y, face_width, "
        "face_height, expression. Copy the file again."
    )


def test_a_box_beside_the_photograph_names_the_photograph(tmp_path: Path) -> None:
    root = layouts.affectnet_tables(tmp_path / "affectnet", {"training": 1})
    table, picture = root / "training.csv", root / "Manually_Annotated_Images" / "training" / "0.png"
    header = table.read_text().splitlines()[0]
    for box, corners in (("64,0,9,9", "64, 0 to 73, 9"), ("-9,-9,9,9", "-9, -9 to 0, 0")):
        table.write_text(f"{header}\ntraining/0.png,{box},,1,0,0\n")
        assert refused(root) == (
            f"{picture} has 64x48 pixels, and the face's box in AffectNet's table lies beside them, from "
            f"{corners}. Expected one in the picture. Correct or remove the row."
        )


def test_a_table_that_was_cut_short_within_quotes(tmp_path: Path) -> None:
    root = layouts.affectnet_tables(tmp_path / "affectnet", {"training": 1})
    table = root / "training.csv"
    header = table.read_text().splitlines()[0]
    table.write_text(f'{header}\n"0/0.png,{"1," * 100_000}\n')
    assert refused(root) == (
        f"{table} is no CSV (field larger than field limit (131072)). Expected a row a face, as AffectNet's. Copy the "
        "file again."
    )

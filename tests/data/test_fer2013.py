"""FER2013's table, with and without FER+'s votes beside it: its rows become pictures once, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import layouts
import numpy as np
import pytest
from PIL import Image

from lc2fer.data import open_dataset
from lc2fer.data.split import divide
from lc2fer.errors import DataError
from lc2fer.inputs import LABELS
from lc2fer.reading import Reading

EIGHT = (*LABELS, "contempt")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refused(path: Path) -> str:
    with pytest.raises(DataError) as error:
        open_dataset(path)
    return str(error.value)


@pytest.mark.parametrize("header", ["emotion,pixels,Usage", "emotion, Usage, pixels"])
def test_fer2013s_table(tmp_path: Path, cache: Path, header: str) -> None:
    root = layouts.fer2013(tmp_path / "fer", {"Training": 2, "PublicTest": 1, "PrivateTest": 1}, header=header)
    found = open_dataset(root)
    assert (found.layout, found.labels, found.notes) == ("fer2013", LABELS, ("PublicTest is D^v: 7 images.",))
    assert [found.labels[sample.label] for sample in found.train[:7]] == [
        *("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"),
    ]
    assert (len(found.train), len(found.validation), len(found.test)) == (14, 7, 7)
    with Image.open(found.train[0].path) as image:
        np.testing.assert_array_equal(np.asarray(image), layouts.face(0, 1, 48)[..., 0])
    assert found.root.parent == cache
    assert open_dataset(root / "fer2013.csv") == found
    assert divide(found).validation == found.validation


def test_ferplus_beside_it_gives_labels_and_votes(tmp_path: Path) -> None:
    root = layouts.fer2013(tmp_path / "fer", {"Training": 4, "PublicTest": 1, "PrivateTest": 2})
    rows = np.zeros((49, 10), np.int64)
    for number in range(49):
        rows[number, number % 7] = 7
        rows[number, 7] = 3  # contempt
    rows[0] = [5, 5, 0, 0, 0, 0, 0, 0, 0, 0]  # a tie
    rows[1] = [0, 4, 0, 0, 0, 0, 0, 0, 6, 0]  # unknown
    for place in (2, 3, 30, 37):
        rows[place] = [0, 0, 0, 0, 0, 0, 0, 10, 0, 0]
    layouts.votes(root, rows)
    found = open_dataset(root)
    assert found.labels == EIGHT
    assert found.notes[0] == "Left out: 2 of 49 rows (unknown, no face, a tie)."
    assert found.shares is not None
    assert [sample.path.name for sample in found.undecided] == ["training_00001.pgm"]  # of four votes none is
    assert found.shares[found.undecided[0].path] == pytest.approx((0, 0, 0, 0.5, 0, 0, 0.5, 0))
    happy = next(sample for sample in found.train if found.labels[sample.label] == "happiness")
    assert found.shares[happy.path] == pytest.approx((0, 0, 0, 0.7, 0, 0, 0, 0.3))
    seven = open_dataset(root, reading=Reading(synonyms=("contempt=",)))
    assert seven.labels == LABELS
    assert seven.notes[0] == "Left out: 6 of 49 rows (unknown, no face, a tie, as --synonyms says)."
    assert seven.shares is not None
    assert seven.shares[happy.path] == pytest.approx((0, 0, 0, 1, 0, 0, 0))


def test_empty_lines_at_a_tables_end_are_no_rows(tmp_path: Path) -> None:
    root = layouts.fer2013(tmp_path / "fer", {"Training": 3, "PublicTest": 1, "PrivateTest": 1})
    layouts.votes(root, np.eye(10, dtype=np.int64)[np.arange(35) % 7])
    plain = open_dataset(root)
    for name in ("fer2013.csv", "fer2013new.csv"):
        with (root / name).open("a") as file:
            file.write("\n\r\n")
    found = open_dataset(root)
    assert [one.label for one in found.train] == [one.label for one in plain.train]
    assert (len(found.train), len(found.validation), len(found.test)) == (21, 7, 7)


def test_votes_for_other_pictures(tmp_path: Path) -> None:
    root = layouts.fer2013(tmp_path / "fer", {"Training": 1})
    layouts.votes(root, [[10] + [0] * 9] * 6)
    assert refused(root) == (
        f"{root / 'fer2013new.csv'} holds 6 rows of votes for 7 pictures. Expected FER+'s table, a row for each row of "
        "fer2013.csv beside it. Copy both again, or move this one away to use FER2013's own labels."
    )


def test_votes_for_a_table_that_was_sorted(tmp_path: Path) -> None:
    root = layouts.fer2013(tmp_path / "fer", {"Training": 2, "PublicTest": 1, "PrivateTest": 1})
    layouts.votes(root, np.eye(10, dtype=np.int64)[np.arange(28) % 7])
    head, *rows = (root / "fer2013.csv").read_text().splitlines()
    (root / "fer2013.csv").write_text("\n".join([head, *sorted(rows)]) + "\n")
    assert refused(root) == (
        f"{root / 'fer2013new.csv'} has votes for a picture of 'training' in row 1, where fer2013.csv has one of "
        "'privatetest'. The rows of both were expected in one order, FER2013's own. Copy both again, or move this one "
        "away to use FER2013's own labels."
    )


def test_votes_that_are_no_table(tmp_path: Path) -> None:
    root = layouts.fer2013(tmp_path / "fer", {"Training": 1})
    (root / "fer2013new.csv").write_bytes(b"x" * 200_000)
    assert refused(root).startswith(f"{root / 'fer2013new.csv'} holds 0 rows of votes for 7 pictures. Expected FER+'s ")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("9,1 2 3,Training", "line 2: emotion '9', 3 pixels, Usage 'training'."),
        (f"0,{'300 ' * 2304},Training", "line 2: emotion '0', 0 pixels, Usage 'training'."),
        (f"0,{'1 ' * 2304},Other", "line 2: emotion '0', 2,304 pixels, Usage 'other'."),
    ],
)
def test_a_row_that_is_none(tmp_path: Path, line: str, text: str) -> None:
    path = tmp_path / "fer2013.csv"
    path.write_text(f"emotion,pixels,Usage\n{line}\n")
    assert refused(tmp_path) == (
        f"{path}, {text} Expected 0 (anger) to 6 (neutral), 2,304 numbers 0..255, and Training, PublicTest or "
        "PrivateTest. Copy the file again."
    )
    path.write_text("image,label\n")
    assert refused(path) == (
        f"{path} begins with 'image,label'. Expected emotion,pixels,Usage, as FER2013 has. Pass the file or the folder "
        "of fer2013.csv."
    )


@pytest.mark.parametrize("content", [b"\xff\xfe\x00" * 9, b"emotion,pixels\n0," + b"x" * 200_000, b""])
def test_a_table_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fer2013.csv").write_bytes(content)
    assert refused(tmp_path).startswith(
        (f"{tmp_path / 'fer2013.csv'} begins with ", f"{tmp_path / 'fer2013.csv'} is no ")
    )

"""FER+'s own folders: what its script writes from FER2013, with the votes beside the pictures."""

from __future__ import annotations

from pathlib import Path

import layouts
import pytest

from lc2fer.data import open_dataset
from lc2fer.data.split import divide
from lc2fer.errors import DataError
from lc2fer.inputs import LABELS
from lc2fer.reading import Reading

UNANIMOUS = [[10 * (place == column) for place in range(10)] for column in range(8)]
TIE, NOBODY = [5, 5, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 1, 9]


@pytest.fixture
def ferplus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path / "cache"))
    rows = {"FER2013Train": [*UNANIMOUS * 3, TIE, NOBODY], "FER2013Valid": UNANIMOUS, "FER2013Test": UNANIMOUS}
    return layouts.ferplus_folders(tmp_path / "data", rows)


def refused(root: Path) -> str:
    with pytest.raises(DataError) as error:
        open_dataset(root)
    return str(error.value)


def test_the_majority_is_the_class_and_the_votes_are_kept(ferplus: Path) -> None:
    found = open_dataset(ferplus)
    assert (found.layout, found.labels) == ("ferplus", (*LABELS, "contempt"))
    assert [found.labels[sample.label] for sample in found.train[:8]] == [
        *("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"),
    ]
    assert (len(found.train), len(found.validation), len(found.test)) == (24, 8, 8)
    assert found.notes == ("Left out: 2 of 42 rows (unknown, no face, a tie).", "FER2013Valid is D^v: 8 images.")
    assert divide(found).validation == found.validation
    (tie,) = found.undecided
    assert found.shares is not None
    assert found.shares[tie.path] == (0, 0, 0, 0.5, 0, 0, 0.5, 0)
    assert found.shares[found.train[0].path] == (0, 0, 0, 0, 0, 0, 1, 0)


def test_contempt_can_be_left_out(ferplus: Path) -> None:
    found = open_dataset(ferplus, reading=Reading(synonyms=("contempt=",)))
    assert found.labels == LABELS
    assert found.notes[0] == "Left out: 7 of 42 rows (unknown, no face, a tie, as --synonyms says)."


def test_a_clone_whose_pictures_were_not_written(ferplus: Path) -> None:
    table = ferplus / "FER2013Train" / "label.csv"
    table.with_name("fer0000002.png").unlink()
    assert refused(ferplus) == (
        f"{table}, line 3: fer0000002.png is missing. Expected it beside the table. Run FER+'s "
        "generate_training_data.py, which writes the pictures from fer2013.csv."
    )


@pytest.mark.parametrize(
    "row", ['fer0000000.png,"(0, 0, 48, 48)",1,2,3', "fer0000000.png,,a,0,0,0,0,0,0,0,0,0", "x,,-1,0,0,0,0,0,0,0,0,1"]
)
def test_a_row_that_is_none_of_its(ferplus: Path, row: str) -> None:
    table = ferplus / "FER2013Valid" / "label.csv"
    table.write_text(f"{row}\n")
    assert refused(ferplus).startswith(f"{table}, line 1: '{row.split(',')[0]},")
    assert refused(ferplus).endswith(
        "Expected a picture's name, its box and 10 numbers of votes, as FER+ has. Copy the file again."
    )


def test_tables_without_rows(ferplus: Path) -> None:
    for table in ferplus.glob("*/label.csv"):
        table.write_text("")
    assert refused(ferplus).startswith(f"{ferplus} holds no picture of any class.")


@pytest.mark.parametrize("name", ["../fer0000000.png", "/etc/hostname", ""])
def test_a_picture_lies_beside_its_table(ferplus: Path, name: str) -> None:
    table = ferplus / "FER2013Test" / "label.csv"
    table.write_text(f'{name},"(0, 0, 48, 48)",10,0,0,0,0,0,0,0,0,0\n')
    assert refused(ferplus).startswith(f"{table}, line 1: {name or 'the picture'} is missing.")

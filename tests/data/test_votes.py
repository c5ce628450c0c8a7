"""votes.csv: shares of a crowd, and errors that name the line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lc2fer.data import votes
from lc2fer.data.rafdb import Sample
from lc2fer.errors import DataError

HEADER = "image,surprise,fear,disgust,happiness,sadness,anger,neutral\n"


def samples(root: Path) -> list[Sample]:
    return [Sample(root / "train" / "4" / "b.jpg", 3), Sample(root / "train" / "1" / "a.jpg", 0)]


def test_votes_become_shares_in_the_samples_order(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text(
        HEADER + "train/1/a.jpg,6,1,0,0,0,0,1\ntrain/4/b.jpg,0,0,0,9,0,0,1\ntrain/2/c.jpg,0,1,0,0,0,0,0\n"
    )
    found = votes.read(tmp_path, samples(tmp_path))
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0, 0, 0, 0.9, 0, 0, 0.1], [0.75, 0.125, 0, 0, 0, 0, 0.125]], rtol=1e-6)


def test_without_the_file_there_are_no_votes(tmp_path: Path) -> None:
    assert votes.read(tmp_path, samples(tmp_path)) is None


def test_a_table_that_a_spreadsheet_saved(tmp_path: Path) -> None:
    table = HEADER + "train/1/a.jpg,6,1,0,0,0,0,1\ntrain/4/b.jpg,0,0,0,9,0,0,1\n"
    (tmp_path / "votes.csv").write_bytes(table.replace("\n", "\r\n").encode("utf-8-sig"))
    found = votes.read(tmp_path, samples(tmp_path))
    assert found is not None
    np.testing.assert_allclose(found[:, 6], [0.1, 0.125], rtol=1e-6)


def test_a_data_set_s_own_classes_are_those_that_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text(HEADER + "train/1/a.jpg,6,1,0,0,0,0,1\n")
    with pytest.raises(DataError) as refused:
        votes.read(tmp_path, samples(tmp_path), ("calm", "tense"))
    assert " Expected 'image,calm,tense'. " in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "image,happy\n",
            "{path} begins with 'image,happy'. Expected 'image,surprise,fear,disgust,happiness,sadness,anger,neutral'. "
            "Correct its first line.",
        ),
        (
            HEADER + "train/1/a.jpg,6,1,0,0,0,0,1\ntrain/4/b.jpg,0,0,0,0,0,0,0\n",
            "{path}, line 3: 'train/4/b.jpg,0,0,0,0,0,0,0' is no row of votes. Expected an image and 7 numbers, 0 or "
            "more, not all 0. Correct the line.",
        ),
        (
            HEADER + "train/1/a.jpg,6,1,0,0,0,0,many\n",
            "{path}, line 2: 'train/1/a.jpg,6,1,0,0,0,0,many' is no row of votes. Expected an image and 7 numbers, 0 "
            "or more, not all 0. Correct the line.",
        ),
        (
            HEADER + "train/1/a.jpg,6,1,0,0,0,0,1\n",
            "{path} has no row for train/4/b.jpg. Votes for every training image were expected. Add the row, or train "
            "with --targets labels.",
        ),
    ],
)
def test_bad_votes_are_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(text)
    with pytest.raises(DataError) as refused:
        votes.read(tmp_path, samples(tmp_path))
    assert str(refused.value) == expected.format(path=path)


def test_two_rows_for_one_image(tmp_path: Path) -> None:
    rows = "train/1/a.jpg,6,1,0,0,0,0,1\ntrain/4/b.jpg,0,0,0,9,0,0,1\n"
    (tmp_path / "votes.csv").write_text(HEADER + rows + rows)
    assert votes.read(tmp_path, samples(tmp_path)) is not None
    (tmp_path / "votes.csv").write_text(HEADER + rows + "train/1/a.jpg,0,0,0,0,0,0,9\n")
    with pytest.raises(DataError) as refused:
        votes.read(tmp_path, samples(tmp_path))
    assert str(refused.value) == (
        f"{tmp_path / 'votes.csv'}, line 4: train/1/a.jpg has other votes than in a line before. One row for each "
        "image was expected. Remove one of them."
    )

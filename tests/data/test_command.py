"""lc2fer data check: what --data would read of a folder, and every reason why it would refuse it, at once."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import layouts
import pytest

from lc2fer import cli

pytestmark = pytest.mark.usefixtures("own_cache")
KAGGLE = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return layouts.folders(tmp_path / "faces", KAGGLE, {"train": 5, "test": 2})


def checked(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any], list[str]]:
    code = cli.main(["data", "check", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, json.loads(out), err.splitlines()


def test_a_good_folder_is_told_by_class_and_part(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "train" / "happy" / "notes.txt").touch()
    code, document, said = checked(capsys, folder)
    assert code == 0
    assert document["layout"] == "folders"
    assert document["images"]["train"] == dict.fromkeys(document["images"]["train"], 4)
    assert document["images"]["validation"]["happiness"] == 1
    assert document["images"]["test"]["happiness"] == 2
    assert document["read_as"] == {
        "angry": "anger", "happy": "happiness", "sad": "sadness",
    }  # fmt: skip
    assert said[0] == f"{folder}: layout folders"
    assert next(line for line in said if line.startswith("all")).split() == ["all", "28", "7", "14"]
    assert "Read as: angry is anger, happy is happiness, sad is sadness." in said
    assert "Left out: 1 files or folders that are no pictures (1 .txt)." in said
    assert said[-1] == "--data takes it."


def test_every_reason_to_refuse_it_is_told_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = [folder / "train" / "happy" / "a.png", folder / "test" / "sad" / "b.jpg"]
    for path in damaged:
        path.write_bytes(b"no picture")
    shutil.copy(next((folder / "test" / "fear").iterdir()), folder / "train" / "fear" / "copy.png")
    code, document, said = checked(capsys, folder)
    assert code == 2
    assert (document["refused"], document["refused_files"]) == (2, [str(path) for path in damaged])
    for path in damaged:
        assert any(line.startswith(f"Refused: {path} cannot be read as a picture") for line in said)
    assert any(line.startswith("train/fear/copy.png is the same picture as the test image ") for line in said)
    assert said[-1] == "--data refuses it, for what stands above."
    for path in damaged:
        path.unlink()
    code, document, said = checked(capsys, folder, "--leave-out-copies")
    assert (code, document["flags"]) == (0, ["--leave-out-copies"])
    assert "Left out: 1 training images that are test images too." in said


def test_a_class_of_one_image_cannot_be_divided(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, *others = sorted((folder / "train" / "sad").iterdir())
    for path in others:
        path.unlink()
    code, document, said = checked(capsys, folder)
    assert code == 2
    assert document["images"]["train"]["sadness"] == 1
    assert any("has one training image of class 5 (sadness)" in line for line in said)


def test_pictures_of_two_classes_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    happy = sorted((folder / "train" / "happy").iterdir())[:2]
    for number, picture in enumerate(happy):
        shutil.copy(picture, folder / "train" / "sad" / f"copy{number}.png")
    code, document, _ = checked(capsys, folder)
    assert code == 0
    (note,) = document["notes"]
    assert re.fullmatch(
        r"2 training images have two classes, for example train/happy/[0-9]{4}\.png as 4 \(happiness\) and "
        r"train/sad/copy[01]\.png as 5 \(sadness\)\. They count in both\.",
        note,
    )


def test_pictures_beside_their_lists_are_one_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = layouts.folders(tmp_path / "faces", ("images",), {"train": 5, "test": 2})
    code, _, said = checked(capsys, root)
    assert code == 2
    assert said[-2:] == [
        f"{root} has one class only, images. Expected two at least, to learn to tell them apart. Pass a data set "
        "with a folder for each class, such as train/happy/ and train/sad/.",
        "--data refuses it, for what stands above.",
    ]


def test_what_is_no_data_set_is_an_error_as_of_every_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["data", "check", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"DataError: {tmp_path} holds no data set that is known.")


def test_an_empty_name_is_not_the_folder_that_one_is_in(
    noise_faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(noise_faces)
    assert cli.run("data", ["check", ""]) == 2  # "$FACES" of a variable that is not set
    said = "UsageError: '' is no path. Expected a file or a folder. Name one; . is the folder that you are in.\n"
    assert capsys.readouterr() == ("", said)
    assert cli.run("data", ["check", "."]) == 0

"""What lc2fer-predict is given, and where it writes: folders, patterns, lists, and names of every kind."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from predictions import grey, last_line, predict


def test_folders_patterns_and_lists(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/2.png", "a/b/1.png", "a/10.png", "c.png"):
        grey(tmp_path / name)
    (tmp_path / "a" / "notes.txt").touch()
    (tmp_path / "a" / "._2.png").touch()
    listed = f"{tmp_path}/c.png\n\n{tmp_path}/a/2.png".encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(listed)))
    assert predict("--model", model, tmp_path / "a", f"{tmp_path}/[bc].png", "-") == 0
    document = last_line(capsys)
    names = [os.path.relpath(found["picture"], tmp_path) for found in document["predictions"]]
    assert names == ["a/10.png", "a/2.png", "a/b/1.png", "c.png", "c.png", "a/2.png"]
    assert document["left_out"] == 2
    monkeypatch.setattr(
        sys, "stdin", SimpleNamespace(buffer=io.BytesIO(f"{tmp_path}/c.png\0{tmp_path}/a/2.png\0".encode()))
    )
    assert predict("--model", model, "-") == 0
    assert last_line(capsys)["pictures"] == 2
    assert predict("--model", model, f"{tmp_path}/*.tif") == 2
    assert capsys.readouterr().err == (
        f"UsageError: '{tmp_path}/*.tif' matches no file. Expected pictures. Correct the pattern.\n"
    )
    for nothing in (b"", b"\n\n"):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(nothing)))
        assert predict("--model", model, "-") == 2  # find found none
        assert capsys.readouterr().err == (
            "DataError: The list on standard input is empty. Expected a path a line. Look at what writes it.\n"
        )
    (tmp_path / "empty").mkdir()
    assert predict("--model", model, tmp_path / "empty") == 2
    assert capsys.readouterr().err == (
        f"DataError: {tmp_path / 'empty'} holds no picture. Expected some, in it or below it. Name another folder.\n"
    )


def test_a_subfolder_of_another_user_is_named_and_makes_it_2(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, look = tmp_path / "a" / "closed", os.scandir
    closed.mkdir(parents=True)
    grey(tmp_path / "a" / "1.png")
    grey(closed / "2.png")

    def refused(place: str) -> object:  # what a folder of mode 700 answers everybody but root, who may run this
        if Path(place) == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        return look(place)

    monkeypatch.setattr(os, "scandir", refused)
    sentence = (
        f"DataError: {closed} cannot be looked into: Permission denied. Expected a folder that this user may read. "
        "Correct its permissions.\n"
    )
    assert predict("--model", model, tmp_path / "a") == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(sentence)
    document = json.loads(captured.out.splitlines()[-1])
    assert (document["pictures"], document["unreadable"]) == (1, 1)
    assert predict("--model", model, closed) == 2  # not that it holds no picture
    assert capsys.readouterr().err == sentence


@pytest.mark.parametrize(
    "given", [[""], ["a.png", ""], *([flag, "", "a.png"] for flag in ("--draw", "--csv", "--model"))]
)
def test_an_empty_argument_is_not_the_folder_that_one_is_in(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    grey(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert predict(*given) == 2
    assert capsys.readouterr() == (
        "",
        "UsageError: '' is no path. Expected a file or a folder. Name one; . is the folder that you are in.\n",
    )


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems know no other names")
def test_a_name_that_is_no_utf_8(model: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    name = b"f\xffce\n.png"
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    grey(path)
    table = tmp_path / "faces.csv"
    assert predict("--model", model, "--csv", table, "--draw", tmp_path / "drawn", path) == 0
    out, err = capfdbinary.readouterr()
    assert err.splitlines()[2].split()[0] == b"f\\udcffce\\n.png"
    assert os.fsencode(json.loads(out)["predictions"][0]["picture"]).endswith(name)
    assert name in table.read_bytes()
    assert os.listdir(os.fsencode(tmp_path / "drawn")) == [name + b".jpg"]


@pytest.mark.skipif(os.name != "posix", reason="links need rights there")
def test_folders_that_links_lead_to_are_read_once(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("elsewhere/deep", "photos/own"):
        (tmp_path / folder).mkdir(parents=True)
        grey(tmp_path / folder / "a.png")
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "own" / "again").symlink_to(tmp_path / "photos")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "twice").symlink_to(tmp_path / "photos" / "own")
    assert predict("--model", model, tmp_path / "photos") == 0
    found = [os.path.relpath(one["picture"], tmp_path / "photos") for one in last_line(capsys)["predictions"]]
    assert found == ["linked/deep/a.png", "own/a.png"]


def test_what_phones_write_is_not_left_out_without_a_word(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("IMG_1.HEIC", "b.avif", "._IMG_1.HEIC", "notes.txt"):
        (tmp_path / name).touch()
    grey(tmp_path / "a.png")
    said = "2 pictures in HEIC or AVIF were left out. JPEG, PNG or WebP was expected. Convert them to JPEG."
    assert predict("--model", model, tmp_path) == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == said
    assert json.loads(out)["left_out"] == 4
    (tmp_path / "a.png").unlink()
    (tmp_path / "b.avif").unlink()
    assert predict("--model", model, tmp_path) == 2
    assert capsys.readouterr().err == (
        f"DataError: {tmp_path} holds no picture. Expected some, in it or below it. Name another folder.\n"
        "1 picture in HEIC or AVIF was left out. JPEG, PNG or WebP was expected. Convert it to JPEG.\n"
    )


def test_copies_are_not_drawn_over_other_files(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = grey(tmp_path / "one.png")
    assert predict("--model", model, "--draw", tmp_path, picture) == 2
    assert capsys.readouterr().err == (
        f"UsageError: --draw {tmp_path} is there already and holds something. Expected a new or an empty folder, so "
        "that nothing is overwritten. Name another one.\n"
    )
    (tmp_path / "x").mkdir()
    grey(tmp_path / "x" / "one.png")
    assert predict("--model", model, "--draw", tmp_path / "d", picture, tmp_path / "x" / "one.png") == 0
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["one.png-2.jpg", "one.png.jpg"]


def test_a_table_is_not_written_over_a_picture_or_the_model(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [grey(tmp_path / "a.jpg"), grey(tmp_path / "b.jpg")]
    (tmp_path / "scan").write_bytes(photos[0].read_bytes())
    (tmp_path / "link.csv").symlink_to(tmp_path / "scan")
    kept = {path: path.read_bytes() for path in (*photos, tmp_path / "scan", model, model.with_suffix(".json"))}

    def told(table: Path, *pictures: Path) -> str:
        assert predict("--model", model, "--csv", table, *pictures) == 2
        out, err = capsys.readouterr()
        assert (out, {path: path.read_bytes() for path in kept}) == ("", kept)
        begin = f"UsageError: --csv {table} "
        end = ". Expected the name of a table, so that nothing else is overwritten. Name one, as in --csv faces.csv.\n"
        assert err.startswith(begin)
        assert err.endswith(end)
        return err[len(begin) : -len(end)]

    like = "is called like a picture, a film or a model"
    assert told(photos[0], photos[1]) == like  # --csv photos/*
    assert told(photos[0], photos[0]) == "is read, too"
    assert told(tmp_path / "new.MOV", photos[0]) == told(tmp_path / "other.onnx", photos[0]) == like
    for table in (model, model.with_suffix(".json")):
        assert told(table, photos[0]) == "is read, too"
    assert told(tmp_path / "link.csv", tmp_path / "scan") == "is read, too"
    assert predict("--model", model, "--csv", tmp_path / "faces.csv", *photos) == 0
    assert predict("--model", model, "--csv", tmp_path / "faces.csv", *photos) == 0


def test_names_as_long_as_a_file_system_takes_them(model: Path, tmp_path: Path) -> None:
    for name in ("ü" * 124 + "1.jpg", "ü" * 124 + "1.png", "ü" * 124 + "23.png"):
        grey(tmp_path / name)
    assert predict("--model", model, "--draw", tmp_path / "drawn", tmp_path) == 0
    drawn = sorted(os.listdir(tmp_path / "drawn"))
    assert drawn == ["ü" * 124 + end for end in ("1.jpg", "1.p.jpg", "23..jpg")]


def test_a_table_in_a_folder_that_is_not_there(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "none" / "faces.csv"
    assert predict("--model", model, "--csv", table, tmp_path / "1.png") == 2
    assert capsys.readouterr().err == (
        f"UsageError: --csv is {table}. Its folder was expected to be there. Make it, or name another.\n"
    )

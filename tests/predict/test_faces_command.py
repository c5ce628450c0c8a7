"""lc2fer-faces, as its user sees it."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lc2fer import cli, pictures
from lc2fer.data import records
from lc2fer.finder import find_in_crop, open_finder


def run(*arguments: object) -> int:
    return cli.run("faces", [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path, photograph: Callable[[str], Path]) -> Path:
    """A class of one photograph and another of the same one twice side by side, and a field."""
    with Image.open(photograph("grace_hopper")) as image:
        (tmp_path / "photos" / "neutral").mkdir(parents=True)
        (tmp_path / "photos" / "two").mkdir()
        image.save(tmp_path / "photos" / "neutral" / "a.jpg")
        image.rotate(20, expand=True).save(tmp_path / "photos" / "neutral" / "a.png")
        pair = Image.new("RGB", (2 * image.width, image.height))
        pair.paste(image, (0, 0))
        pair.paste(image, (image.width, 0))
        pair.save(tmp_path / "photos" / "two" / "pair.jpg")
        Image.new("RGB", (640, 480), (90, 120, 90)).save(tmp_path / "photos" / "field.png")
    return tmp_path / "photos"


def test_a_folder_of_photographs_becomes_a_folder_of_aligned_faces(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(folder, "--out", out) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out.splitlines()[-1])
    counts = {name: document[name] for name in ("pictures", "faces", "without_face", "several_faces", "unreadable")}
    assert counts == {"pictures": 4, "faces": 3, "without_face": 1, "several_faces": 1, "unreadable": 0}
    assert document["without_face_files"] == [str(folder / "field.png")]
    assert json.loads((out / records.FILE).read_text()) == {"alignment": "eyes", "size": 100, "finder": "BlazeFace"}
    assert (document["alignment"], document["finder"], document["size"]) == ("eyes", "BlazeFace", 100)
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert written == ["neutral/a.png", "neutral/a.png.png", "two/pair.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos"]
    for name in written:
        crop = np.asarray(pictures.read(out / name).image)
        assert crop.shape == (100, 100, 3)
        (face,) = open_finder(thorough=True).find(crop)
        assert abs(face.roll_degrees) < 6
        np.testing.assert_allclose(face.eyes, [(31.5, 39), (68.5, 39)], atol=5)


def test_every_face_and_another_size(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder / "two", "--out", tmp_path / "out", "--all", "--size", 48, "--alignment", "none") == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["lc2fer-faces.json", "pair-1.png", "pair-2.png"]
    assert records.read(tmp_path / "out") == "none"
    assert pictures.read(tmp_path / "out" / "pair-1.png").image.size == (48, 48)


def test_faces_that_were_cut_out_already_are_aligned_and_none_is_lost(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of FER2013: tight squares of 48 pixels, some of which no finder knows for faces."""
    crops = tmp_path / "train" / "neutral"
    crops.mkdir(parents=True)
    with Image.open(folder / "neutral" / "a.jpg") as image:
        (face,) = open_finder(thorough=True).find(np.asarray(image))
        middle, reach = (face.left + face.width / 2, face.top + face.height / 2), face.width / 2
        box = [round(at + side * reach) for side in (-1, 1) for at in middle]
        image.rotate(12, center=middle, resample=Image.Resampling.BILINEAR).crop(box).resize((48, 48)).save(
            crops / "tight.png"
        )
    strange = np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)
    Image.fromarray(strange).save(crops / "strange.png")
    assert run(tmp_path / "train", "--out", tmp_path / "out", "--crops", "--size", 48) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (document["pictures"], document["faces"], document["without_face"]) == (2, 1, 1)
    out = tmp_path / "out" / "neutral"
    np.testing.assert_array_equal(pictures.read(out / "strange.png").image, strange)
    aligned = np.asarray(pictures.read(out / "tight.png").image)
    (again,) = find_in_crop(open_finder(thorough=True), aligned)
    assert abs(again.roll_degrees) < 6
    np.testing.assert_allclose(again.eyes, [(15.1, 18.7), (32.9, 18.7)], atol=2.5)
    assert records.read(tmp_path / "out") == "eyes"


def test_a_crop_of_many_megapixels_is_found_where_a_small_one_is(photograph: Callable[[str], Path]) -> None:
    """It is not laid into a canvas of nine times its own size."""
    finder = open_finder(thorough=True)
    with Image.open(photograph("grace_hopper")) as image:
        (face,) = finder.find(np.asarray(image))
        box = [round(at) for at in (face.left, face.top, face.left + face.width, face.top + face.height)]
        crop = image.crop(box).resize((256, 240))
    (small,) = find_in_crop(finder, np.asarray(crop))
    large = np.asarray(crop.resize((4096, 3840)))
    tracemalloc.start()
    (found,) = find_in_crop(finder, large)
    assert tracemalloc.get_traced_memory()[1] < large.nbytes
    tracemalloc.stop()
    np.testing.assert_allclose(found.eyes, 16 * np.array(small.eyes), atol=16)
    assert found.width == pytest.approx(16 * small.width, rel=0.05)


def test_a_place_that_cannot_be_written_is_named_as_it_was_given(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--out", "/proc/faces") == 2
    assert capsys.readouterr().err.startswith("FileNotFoundError: /proc/faces: ")


def test_what_cannot_be_read_is_named_and_makes_it_2(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.jpg").write_bytes(b"no picture")
    assert run(folder, "--out", tmp_path / "out") == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"DataError: {folder / 'bad.jpg'} cannot be read as a picture: ")
    assert json.loads(captured.out.splitlines()[-1])["faces"] == 3


def test_names_as_long_as_a_file_system_takes_them(folder: Path, tmp_path: Path) -> None:
    for number in (1, 2):  # alike in what "-1.png" leaves of them
        shutil.copy(folder / "two" / "pair.jpg", folder / "two" / f"{'ü' * 123}aaaa{number}.jpg")
    assert run(folder / "two", "--out", tmp_path / "out", "--all") == 0
    made = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    assert len(made) == 6
    assert len(set(made.values())) == 2
    assert max(len(os.fsencode(name)) for name in made) <= 255


def test_into_an_empty_folder_that_one_is_in_or_that_a_link_leads_to(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    monkeypatch.chdir(tmp_path / "here")
    for out, place in ((".", "here"), (tmp_path / "link", "disk")):
        assert run(folder, "--out", out) == 0
        written = sorted(path.name for path in (tmp_path / place).iterdir())
        assert written == ["lc2fer-faces.json", "neutral", "two"]
        assert len(list((tmp_path / place).rglob("*.png"))) == 3
    assert (tmp_path / "link").is_symlink()


def test_wrong_folders(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none", "--out", tmp_path / "out") == 2
    assert capsys.readouterr().err == (
        f"UsageError: {tmp_path / 'none'} is not a folder. Expected a folder of photographs. Check the path.\n"
    )
    assert run(folder, "--out", folder) == 2
    assert capsys.readouterr().err == (
        f"UsageError: --out {folder} is there already and holds something. Expected a new or an empty folder, so that "
        "nothing is overwritten. Name another one.\n"
    )
    for given in (("", "--out", tmp_path / "out"), (folder, "--out", "")):
        assert run(*given) == 2
        assert capsys.readouterr().err == (
            "UsageError: '' is no path. Expected a file or a folder. Name one; . is the folder that you are in.\n"
        )
    assert run(folder, "--out", tmp_path / "out", "--size", 8) == 2
    assert capsys.readouterr().err == "UsageError: --size is 8. Expected 16 to 4096 pixels. Pass, say, 100.\n"
    (tmp_path / "fields").mkdir()
    Image.new("RGB", (640, 480), (90, 120, 90)).save(tmp_path / "fields" / "field.png")
    assert run(tmp_path / "fields", "--out", tmp_path / "out") == 2  # no face at all
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (document["without_face"], document["out"]) == (1, None)
    assert not (tmp_path / "out").exists()
    assert run(folder, "--out", tmp_path / "out") == 0  # the same name again, once the folder is the right one

"""lc2fer-predict, as its user sees it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from predictions import grey, last_line, predict

from lc2fer.finder import Face
from lc2fer.inputs import LABELS
from lc2fer.predicting import judging
from lc2fer.predicting import output as predict_output


def test_table_and_last_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = [grey(tmp_path / "one.png"), tmp_path / "two.jpg"]
    Image.new("RGB", (200, 150), (200, 120, 90)).save(pictures[1])
    assert predict("--model", model, "--faces", "crop", "--min-confidence", 0, *pictures) == 0
    out, err = capsys.readouterr()
    table = err.splitlines()
    assert table[0].split() == ["picture", "expression", *LABELS]
    assert [line.split()[0] for line in table[2:]] == ["one.png", "two.jpg"]
    document = json.loads(out)
    assert document["artifact"] == str(model)
    assert [document[name] for name in ("pictures", "faces", "without_face", "unsure", "unreadable")] == [2, 2, 0, 0, 0]
    for found, picture, box in zip(document["predictions"], pictures, ([0, 0, 48, 48], [0, 0, 200, 150])):
        assert (found["picture"], found["box"], found["found"]) == (str(picture), box, False)
        shares = found["probabilities"]
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert found["expression"] == max(shares, key=shares.get)
        assert found["confidence"] == max(shares.values())


def test_below_the_threshold_of_run_an_answer_is_unsure(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import argparse

    from lc2fer.deploy.camera import run

    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    assert parser.get_default("min_confidence") == 0.5
    assert predict("--model", model, grey(tmp_path / "one.png")) == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[2].split()[:2] == ["one.png", "unsure"]
    document = json.loads(out)
    assert (document["unsure"], document["predictions"][0]["expression"]) == (1, None)
    assert predict("--model", model, "--min-confidence", 1.5, tmp_path / "one.png") == 2
    assert capsys.readouterr().err == (
        "UsageError: --min-confidence is 1.5. Expected a probability, 0 to 1. Pass, say, 0.5.\n"
    )


def test_an_unreadable_picture_is_named_and_the_rest_is_answered(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 not much of a picture")
    missing = tmp_path / "none.jpg"
    assert predict("--model", model, broken, missing, grey(tmp_path / "fine.png")) == 2
    captured = capsys.readouterr()
    first, second, head, _, answer = captured.err.splitlines()
    assert first.startswith(f"DataError: {broken} cannot be read as a picture: ")
    assert first.endswith("Expected a whole JPEG or PNG. Copy the file again from its source.")
    assert second == f"DataError: {missing} is missing. Expected a picture of a face. Check the path."
    assert [head.split()[0], answer.split()[0]] == ["picture", "fine.png"]
    document = json.loads(captured.out.splitlines()[-1])
    assert [found["picture"] for found in document["predictions"]] == [str(tmp_path / "fine.png")]
    assert (document["unreadable"], document["unreadable_files"]) == (2, [str(broken), str(missing)])


def test_bundled_c6_is_the_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(grey(tmp_path / "grey.png", 100)) == 0
    assert last_line(capsys)["artifact"].endswith("C6.safetensors")


# -- faces are found ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "expression"), [("grace_hopper", "neutral"), ("astronaut", "happiness")])
def test_a_photographs_face_is_found_and_judged_however_it_lies(
    name: str,
    expression: str,
    photograph: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = photograph(name)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as image:
        image.convert("RGB").rotate(90, expand=True).save(tmp_path / "sideways.jpg", exif=exif, quality=95)
    assert predict("--csv", tmp_path / "faces.csv", "--draw", tmp_path / "drawn", path, tmp_path / "sideways.jpg") == 0
    upright, sideways = last_line(capsys)["predictions"]
    assert (upright["expression"], sideways["expression"]) == (expression, expression)
    np.testing.assert_allclose(upright["box"], sideways["box"], atol=4)
    header, *rows = csv.reader((tmp_path / "faces.csv").open(newline=""))
    assert header == [
        *("picture", "time_s", "face", "left", "top", "width", "height", "expression", "confidence"),
        *LABELS,
    ]
    assert [row[0] for row in rows] == [str(path), str(tmp_path / "sideways.jpg")]
    assert [row[7] for row in rows] == [expression] * 2
    assert list(map(int, rows[0][3:7])) == upright["box"]
    with Image.open(tmp_path / "drawn" / "sideways.jpg") as drawn:
        left, top, _, height = sideways["box"]
        red, green, blue = drawn.convert("RGB").getpixel((left, top + height // 2))  # type: ignore[misc]
        assert green > max(red, blue) + 50
        assert drawn.height > drawn.width or name == "astronaut"


def test_a_crop_is_told_from_a_photograph(
    photograph: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Image.open(photograph("grace_hopper")) as image:
        image.crop((160, 110, 370, 320)).resize((100, 100)).save(tmp_path / "crop.png")
    Image.new("RGB", (640, 480), (90, 120, 90)).save(tmp_path / "field.jpg")
    assert predict(tmp_path / "crop.png", tmp_path / "field.jpg", photograph("grace_hopper")) == 0
    out, err = capsys.readouterr()
    table = err.splitlines()
    assert table[3].split() == ["field.jpg", "no", "face"]
    document = json.loads(out)
    assert document["without_face"] == 1
    assert [found["found"] for found in document["predictions"]] == [False, True]
    assert predict("--faces", "find", tmp_path / "crop.png") == 0
    assert [found["found"] for found in last_line(capsys)["predictions"]] == [True]
    assert predict("--faces", "crop", tmp_path / "field.jpg") == 0
    assert [found["found"] for found in last_line(capsys)["predictions"]] == [False]


def test_a_face_is_cut_out_as_it_is_asked_for(
    photograph: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Image.open(photograph("astronaut")) as image:
        image.convert("RGB").rotate(35, expand=True).save(tmp_path / "rolled.png")
    shares = {}
    for kind in ("none", "level", "eyes"):
        assert predict("--alignment", kind, tmp_path / "rolled.png") == 0
        (found,) = last_line(capsys)["predictions"]
        shares[kind] = found["probabilities"]["happiness"]
    assert len(set(shares.values())) == 3
    assert min(shares["level"], shares["eyes"]) > 0.98
    assert predict(tmp_path / "rolled.png") == 0
    assert last_line(capsys)["predictions"][0]["probabilities"]["happiness"] == shares["none"]


@pytest.mark.parametrize(
    ("width", "height", "boxes", "whole"),
    [
        (100, 100, [46], True),
        (100, 100, [44], False),
        (100, 100, [], True),
        (100, 100, [60, 60], False),
        (110, 100, [60], True),
        (111, 100, [60], False),
        (111, 100, [], False),
        (300, 300, [190], False),
        (300, 300, [200], True),
        (300, 300, [], False),
    ],
)
def test_what_is_a_crop(width: int, height: int, boxes: list[int], whole: bool) -> None:
    def face(side: int) -> Face:
        return Face(0, 0, side, side, 0.9, ((0, 0), (1, 0)), (0, 0), (0, 0))

    class Finder:
        name = "told"

        def find(self, image: object, *, bgr: bool = False) -> tuple[Face, ...]:
            return tuple(map(face, boxes))

    image = np.zeros((height, width, 3), np.uint8)
    assert (judging.faces_of(image, Finder()) is None) == whole
    assert judging.faces_of(image, Finder(), "find") == tuple(map(face, boxes))


# -- what is answered --------------------------------------------------------------------------------------------------


def test_lines_of_json_and_flat_memory(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [grey(tmp_path / f"{number}.png") for number in range(3)]
    assert predict("--model", model, "--json", *pictures) == 0
    *lines, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert [line["picture"] for line in lines] == [str(picture) for picture in pictures]
    assert set(lines[0]) == {"picture", "face", "box", "found", "expression", "confidence", "probabilities"}
    assert "predictions" not in last
    monkeypatch.setattr(predict_output, "MOST_PREDICTIONS", 2)
    assert predict("--model", model, *pictures) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)["predictions"]) == 2
    assert [line.split()[0] for line in err.splitlines()].count("picture") == 2  # a second table begins


def test_an_animated_picture_is_judged_by_its_first_and_said(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.gif"
    Image.new("L", (48, 48), 90).save(path, save_all=True, append_images=[Image.new("L", (48, 48), 9)])
    assert predict("--model", model, path) == 0
    said, head, _, answer = capsys.readouterr().err.splitlines()
    assert said == f"{path} has several pictures. Its first one is judged."
    assert [head.split()[0], answer.split()[0]] == ["picture", "a.gif"]


def test_a_film_is_judged_now_and_then(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for _ in range(25):
        writer.write(np.full((64, 64, 3), 90, np.uint8))
    writer.release()
    table = tmp_path / "faces.csv"
    assert predict("--model", model, "--csv", table, path) == 0
    assert [found["time_s"] for found in last_line(capsys)["predictions"]] == [0, 1, 2]
    assert [row["time_s"] for row in csv.DictReader(table.open(newline=""))] == ["0.0", "1.0", "2.0"]
    cut = tmp_path / "cut.avi"
    cut.write_bytes(path.read_bytes()[: 7 * path.stat().st_size // 10])
    assert "promises" not in capsys.readouterr().err
    assert predict("--model", model, cut) == 0
    assert f"{cut} ends after 1.1 of the 2.5 s that its header promises. It may have been" in capsys.readouterr().err
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film")
    assert predict("--model", model, broken) == 2
    assert f"DataError: {broken} cannot be read as a film. Expected one that OpenCV reads." in capsys.readouterr().err


def test_without_opencv_pictures_are_judged_and_films_are_not(
    model: Path, tmp_path: Path, photograph: Callable[[str], Path], python: Any
) -> None:
    (tmp_path / "film.mp4").touch()
    program = "import sys; from lc2fer import cli; sys.exit(cli.predict())"
    done = python(program, "--model", str(model), str(photograph("grace_hopper")), block=["cv2"])
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])["faces"] == 1
    done = python(program, "--model", str(model), str(tmp_path / "film.mp4"), block=["cv2"])
    assert (done.returncode, done.stderr) == (
        3,
        f"TargetUnavailable: {tmp_path}/film.mp4 is a film, and the package cv2 is not installed. It comes with the "
        "extra [camera]. Run: pip install 'lc2fer[camera]'.\n",
    )


# -- many at once ------------------------------------------------------------------------------------------------------


def test_a_batch_gives_the_same_answers_in_the_same_order(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], photograph: Callable[[str], Path]
) -> None:
    random = np.random.default_rng(0)
    for place in range(11):
        Image.fromarray(random.integers(0, 256, (60, 60), np.uint8)).save(tmp_path / f"{place:02}.png")
    (tmp_path / "05.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much of a picture")
    given = ["--model", model, "--json", tmp_path, photograph("astronaut")]
    said = []
    for batch in (1, 4):
        assert predict(*given, "--batch", batch) == 2
        captured = capsys.readouterr()
        said.append((captured.out.splitlines(), captured.err))
    (one, errors), (four, errors_of_four) = said
    assert errors == errors_of_four
    assert errors.count("DataError: ") == 1
    assert len(one) == len(four) == 13
    for first, second in zip(map(json.loads, one[:-1]), map(json.loads, four[:-1])):
        assert [first[name] for name in ("picture", "box", "found")] == [
            second[name] for name in ("picture", "box", "found")
        ]
        assert first["probabilities"] == pytest.approx(second["probabilities"], abs=1e-4)
    assert json.loads(one[-1]) == json.loads(four[-1])
    assert predict(*given, "--batch", 0) == 2
    assert capsys.readouterr().err == "UsageError: --batch is 0. Expected 1 to 1024 pictures. Pass, say, 32.\n"

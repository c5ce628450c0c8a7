"""`lc2fer-deploy run` on films as people have them: read fast or slowly, cut off, of any name."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

import cv2
import pytest
import video
from lc2fer.deploy.camera import readers
from lc2fer.deploy.camera.source import Source

from lc2fer import cli


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drawn faces in one place, by turns: what is smoothed over time is seen."""
    path = tmp_path_factory.mktemp("films") / "two.avi"
    faces = [video.placed(video.face(label), 220, 140) for label in (3, 0)]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (video.WIDTH, video.HEIGHT))
    for number in range(40):
        writer.write(faces[number // 5 % 2])
    writer.release()
    return path


def rows(model: Path, film: Path, table: Path) -> list[list[str]]:
    assert cli.run("deploy", ["run", str(model), "--source", str(film), "--every-frame", "--record", str(table)]) == 0
    return [[row[0], row[1], *row[3:]] for row in csv.reader(table.open(newline=""))]  # without the wall's clock


def test_a_film_read_on_a_slow_computer_gives_the_same_answers(
    model: Path, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = rows(model, film, tmp_path / "fast.csv")
    read = readers._Video.read

    def slowly(self: readers._Video) -> object:
        time.sleep(0.05)
        return read(self)

    monkeypatch.setattr(readers._Video, "read", slowly)
    assert rows(model, film, tmp_path / "slow.csv") == fast
    assert len(fast) > 30


def test_a_film_whose_end_is_missing_is_told(
    model: Path, film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.avi"
    cut.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    assert cli.run("deploy", ["run", str(model), "--source", str(cut), "--every-frame"]) == 0
    said = capsys.readouterr().err
    assert f"file:{cut} ends after " in said
    assert " of the 1.6 s that its header promises. It may have been cut off: copy it again." in said
    assert cli.run("deploy", ["run", str(model), "--source", str(film), "--every-frame"]) == 0
    assert f"file:{film} is at its end, after 40 pictures." in capsys.readouterr().err


def test_a_film_is_called_by_the_time_of_the_day(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "12:30.avi").write_bytes(film.read_bytes())
    monkeypatch.chdir(tmp_path)
    reader = readers.open_reader(Source("file", "12:30.avi"), paced=False)
    assert reader.read() is not None
    assert reader.film_s == 0
    assert reader.read() is not None
    assert reader.film_s == pytest.approx(0.04)
    reader.close()


@pytest.mark.parametrize("option", ["--source", "--record"])
def test_a_films_name_that_is_not_utf8_is_refused(
    option: str, model: Path, film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")
    if option == "--source":
        Path(path).write_bytes(film.read_bytes())
    source = path if option == "--source" else str(film)
    arguments = ["run", str(model), "--source", source, *(["--record", path] if option == "--record" else [])]
    assert cli.run("deploy", arguments) == 2
    name = path.encode("ascii", "backslashreplace").decode()
    assert f"{name} is not UTF-8. A film's name that OpenCV takes was expected. Rename it." in capsys.readouterr().err
    assert option == "--source" or list(tmp_path.iterdir()) == []

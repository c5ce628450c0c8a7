"""Films as people have them: a phone's, whose rate varies, and names that OpenCV does not take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lc2fer.errors import DataError
from lc2fer.predicting import films, judging


class Film:
    """OpenCV's VideoCapture of a film whose header says a mean rate, and whose pictures say their own times."""

    times_ms: list[float]
    count: int | None = None

    def __init__(self, place: str) -> None:
        self._place = -1

    def get(self, what: int) -> float:
        count = len(self.times_ms) if self.count is None else self.count
        told = {cv2.CAP_PROP_FPS: 10.0, cv2.CAP_PROP_FRAME_COUNT: float(count)}
        return self.times_ms[self._place] if what == cv2.CAP_PROP_POS_MSEC else told[what]

    def grab(self) -> bool:
        self._place += 1
        return self._place < len(self.times_ms)

    def retrieve(self) -> tuple[bool, Any]:
        return True, np.zeros((8, 8, 3), np.uint8)

    def release(self) -> None:
        pass


def made(path: Path) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for _ in range(25):
        writer.write(np.full((64, 64, 3), 90, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize(
    ("times_ms", "every_s", "judged"),
    [
        ([0, 40, 80, 120, 160, 1200, 1240, 5000, 5040, 6080], 1.0, [0, 1.2, 5, 6.08]),  # of a phone, in the dark
        ([700, 740, 780, 1700], 0.5, [0, 1.0]),  # a part of a longer recording
        ([0.0] * 25, 1.0, [0, 1, 2]),  # it does not say them: by its rate
        ([0, 100, 200], 0.01, [0, 0.1, 0.2]),
    ],
)
def test_a_films_pictures_are_taken_at_the_times_that_it_says(
    monkeypatch: pytest.MonkeyPatch, times_ms: list[float], every_s: float, judged: list[float]
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Film)
    monkeypatch.setattr(Film, "times_ms", times_ms, raising=False)
    assert [time_s for time_s, _ in judging.frames(Path("a.mp4"), every_s)] == pytest.approx(judged)


@pytest.mark.parametrize(
    ("times_ms", "count", "told"),
    [
        ([0, 80_000, 160_000], 1601, ""),  # a picture now and then; the header counts ten a second
        ([100_000, 100_100], 1002, ""),  # a part of a longer recording
        (
            [0, 100, 200],
            40,
            "a.mp4 ends after 0.3 of the 4.0 s that its header promises. It may have been cut",
        ),
        ([0.0] * 25, 25, ""),
        ([0.0] * 25, 0, ""),
    ],
)
def test_a_film_is_cut_off_where_its_own_time_ends_early(
    monkeypatch: pytest.MonkeyPatch, times_ms: list[float], count: int, told: str
) -> None:
    monkeypatch.setattr(Film, "times_ms", times_ms, raising=False)
    monkeypatch.setattr(Film, "count", count)
    film = Film("a.mp4")
    clock = films.Clock(film, 10.0)
    while film.grab():
        clock.read()
    assert clock.cut("a.mp4").startswith(told)
    assert bool(clock.cut("a.mp4")) == bool(told)


def test_a_film_is_called_by_the_time_of_the_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "a.avi").rename(tmp_path / "12:30.avi")
    monkeypatch.chdir(tmp_path)
    assert [time_s for time_s, _ in judging.frames(Path("12:30.avi"), 1.0)] == [0, 1, 2]


def test_a_films_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.avi"))
    made(tmp_path / "a.avi").rename(path)
    with pytest.raises(DataError) as refused:
        next(judging.frames(path, 1.0))
    assert str(refused.value) == f"{path} is not UTF-8. A film's name that OpenCV takes was expected. Rename it."


def test_a_film_keeps_its_folder() -> None:
    assert films.name_of(Path("/a/12:30.mp4")) == "/a/12:30.mp4"
    assert films.name_of(Path("b/a.mp4")) == "./b/a.mp4"

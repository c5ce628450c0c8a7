"""Several sources at once share one model, each under its own name; what is recorded of them."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import video
from lc2fer.deploy.camera import record
from lc2fer.deploy.camera.capture import Capture, Frame
from lc2fer.deploy.camera.faces import open_detector
from lc2fer.deploy.camera.live import Live, Manner
from lc2fer.deploy.camera.scene import Box, Face, Scene, Status
from lc2fer.deploy.camera.source import Source
from numpy.typing import NDArray

from lc2fer import cli, open_session
from lc2fer.inputs import LABELS

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second at 30 pictures a second: a face that moves, and none in the last third."""
    faces = video.moving(video.face(3), 20)
    none = [np.full((video.HEIGHT, video.WIDTH, 3), 120, np.uint8)] * 10
    return video.write(tmp_path_factory.mktemp("video") / "face.mp4", itertools.chain(faces, none))


@pytest.fixture
def photograph_of_a_face(tmp_path: Path) -> Path:
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), video.placed(video.face(3), 220, 140))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Lines, str]:
    code = cli.run("deploy", ["run", *map(str, arguments), "--min-confidence", "0"])
    out, err = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines() if line[:1] == "{"], err


def test_each_source_has_its_name_in_lines_and_the_last_line(
    model: Path, film: Path, photograph_of_a_face: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = ["--source", f"door={film}", "--source", photograph_of_a_face, "--every-frame"]
    code, lines, _ = run(capsys, model, *sources, "--json")
    *events, document = lines
    photograph = f"picture:{photograph_of_a_face}"
    assert code == 0
    assert Counter(line["source"] for line in events if line["event"] == "scene") == {"door": 30, photograph: 1}
    for name in ("door", photograph):
        states = [line["state"] for line in events if line["event"] == "source" and line["source"] == name]
        assert [state for state in states if state != "starting"] == ["live", "ended"]
    assert [(one["name"], one["source"], one["judged"]) for one in document["sources"]] == [
        ("door", f"file:{film}", 30),
        (photograph, photograph, 1),
    ]
    assert document["judged"] == 31
    first = next(line for line in events if line["event"] == "scene" and line["source"] == photograph)
    assert (first["name"], len(first["faces"])) == ("face.png", 1)


def test_for_people_the_name_stands_first(model: Path, film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.run("deploy", ["run", str(model), "--source", f"a={film}", "--source", f"b={film}", "--every-frame"])
    err = capsys.readouterr().err
    assert code == 0
    for name in ("a", "b"):
        assert f"{name}: file:{film} gives pictures of 640x480." in err
        assert f"\n{name}: face 1" in err
    table = [line.split()[:4] for line in err.splitlines() if line[:2] in ("a ", "b ")]
    assert table == [["a", "30", "30", "0"], ["b", "30", "30", "0"]]


def test_a_source_of_which_nothing_was_judged_is_no_success(
    model: Path, film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    (tmp_path / "none").mkdir()
    assert run(capsys, model, "--source", tmp_path / "bad.jpg")[0] == 2
    assert run(capsys, model, "--source", tmp_path / "none")[0] == 2
    code, lines, err = run(
        capsys, model, "--source", film, "--source", "gate=usb:9", "--every-frame", "--seconds", "2", "--json"
    )
    assert (code, lines[-1]["judged"], lines[-1]["exit_code"]) == (3, 30, 3)
    assert "gate (usb:9) gave no picture in 2 s. A camera that is on was expected. Look at: ls -l /dev/video*" in err


def test_sources_take_turns(model: Path) -> None:
    """One that always has a picture does not keep the other waiting."""
    arrived, seen = threading.Event(), Counter[str]()
    stop = threading.Event()
    black = np.zeros((48, 64, 3), np.uint8)

    def endless(name: str) -> Any:
        numbers = itertools.count(1)

        def take(timeout_s: float) -> Frame:
            return Frame(next(numbers), time.monotonic(), 0.0, black)

        mailbox = SimpleNamespace(take=take, dropped=0)
        return SimpleNamespace(source=Source("usb", name), mailbox=mailbox, status=lambda: Status("live", ""), frames=0)

    def count(scene: Scene, picture: NDArray[np.uint8]) -> None:
        seen[scene.source] += 1
        if sum(seen.values()) == 20:
            stop.set()

    with open_session(model, threads=1) as session:
        live = Live(session, open_detector, [endless("0"), endless("1")], Manner(), {}, arrived=arrived)
        live.run(stop, count, lambda: None)
    assert seen == {"usb:0": 10, "usb:1": 10}


def test_a_picture_that_arrives_is_looked_at_at_once(model: Path, film: Path) -> None:
    arrived = threading.Event()
    captures = [Capture(Source("file", str(film), name), arrived=arrived) for name in ("a", "b")]
    scenes: list[Scene] = []
    with open_session(model, threads=1) as session:
        live = Live(session, open_detector, captures, Manner(), {}, arrived=arrived)
        live.warm_up()
        for capture in captures:
            capture.start()
        live.run(threading.Event(), lambda scene, picture: scenes.append(scene), lambda: None)
    waits = sorted(scene.stages_ms["wait"] for scene in scenes)
    assert waits[len(waits) // 2] < 50  # the loop's own pause is 200 ms
    assert live.status().state == "ended"
    assert list(live.sources()) == ["a", "b"]


# -- recordings -------------------------------------------------------------------------------------------------------


def test_what_is_recorded_of_two_films(
    model: Path, film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "faces.csv").touch()  # is left as it is
    recorded = ["--record", tmp_path / "faces.csv", "--record", tmp_path / "seen.mp4"]
    sources = ["--source", f"a={film}", "--source", f"b={film}", "--every-frame"]
    code, lines, err = run(capsys, model, *sources, *recorded, "--json")
    assert code == 0
    names = ["faces-2.csv", "seen-a.mp4", "seen-b.mp4"]
    assert [Path(one["file"]).name for one in lines[-1]["recorded"]] == names
    assert all(one["whole"] for one in lines[-1]["recorded"])
    assert f"Recorded: {tmp_path / 'faces-2.csv'}" in err
    assert (tmp_path / "faces.csv").read_bytes() == b""
    rows = list(csv.DictReader((tmp_path / "faces-2.csv").open(newline="")))
    scenes = [line for line in lines if line.get("event") == "scene"]
    faces = {(scene["source"], str(scene["number"])): scene["faces"] for scene in scenes if scene["faces"]}
    assert len(rows) == sum(map(len, faces.values())) > 30
    for row in rows:
        (face,) = faces[row["source"], row["number"]]
        assert [int(row[side]) for side in ("left", "top", "width", "height")] == face["box"]
        assert row["expression"] == face["expression"]
        assert [float(row[label]) for label in LABELS] == face["probabilities"]
    for name in names[1:]:
        pictures = list(read(tmp_path / name))
        assert len(pictures) == 30
        green = [int(((picture.astype(int) - (64, 255, 64)).__abs__().max(axis=2) < 60).sum()) for picture in pictures]
        held = [bool(one["faces"]) for one in scenes if one["source"] == name[5]]
        assert [count > 1000 for count in green] == held


def read(path: Path) -> Iterator[NDArray[np.uint8]]:
    film = cv2.VideoCapture(str(path))
    assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(30, abs=0.1)
    while (found := film.read())[0]:
        yield found[1]


@pytest.fixture
def capture() -> Any:
    return SimpleNamespace(source=Source("usb", "0"), fps=30.0)


def scene(number: int, at: float) -> Scene:
    face = Face(1, Box(8, 8, 20, 20), "anger", (0.25, 0.75))
    return Scene("usb:0", number, at, 64, 48, (face,), 5.0, {}, 30.0, 0)


def test_a_film_keeps_time_though_pictures_were_dropped(tmp_path: Path, capture: Any) -> None:
    """Two seconds with a gap of one, and a minute and a half in which the camera was away: that is cut out."""
    (film,) = record.open_all([tmp_path / "a.mp4"], [capture], LABELS, False, print)
    times = [place / 30 for place in (*range(15), *range(45, 60))] + [90 + place / 30 for place in range(15)]
    for number, at in enumerate(times, 1):
        time.sleep(0.005)  # its thread has a short queue
        film.add(scene(number, 1000.0 + at), np.full((48, 64, 3), number, np.uint8))
    film.close()
    assert film.to_json() == {"file": str(tmp_path / "a.mp4"), "pictures": 45, "whole": True}
    assert len(list(read(tmp_path / "a.mp4"))) == 75


def test_a_film_goes_on_though_the_clock_was_set_back(tmp_path: Path, capture: Any) -> None:
    (film,) = record.open_all([tmp_path / "a.mp4"], [capture], LABELS, False, print)
    for number, at in enumerate([100 + place / 30 for place in range(30)] + [40 + place / 30 for place in range(30)]):
        time.sleep(0.005)  # its thread has a short queue
        film.add(scene(number, at), np.full((48, 64, 3), number, np.uint8))
    film.close()
    assert film.to_json() == {"file": str(tmp_path / "a.mp4"), "pictures": 60, "whole": True}
    assert len(list(read(tmp_path / "a.mp4"))) == 60


def test_a_film_that_was_moved_away_ends_quietly(tmp_path: Path, capture: Any) -> None:
    (film,) = record.open_all([tmp_path / "a.mp4"], [capture], LABELS, False, print)
    film.add(scene(1, 0.0), np.zeros((48, 64, 3), np.uint8))
    while film._written == 0:  # type: ignore[attr-defined]
        time.sleep(0.005)
    (tmp_path / "a.mp4").rename(tmp_path / "b.mp4")
    film.close()
    assert len(list(read(tmp_path / "b.mp4"))) == 1


def test_a_camera_that_comes_back_larger_goes_on_in_the_same_film(tmp_path: Path, capture: Any) -> None:
    (film,) = record.open_all([tmp_path / "a.mp4"], [capture], LABELS, False, print)
    for number, side in enumerate((48, 96), 1):
        film.add(scene(number, number / 30), np.zeros((side, side, 3), np.uint8))
    film.close()
    assert [picture.shape for picture in read(tmp_path / "a.mp4")] == [(48, 48, 3)] * 2


def test_a_recording_that_cannot_be_made_leaves_none_of_the_others(tmp_path: Path, capture: Any) -> None:
    (tmp_path / "there").mkdir()
    wanted = [tmp_path / "a.csv", tmp_path / "there" / "b.mp4", tmp_path / "there" / ("c" * 250 + ".mp4")]
    with pytest.raises(OSError, match="name too long"):
        record.open_all([*wanted, tmp_path / ("d" * 252 + ".mp4")], [capture], LABELS, False, print)
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_a_full_disk_ends_recordings_and_nothing_else(
    tmp_path: Path, capture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    made = record.open_all([tmp_path / "a.csv", tmp_path / "a.mp4"], [capture], LABELS, False, said.append)
    monkeypatch.setattr(record.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    made[0]._file = Path("/dev/full").open("w", buffering=1)  # type: ignore[attr-defined]  # noqa: SIM115
    made[0]._writer = csv.writer(made[0]._file)  # type: ignore[attr-defined]
    for number in (1, 2):
        for recording in made:
            recording.add(scene(number, number / 30), np.zeros((48, 64, 3), np.uint8))
    for recording in made:
        recording.close()
    assert sorted(said) == [
        f"{tmp_path / 'a.csv'} takes no more rows (No space left on device). It ends here; pictures go on.",
        f"{tmp_path / 'a.mp4'} takes no more pictures (less than 64 MB are free). It ends here; those of the source go "
        "on.",
    ]
    assert [recording.to_json()["whole"] for recording in made] == [False, False]
    assert not (tmp_path / "a.mp4").exists()


def test_a_disk_that_is_pulled_out_ends_its_film_and_nothing_else(
    tmp_path: Path, capture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "_LOOK_EVERY", 1)
    stick, said = tmp_path / "stick", []
    stick.mkdir()
    (film,) = record.open_all([stick / "a.mp4"], [capture], LABELS, False, said.append)
    film.add(scene(1, 0.0), np.zeros((48, 64, 3), np.uint8))
    while film._written == 0:  # type: ignore[attr-defined]
        time.sleep(0.005)
    shutil.rmtree(stick)
    film.add(scene(2, 0.1), np.zeros((48, 64, 3), np.uint8))
    film.close()
    assert said == [
        f"{stick / 'a.mp4'} takes no more pictures ({stick}: No such file or directory). It ends here; those of the "
        "source go on."
    ]
    assert film.to_json()["whole"] is False


def test_a_film_that_its_disk_did_not_take_to_the_end_is_not_called_whole(tmp_path: Path) -> None:
    """As on a FAT disk, at 4 GB: OpenCV does not tell."""
    program = f"""
import resource
from types import SimpleNamespace
import numpy as np
from lc2fer.deploy.camera import record
from lc2fer.deploy.camera.scene import Scene
from lc2fer.deploy.camera.source import Source

capture = SimpleNamespace(source=Source("file", "b.mp4"), fps=30.0)
(film,) = record.open_all([record.Path({str(tmp_path / "a.mp4")!r})], [capture], ("anger",), True, print)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
for number in range(60):
    picture = np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)
    film.add(Scene(capture.source.name, number, number / 30, 64, 48, (), 5.0, {{}}, 30.0, 0), picture)
film.close()
print(film.to_json()["whole"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == [
        f"{tmp_path / 'a.mp4'} takes no more pictures (not all of it could be written, and it plays nowhere). It ends "
        "here; those of the source go on.",
        "False",
    ]

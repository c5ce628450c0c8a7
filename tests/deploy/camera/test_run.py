"""`lc2fer-deploy run` from a picture to what it says, with a real model, real OpenCV and drawn faces."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import video
from lc2fer.deploy.camera.faces import Found, open_detector
from lc2fer.deploy.camera.scene import Box
from lc2fer.deploy.camera.tracks import HOLD_S, Tracker, crop, prepare

from lc2fer import artifact as artifacts
from lc2fer import cli, pictures
from lc2fer.errors import ArtifactError
from lc2fer.finder import Face as FoundFace
from lc2fer.finder import open_finder
from lc2fer.inputs import InputSpec


def drawn(label: int) -> video.Picture:
    """A 640x480 BGR picture with a drawn face of that class that is found."""
    return video.placed(video.face(label), 220, 140)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds at 30 pictures a second: a face that moves, and the last second without one."""
    faces = video.moving(video.face(3), 60)
    none = [np.full((video.HEIGHT, video.WIDTH, 3), 120, np.uint8)] * 30
    return video.write(tmp_path_factory.mktemp("video") / "face.mp4", itertools.chain(faces, none))


def run(*arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, lines of JSON and what was said, of a process of its own."""
    command = [sys.executable, "-c", "import sys; from lc2fer.cli import deploy; sys.exit(deploy())", "run", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines() if line[:1] == "{"], done.stderr


def test_a_video_is_watched_at_its_own_pace(model: Path, film: Path) -> None:
    code, lines, _ = run(str(model), "--source", str(film), "--json", "--threads", "1")
    *events, document = lines
    scenes = [line for line in events if line["event"] == "scene"]
    assert code == 0
    assert document["captured"] == 90
    assert document["judged"] + document["dropped"] == 90
    assert len(scenes) == document["judged"]
    assert document["seconds"] > 2.9  # not faster than a camera would give them
    assert [line["state"] for line in events if line["event"] == "source"] == ["live", "ended"]
    seen = [scene["faces"][0] for scene in scenes if scene["faces"]]
    assert len(seen) > 0.4 * len(scenes)
    assert all(abs(sum(face["probabilities"]) - 1) < 1e-3 for face in seen)
    assert scenes[-1]["faces"] == []  # the face that left is forgotten
    assert [line["labels"] for line in lines if "labels" in line] == [list(artifacts.load(model).input_spec.labels)]
    assert "labels" in lines[0]


def test_every_picture_of_a_folder_is_judged(model: Path, tmp_path: Path) -> None:
    for label in (0, 3):
        cv2.imwrite(str(tmp_path / f"{label}.png"), drawn(label))
    cv2.imwrite(str(tmp_path / "x.png"), np.full((480, 640, 3), 120, np.uint8))
    code, lines, said = run(str(model), "--source", str(tmp_path))
    assert code == 0
    assert (lines[-1]["judged"], lines[-1]["dropped"]) == (3, 0)
    assert "x.png: no face" in said


def test_a_damaged_video_ends_with_a_reason(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video")
    code, lines, said = run(str(model), "--source", str(path))
    assert code == 2
    assert lines[-1]["state"] == "ended"
    assert f"file:{path} cannot be opened." in said


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--web", "--record", "a.csv"], "--record was given without a source. A --source was expected: pictures"),
        (
            ["--source", "0", "--record", "a.avi"],
            "--record is a.avi. Expected a file that ends in .csv (a row a face) or",
        ),
        (["--source", "0", "--record", "none/a.csv"], "--record is none/a.csv. Its folder was expected to be there."),
        (["--source", ".", "--record", "a.mp4"], "--record is a.mp4, and folder:. holds single pictures. A camera, a"),
        ([], "Neither --source nor --web was given."),
        (["--web", "--min-confidence", "2"], "--min-confidence is 2. Expected a probability, 0 to 1."),
        (["--web", "--smoothing", "-1"], "--smoothing is -1. Expected seconds, 0 or more."),
        (["--web", "--webhook", "nowhere"], "--webhook is 'nowhere'. Expected http://HOST/..."),
        (["--web", "--mqtt", "mqtt://host"], "--mqtt is 'mqtt://host'. Expected mqtt://HOST/TOPIC, a topic without"),
    ],
)
def test_what_cannot_be_run(model: Path, arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run("deploy", ["run", str(model), *arguments]) == 2
    assert text in capsys.readouterr().err


def test_a_bundle_has_to_be_built_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, quoted in (("my v1.2.bundle", f"'{tmp_path}/my v1.2.bundle'"), ("c..bundle", f"{tmp_path}/c..bundle")):
        (tmp_path / name).touch()
        assert cli.run("deploy", ["run", str(tmp_path / name), "--web"]) == 2
        assert capsys.readouterr().err.endswith(f"built here. Run: lc2fer-deploy build {quoted}\n")


def test_a_bundle_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run("deploy", ["run", str(tmp_path / "no.bundle"), "--web"]) == 2
    assert capsys.readouterr().err == (
        f"ArtifactError: {tmp_path / 'no.bundle'} is missing. Expected a bundle or a model's file. Check the path.\n"
    )


def test_another_file_than_yunets(tmp_path: Path) -> None:
    path = tmp_path / "face.onnx"
    path.write_bytes(b"x")
    with pytest.raises(ArtifactError, match=r"face.onnx cannot be loaded by onnxruntime .* leave --face-model out\."):
        open_detector(path)


# -- tracks -----------------------------------------------------------------------------------------------------------


def test_a_face_keeps_its_number_while_it_is_in_view() -> None:
    tracker = Tracker()
    one, two = Box(0, 0, 100, 100), Box(300, 0, 100, 100)
    assert [track.number for track in tracker.update([one, two], 0.0)] == [1, 2]
    assert [track.number for track in tracker.update([Box(310, 5, 100, 100), Box(8, 0, 100, 100)], 0.03)] == [2, 1]
    assert [track.number for track in tracker.update([two], 0.02 + HOLD_S)] == [2]
    assert [track.number for track in tracker.update([one], 0.05 + HOLD_S)] == [3]


def test_probabilities_are_a_mean_over_time_and_may_be_too_low_to_say() -> None:
    (track,) = Tracker().update([Box(0, 0, 10, 10)], 0.0)
    track.judge(np.array([1.0, 0.0]), 0.0, 0.5)
    track.judge(np.array([0.0, 1.0]), 0.5, 0.5)
    assert track.probabilities.tolist() == pytest.approx([np.exp(-1), 1 - np.exp(-1)])
    assert track.face(["a", "b"], 0.6).expression == "b"
    assert track.face(["a", "b"], 0.7).expression is None


def test_a_model_that_wants_eyes_in_place_gets_them(photograph: Callable[[str], Path]) -> None:
    rgb = np.asarray(pictures.read(photograph("grace_hopper")).image)
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    (box,) = open_detector().find(bgr)
    (track,) = Tracker().update([box], 0.0)
    (face,) = open_finder().find(rgb)
    for kind in ("level", "eyes"):
        spec = InputSpec(size=64, alignment=kind)
        np.testing.assert_array_equal(prepare(bgr, track, spec, bgr=True), spec.apply_face(rgb, face))
        np.testing.assert_array_equal(prepare(rgb, track, spec), spec.apply_face(rgb, face))
    plain = InputSpec(size=64)
    assert np.abs(prepare(bgr, track, plain, bgr=True) - plain.apply_face(rgb, face)).mean() < 4  # whole pixels


def test_the_eyes_of_a_track_are_steadied_like_its_box() -> None:
    def found(x: float) -> Found:
        eyes = ((x + 30, 40.0), (x + 70, 40.0))
        return Found(int(x), 0, 100, 100, FoundFace(x, 0, 100, 100, 1.0, eyes, (0, 0), (x + 50, 80)))

    tracker = Tracker()
    tracker.update([found(0)], 0.0)
    (track,) = tracker.update([found(10)], 0.08)  # the time constant
    share = 1 - np.exp(-1)
    assert track.box[0] == pytest.approx(10 * share)
    assert track.found is not None
    assert track.found.eyes[0] == pytest.approx((30 + 10 * share, 40))
    assert track.found.mouth == pytest.approx((50 + 10 * share, 80))


def test_the_crop_is_a_square_within_the_picture() -> None:
    picture = np.arange(100 * 200 * 3, dtype=np.uint8).reshape(100, 200, 3)
    assert crop(picture, np.array([-20.0, 10, 40, 40])).shape == (40, 40, 3)
    assert crop(picture, np.array([0.0, 0, 200, 100])).shape == (100, 100, 3)


def test_a_folder_that_is_no_bundle(model: Path, film: Path) -> None:
    code, _, said = run(str(model.parent), "--source", str(film))
    assert code == 2
    assert said.splitlines()[-1] == (
        f"UsageError: {model.parent} is a folder without a bundle's bundle.json. Expected a model's file, or a bundle "
        "that was built here. Name the file in it."
    )


def test_sigterm_ends_a_program_also_while_it_looks_whether_it_shall_end() -> None:
    """The signal comes where threading.Event.wait holds its lock, between two steps of it."""
    program = """
import signal, threading
from lc2fer.deploy.camera.run import stopped_by_signals

begun = threading.Event()
begun.set()
with stopped_by_signals(begun) as stop:
    with stop._cond:
        signal.raise_signal(signal.SIGTERM)
    print(stop.wait(10))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout == "True\n"


@pytest.mark.parametrize(("verb", "module"), [("run", "camera.run"), ("serve", "serving.command")])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_ends_it_while_its_model_is_opened_does_not_wait_for_that(
    verb: str, module: str, number: signal.Signals, model: Path
) -> None:
    program = f"""
import sys, time
from lc2fer import cli
from lc2fer.deploy.{module} import main

def slow(*_, **__):
    print("opens", file=sys.stderr, flush=True)
    time.sleep(60)

main.__globals__["open_session"] = slow
sys.exit(cli.deploy())
"""
    command = [sys.executable, "-c", program, verb, str(model), *(["--source", "usb:9"] if verb == "run" else [])]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "opens\n"
        process.send_signal(number)
        assert process.stderr.read() == "Interrupted. Finished files are kept; nothing half-written is left.\n"
        assert process.wait(20) == 130

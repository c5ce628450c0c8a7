"""Procedural faces: the same bytes every time, RAF-DB's layout, and expressions that move the face the right way."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lc2fer.data import open_dataset, synthetic
from lc2fer.data.face import ACTIONS, Face, Occlusion, Pose, landmarks, regions
from lc2fer.data.synthetic import PROTOTYPES, draw, face_of, sample, seed_of, write
from lc2fer.errors import DataError
from lc2fer.inputs import LABELS

FRONT = Pose(yaw=0.0, pitch=0.0, roll=0.0, scale=0.38, x=0.0, y=0.02)


def face(label: int, *seed: int) -> Face:
    return sample(label, np.random.Generator(np.random.PCG64([7, *seed])))


def posed(units: dict[int, float]) -> Face:
    """One person, seen from the front, with exactly these action units."""
    nothing = Occlusion("none", (0, 0, 0), 0.0, 0.0, 0.2)
    return replace(face(6, 1), action_units=units, asymmetry=0.0, pose=FRONT, occlusion=nothing)


def prototype(name: str) -> dict[int, float]:
    return {unit: level for unit, (chance, level) in PROTOTYPES[name].items() if chance == 1.0}


def digest(picture: Image.Image) -> str:
    return hashlib.sha256(picture.tobytes()).hexdigest()


def digests(root: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*.jpg"))}


def test_a_face_is_drawn_the_same_twice_and_differs_from_the_next() -> None:
    assert digest(draw(face(3, 1))) == digest(draw(face(3, 1)))
    assert digest(draw(face(3, 1))) != digest(draw(face(3, 2)))


@pytest.mark.parametrize("size", [48, 100])
def test_a_drawing_is_rgb_of_the_size_asked_for(size: int) -> None:
    picture = draw(face(0, 1), size)
    assert (picture.mode, picture.size) == ("RGB", (size, size))
    assert np.asarray(picture).std() > 15  # there is something on it


def test_label_outside_the_seven_is_refused() -> None:
    with pytest.raises(DataError) as error:
        face(7)
    assert str(error.value) == (
        "The expression 7 does not exist. A number from 0 to 6 was expected. Give one of these."
    )


def test_prototypes_name_the_seven_labels_and_known_action_units() -> None:
    assert tuple(PROTOTYPES) == LABELS
    assert {unit for units in PROTOTYPES.values() for unit in units} <= set(ACTIONS)
    assert set(prototype("happiness")) == {6, 12}
    assert {1, 4, 15} <= set(PROTOTYPES["sadness"])
    assert set(prototype("surprise")) == {1, 2, 5, 26}
    assert {1, 2, 4, 5, 7, 20, 26} <= set(PROTOTYPES["fear"])
    assert {4, 5, 7, 23} <= set(PROTOTYPES["anger"])
    assert {9, 15} <= set(PROTOTYPES["disgust"])
    assert PROTOTYPES["neutral"] == {}


def corner_drop(units: dict[int, float]) -> float:
    """How far the corners of the mouth lie below the middle of its line, pixels."""
    line = landmarks(posed(units))["mouth_line"]
    return float((line[0, 1] + line[-1, 1]) / 2 - line[len(line) // 2, 1])


def height(units: dict[int, float], name: str) -> float:
    points = landmarks(posed(units))[name]
    return float(np.ptp(points[:, 1]))


def brow_inner(units: dict[int, float]) -> float:
    points = landmarks(posed(units))["left_brow"]
    return float(points[points[:, 0].argmax(), 1])


def test_happiness_pulls_the_corners_of_the_mouth_up_and_sadness_down() -> None:
    rest = corner_drop({})
    assert corner_drop(prototype("happiness")) < rest - 4.0
    assert corner_drop(prototype("sadness")) > rest + 3.0


def test_surprise_opens_mouth_and_eyes_and_anger_narrows_both() -> None:
    for name in ("mouth", "left_eye"):
        assert height(prototype("surprise"), name) > height({}, name) + 1.5
        assert height(prototype("anger"), name) < height({}, name)


def test_brows_rise_in_surprise_and_sadness_and_drop_in_anger_and_disgust() -> None:
    rest = brow_inner({})
    assert brow_inner(prototype("surprise")) < rest - 3.0
    assert brow_inner(prototype("sadness")) < rest - 2.0
    assert brow_inner(prototype("anger")) > rest + 3.0
    assert brow_inner(prototype("disgust")) > rest + 2.0


def test_fear_stretches_the_mouth_wider_than_surprise() -> None:
    wide = {name: float(np.ptp(landmarks(posed(prototype(name)))["mouth"][:, 0])) for name in ("fear", "surprise")}
    assert wide["fear"] > wide["surprise"] + 5.0


def test_regions_lie_in_the_picture_and_the_mouth_below_the_eyes() -> None:
    for number in range(70):
        boxes = regions(face(number % 7, number))
        assert set(boxes) == {"mouth", "left_eye", "right_eye", "left_brow", "right_brow"}
        for x0, y0, x1, y1 in boxes.values():
            assert 0 <= x0 < x1 <= 100
            assert 0 <= y0 < y1 <= 100
        assert boxes["mouth"][1] > max(boxes["left_eye"][3], boxes["right_eye"][3])
        assert boxes["left_eye"][0] < boxes["right_eye"][0]
        assert boxes["left_brow"][1] < boxes["left_eye"][1]


def test_regions_scale_with_the_picture() -> None:
    small, large = regions(face(3, 1), 50)["mouth"], regions(face(3, 1), 100)["mouth"]
    assert np.allclose(np.array(small) * 2, large)


def test_the_drawn_mouth_lies_in_its_region() -> None:
    still = posed({})
    plain = replace(still, camera=replace(still.camera, blur=0.0, noise=0.0, quality=0))
    red = replace(plain, identity=replace(plain.identity, lips=(255, 0, 60), beard="none", age=0.0))
    blue = replace(red, identity=replace(red.identity, lips=(0, 60, 255)))
    changed = np.argwhere(np.abs(np.asarray(draw(red), int) - np.asarray(draw(blue), int)).sum(axis=2) > 60)
    x0, y0, x1, y1 = regions(red)["mouth"]
    assert len(changed) > 100
    assert changed[:, 1].min() >= x0 - 1
    assert changed[:, 1].max() <= x1 + 1
    assert changed[:, 0].min() >= y0 - 1
    assert changed[:, 0].max() <= y1 + 1


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"iris": (0, 255, 60)}, ("left_eye", "right_eye")),
        ({"brow_thickness": 1.7}, ("left_brow", "right_brow")),
    ],
    ids=["eyes", "brows"],
)
def test_drawn_eyes_and_brows_lie_in_their_regions(change: dict[str, Any], names: tuple[str, str]) -> None:
    still = posed({})
    who = replace(still.identity, hair_style="bald", glasses=False, iris=(255, 0, 60), brow_thickness=0.6)
    plain = replace(still, camera=replace(still.camera, blur=0.0, noise=0.0, quality=0), identity=who)
    other = replace(plain, identity=replace(who, **change))
    changed = np.abs(np.asarray(draw(plain), int) - np.asarray(draw(other), int)).sum(axis=2) > 60
    assert changed.sum() > 12
    for x0, y0, x1, y1 in (regions(other)[name] for name in names):
        part = np.s_[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1]
        assert changed[part].sum() > 5
        changed[part] = False
    assert changed.sum() == 0


def test_a_written_picture_is_of_the_face_of_its_name(tmp_path: Path) -> None:
    root = write(tmp_path / "faces", train=9, test=3, seed=4)
    assert seed_of(root) == 4
    for name in ("train_00009_aligned.jpg", "test_00002_aligned.jpg"):
        path = root / "Image" / "aligned" / name
        draw(face_of(path, 4)).save(tmp_path / name, quality=synthetic.QUALITY)
        assert (tmp_path / name).read_bytes() == path.read_bytes()
    assert face_of(Path("test_00002_aligned.jpg")) != face_of(Path("test_00002_aligned.jpg"), 4)


@pytest.mark.parametrize("name", ["test_00000_aligned.jpg", "test_1.jpg", "other_00001_aligned.jpg"])
def test_a_foreign_picture_is_of_no_face(name: str) -> None:
    with pytest.raises(DataError) as error:
        face_of(Path(name))
    assert str(error.value) == (
        f"{name} is no picture of the procedural faces. A name such as test_00001_aligned.jpg was expected. "
        "Leave the folder as it was written, or delete it, so that it is drawn again."
    )


@pytest.mark.parametrize("marker", [None, "[]", "{", '{"generator": 999, "seed": 0}'])
def test_a_folder_of_something_else_has_no_seed(tmp_path: Path, marker: str | None) -> None:
    if marker is not None:
        (tmp_path / "synthetic.json").write_text(marker, encoding="utf-8")
    assert seed_of(tmp_path) is None


def test_files_follow_the_official_layout(tmp_path: Path) -> None:
    done: list[int] = []
    root = write(tmp_path / "faces", train=14, test=7, seed=3, progress=done.append)
    lines = (root / "EmoLabel" / "list_patition_label.txt").read_text(encoding="utf-8").splitlines()
    assert lines[:3] == ["train_00001.jpg 1", "train_00002.jpg 2", "train_00003.jpg 3"]
    assert lines[14:16] == ["test_00001.jpg 1", "test_00002.jpg 2"]
    assert Counter(line.split()[1] for line in lines) == dict.fromkeys("1234567", 3)
    names = {line.split()[0].replace(".jpg", "_aligned.jpg") for line in lines}
    assert names == {path.name for path in (root / "Image" / "aligned").iterdir()}
    with Image.open(root / "Image" / "aligned" / "test_00007_aligned.jpg") as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (100, 100))
    marker = json.loads((root / "synthetic.json").read_text(encoding="utf-8"))
    assert marker == {"generator": synthetic.GENERATOR, "seed": 3, "train": 14, "test": 7, "size": 100}
    assert done[-1] == 21
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    first = digests(write(tmp_path / "a", train=7, test=7))
    assert first == digests(write(tmp_path / "b", train=7, test=7))
    assert len(set(first.values())) == 14  # the test faces are no copies of the training faces
    longer = digests(write(tmp_path / "c", train=8, test=7))
    assert first.items() <= longer.items()
    assert not set(first.values()) & set(digests(write(tmp_path / "d", train=7, test=7, seed=1)).values())


def test_processes_write_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = digests(write(tmp_path / "alone", train=14, test=7))
    monkeypatch.setattr(synthetic, "_POOL_FROM", 1)
    monkeypatch.setattr(synthetic, "_CHUNK", 7)
    monkeypatch.setattr(synthetic.os, "cpu_count", lambda: 2)
    assert digests(write(tmp_path / "pool", train=14, test=7)) == alone


DRAWING = """
import sys, time
from pathlib import Path
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from lc2fer.data.synthetic import _ignore_interrupt
import os

if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=_ignore_interrupt)
    print(*{pool.submit(os.getpid).result(60) for _ in range(9)}, flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_processes_that_draw_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    (tmp_path / "drawing.py").write_text(DRAWING)
    with subprocess.Popen([sys.executable, tmp_path / "drawing.py"], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = parent.stdout.readline().split()
        assert pids
        parent.kill()
    ends = time.monotonic() + 20
    while any(running(pid) for pid in pids):
        assert time.monotonic() < ends, "they wait for work that never comes"
        time.sleep(0.05)


def running(pid: str) -> bool:
    """Whether the process is there and not only waited for by nobody."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_written_set_is_reused(tmp_path: Path) -> None:
    root = write(tmp_path / "faces", train=7, test=0)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert write(root, train=7, test=0) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    assert len(digests(write(tmp_path / "faces", train=1, test=1))) == 2


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError) as error:
        write(tmp_path, train=7, test=7)
    assert str(error.value) == (
        f"{tmp_path} already holds something else than these procedural faces (marker: none). "
        "An empty or new folder was expected. Choose another --data folder or delete this one."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_another_set_is_refused_with_its_marker(tmp_path: Path) -> None:
    root = write(tmp_path / "faces", train=7, test=0)
    with pytest.raises(DataError, match=r'marker: \{"generator": 1, "seed": 0, "train": 7, "test": 0, "size": 100\}'):
        write(root, train=7, test=0, seed=1)


@pytest.mark.parametrize("numbers", [{"train": 0, "test": 0}, {"train": -1, "test": 8}, {"seed": -1}])
def test_impossible_numbers_are_refused(tmp_path: Path, numbers: dict[str, int]) -> None:
    with pytest.raises(DataError, match="cannot be drawn"):
        write(tmp_path / "faces", **numbers)
    assert not list(tmp_path.iterdir())


def test_an_interruption_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Face] = []

    def interrupted(face: Face, size: int) -> Image.Image:
        drawn.append(face)
        if len(drawn) == 5:
            raise KeyboardInterrupt
        return draw(face, size)

    monkeypatch.setattr(synthetic, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "faces", train=14, test=7)
    assert len(drawn) == 5
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"file/faces could not be written .*Choose another --data folder\.$"):
        write(tmp_path / "file" / "faces", train=7, test=0)


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path))
    monkeypatch.setattr(tempfile, "mkdtemp", read_only)
    with pytest.raises(DataError, match=r"^The cache .* cannot be written .* Set LC2FER_CACHE to one, as in "):
        open_dataset("synthetic")


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".making-of-before"
    (left / "faces" / "Image" / "aligned").mkdir(parents=True)
    os.utime(left, (0, 0))
    write(tmp_path / "faces", train=1, test=1)
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]

"""What goes wrong with cameras and faces while a real model watches: it goes on, nothing piles up, and it says so.

What goes wrong while engines are built is in tests/tensorrt/test_choice.py, with bundles in test_bundle.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import video
from ip_camera import IpCamera
from lc2fer.deploy.camera import capture as camera
from lc2fer.deploy.camera import live
from lc2fer.deploy.camera.capture import Capture, Frame
from lc2fer.deploy.camera.faces import open_detector
from lc2fer.deploy.camera.live import Live, Manner
from lc2fer.deploy.camera.publish import Changes
from lc2fer.deploy.camera.scene import Scene, Status
from lc2fer.deploy.camera.source import Source, parse
from numpy.typing import NDArray

from lc2fer import open_session
from lc2fer.session import Session


@pytest.fixture(scope="module")
def session(model: Path) -> Iterator[Session]:
    with open_session(model, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """Two seconds of a moving face, as JPEG."""
    return [cv2.imencode(".jpg", picture)[1].tobytes() for picture in video.moving(video.face(3), 40)]


class Watching:
    """A pipeline at work in a thread of its own, and what it said."""

    def __init__(self, session: Session, source: Source) -> None:
        self.states: list[Status] = []
        self.scenes: list[Scene] = []
        self.capture = Capture(source, say=self.states.append)
        self.live = Live(session, open_detector, [self.capture], Manner(0.0), {})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.live.run, args=(self._stop, self._keep, lambda: None))

    def _keep(self, scene: Scene, picture: NDArray[np.uint8]) -> None:
        self.scenes.append(scene)

    def __enter__(self) -> Watching:
        self.capture.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.capture.close()

    def faces(self) -> int:
        return sum(bool(scene.faces) for scene in self.scenes)

    def until(self, true: Callable[[], object]) -> None:
        end = time.monotonic() + 20
        while not true():
            assert time.monotonic() < end, f"it did not happen in time; {self.states}"
            time.sleep(0.02)


def test_a_camera_on_the_network_is_damaged_stalls_vanishes_and_returns(
    session: Session, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera, "STALL_S", 0.5)
    monkeypatch.setattr(camera, "_AGAIN_S", (0.1,))
    with IpCamera(pictures) as network:
        source = parse(network.url)
        with Watching(session, source) as watching:
            watching.until(lambda: watching.faces() > 10)

            network.damaged = 3
            watching.until(lambda: not network.damaged)
            seen = watching.faces()
            watching.until(lambda: watching.faces() > seen + 10)

            network.stall()
            watching.until(lambda: watching.live.status().state == "stalled")
            assert watching.live.status().text == f"{source} has given no picture for 1 s."
            network.stall(False)
            watching.until(lambda: watching.live.status().state == "live")

            network.vanish()
            watching.until(lambda: any("cannot be opened" in status.text for status in watching.states))
            assert watching.live.status().state == "lost"
            seen = watching.faces()
            network.come_back()
            watching.until(lambda: watching.faces() > seen + 10)
    told = list(dict.fromkeys(watching.states))
    assert [status.state for status in told] == ["live", "lost", "lost"]  # and live again, in the same words
    assert watching.states[-1].state == "live"
    assert told[1].text == f"{source} gives no more pictures. It is tried again and again."
    assert told[2].text == (
        f"{source} cannot be opened. Expected a camera or video that OpenCV reads. Check the address, and that the "
        "camera is on. It is tried again and again."
    )
    assert max(scene.age_ms for scene in watching.scenes) < 1000  # what came late was not kept waiting


@pytest.mark.slow
def test_nothing_is_found_for_a_minute(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a clock of its own: ten pictures with a face, a minute without one, and the face again; twelve a second."""
    fps = 12
    clock = SimpleNamespace(now=1000.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(live, "time", clock)
    face = video.placed(video.face(3), 220, 140)
    nothing = np.full_like(face, 120)
    shown = [face] * 10 + [nothing] * 60 * fps + [face] * 10
    frames = iter([(number, picture) for number, picture in enumerate(shown, 1)])

    def take(timeout_s: float) -> Frame | None:
        number, picture = next(frames, (0, nothing))
        clock.now += 1 / fps
        return Frame(number, clock.now, 0.0, picture) if number else None

    ended = Status("ended", "The film is over.")
    mailbox = SimpleNamespace(take=take, dropped=0)
    capture: Any = SimpleNamespace(source=Source("usb", "0"), mailbox=mailbox, status=lambda: ended)
    watching = Live(session, open_detector, [capture], Manner(0.0), {})
    scenes: list[Scene] = []
    messages: list[dict[str, Any]] = []
    changes = Changes()

    def on_scene(scene: Scene, picture: NDArray[np.uint8]) -> None:
        scenes.append(scene)
        messages.extend(changes.of(scene))

    watching.run(threading.Event(), on_scene, lambda: None)
    assert len(scenes) == 740
    held = [scene.number for scene in scenes if scene.faces]
    assert held == [*range(1, 15), *range(731, 741)]  # a face that is lost stays for 0.4 s
    assert {face.track for scene in scenes[:14] for face in scene.faces} == {1}
    assert {face.track for scene in scenes[730:] for face in scene.faces} == {2}
    assert [message["event"] for message in messages] == ["expression", "left", "expression"]
    assert scenes[-1].fps == pytest.approx(fps, rel=0.05)
    assert len(watching.feeds["usb:0"]._ends) <= 2 * fps + 2


def test_a_picture_that_is_hardly_one_is_looked_at_like_others(session: Session, tmp_path: Path) -> None:
    for width, height in ((1, 1), (3, 2000)):
        cv2.imwrite(str(tmp_path / f"{width}.png"), np.zeros((height, width, 3), np.uint8))
    with Watching(session, parse(str(tmp_path))) as watching:
        watching.until(lambda: watching.live.status().state == "ended")
        watching.until(lambda: len(watching.scenes) == 2)
    assert [scene.name for scene in watching.scenes] == ["1.png", "3.png"]
    assert [scene.faces for scene in watching.scenes] == [(), ()]
    found = watching.live.picture(watching.capture.source.name, 0, 0.0)
    assert found is not None
    assert found[1].startswith(b"\xff\xd8")


def test_of_many_faces_the_largest_are_judged(session: Session, tmp_path: Path) -> None:
    picture = np.full((960, 1280, 3), 120, np.uint8)
    for place in range(12):
        side = 160 + 8 * place
        face = cv2.resize(video.face(3), (side, side))
        left, top = 20 + 315 * (place % 4), 20 + 315 * (place // 4)
        picture[top : top + side, left : left + side] = face
    cv2.imwrite(str(tmp_path / "crowd.png"), picture)
    assert len(open_detector().find(picture)) > live.MOST_FACES
    with Watching(session, parse(str(tmp_path))) as watching:
        watching.until(lambda: watching.scenes)
    areas = [face.box.width * face.box.height for face in watching.scenes[0].faces]
    assert len(areas) == live.MOST_FACES
    assert areas == sorted(areas, reverse=True)


def test_a_folder_that_goes_away_ends_with_its_reason(session: Session, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    source = parse(str(folder))
    folder.rmdir()
    with Watching(session, source) as watching:
        watching.until(lambda: watching.live.status().state == "ended")
    assert watching.live.status().text == (
        f"{source} cannot be opened (No such file or directory). It was there before. Look for it."
    )

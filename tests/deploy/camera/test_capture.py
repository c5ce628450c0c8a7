"""The newest picture first, and cameras that stall, go and come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from lc2fer.deploy.camera import capture as camera
from lc2fer.deploy.camera.capture import Capture, Frame, Mailbox
from lc2fer.deploy.camera.scene import Status
from lc2fer.deploy.camera.source import Source
from numpy.typing import NDArray

from lc2fer.errors import DataError

BLACK = np.zeros((48, 64, 3), np.uint8)
USB = Source("usb", "0")


def frame(number: int) -> Frame:
    return Frame(number, time.monotonic(), time.time(), BLACK)


def until(true: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


class Fake:
    """A camera that gives the pictures of an iterator; None means that it is gone."""

    name = None
    film_s = None
    fps = 30.0

    def __init__(self, pictures: Iterator[NDArray[np.uint8] | None]) -> None:
        self._pictures = pictures

    def read(self) -> NDArray[np.uint8] | None:
        return next(self._pictures, None)

    def missed(self, picture: NDArray[np.uint8]) -> str:
        return ""

    def cut(self) -> str:
        return ""

    def close(self) -> None:
        pass


def test_the_newest_picture_replaces_the_one_before() -> None:
    mailbox = Mailbox()
    for number in (1, 2, 3):
        assert mailbox.put(frame(number))
    taken = mailbox.take(0)
    assert taken is not None
    assert (taken.number, mailbox.dropped, mailbox.take(0)) == (3, 2, None)


def test_where_nothing_may_be_dropped_a_picture_waits() -> None:
    mailbox = Mailbox()
    assert mailbox.put(frame(1), wait_s=0.01)
    assert not mailbox.put(frame(2), wait_s=0.01)
    assert mailbox.dropped == 0


def test_a_camera_that_vanishes_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "_AGAIN_S", (0.01,))
    said: list[Status] = []
    attempts: list[int] = []

    def opener() -> Fake:
        attempts.append(1)
        if len(attempts) == 2:
            raise DataError("usb:0 cannot be opened. Expected a camera. Look at: ls /dev/video*.")
        return Fake(iter([BLACK, BLACK]))

    capture = Capture(USB, opener=opener, say=said.append)
    capture.start()
    until(lambda: capture.frames >= 6)
    capture.close()
    assert [status.state for status in said[:4]] == ["live", "lost", "lost", "live"]
    assert said[1].text == "usb:0 gives no more pictures. It is tried again and again."
    assert said[2].text.startswith("usb:0 cannot be opened.")


def test_a_camera_that_gives_nothing_has_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "STALL_S", 0.05)

    def pictures() -> Iterator[NDArray[np.uint8]]:
        yield BLACK
        time.sleep(0.4)
        while True:
            time.sleep(0.005)
            yield BLACK

    capture = Capture(USB, opener=lambda: Fake(pictures()))
    capture.start()
    until(lambda: capture.status().state == "stalled")
    assert capture.status().text == "usb:0 has given no picture for 0 s."
    until(lambda: capture.status().state == "live")
    capture.close()

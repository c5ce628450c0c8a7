"""Where pictures come from: what a source may be, the newest picture first, cameras that stall, go and come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from lc2fer.deploy.camera import capture as camera
from lc2fer.deploy.camera.capture import Capture, Frame, Mailbox, Source
from lc2fer.deploy.camera.scene import Status
from numpy.typing import NDArray
from PIL import Image

from lc2fer.errors import DataError, UsageError

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

    def __init__(self, pictures: Iterator[NDArray[np.uint8] | None]) -> None:
        self._pictures = pictures

    def read(self) -> NDArray[np.uint8] | None:
        return next(self._pictures, None)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("csi:1", Source("csi", "1")),
        ("usb:0", USB),
        ("/dev/video2", Source("usb", "2")),
        ("rtsp://camera/stream", Source("stream", "rtsp://camera/stream")),
    ],
)
def test_sources(text: str, source: Source) -> None:
    assert camera.parse(text) == source
    assert source.live


def test_a_folder_and_a_file_are_sources(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert camera.parse(str(tmp_path)).kind == "folder"
    assert camera.parse(str(tmp_path / "a.mp4")).kind == "file"


@pytest.mark.parametrize("text", ["usb:x", "missing.mp4", "ftp://camera", ""])
def test_what_is_no_source(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        camera.parse(text)
    assert str(refused.value) == (
        f"There is no source {text!r}. Expected csi:0, usb:0, rtsp://..., a video file or a folder of pictures. "
        "Correct --source."
    )


def test_a_streams_password_is_not_shown() -> None:
    assert str(Source("stream", "rtsp://me:secret@camera/1")) == "rtsp://...@camera/1"


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


def test_a_folders_pictures_come_by_name_and_a_damaged_one_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b.png", "a.png"):
        Image.new("RGB", (20, 20), (255, 0, 0)).save(tmp_path / name)
    (tmp_path / "aa.jpg").write_bytes(b"no picture")
    (tmp_path / "notes.txt").touch()
    reader = camera.open_reader(Source("folder", str(tmp_path)), paced=False)
    names = []
    while (picture := reader.read()) is not None:
        assert picture[0, 0].tolist() == [0, 0, 255]  # BGR
        names.append(reader.name)
    assert names == ["a.png", "b.png"]
    assert "aa.jpg cannot be read as a picture" in capsys.readouterr().err


def test_a_file_that_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(DataError) as refused:
        camera.open_reader(Source("file", str(path)), paced=True)
    assert str(refused.value) == (
        f"file:{path} cannot be opened. Expected a camera or video that OpenCV reads. "
        "Copy the file again, or convert it to MP4 with H.264."
    )

"""Opened sources: pictures of folders, films, and what a camera is asked for and gives instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from lc2fer.deploy.camera import readers
from lc2fer.deploy.camera.capture import Capture
from lc2fer.deploy.camera.readers import open_reader
from lc2fer.deploy.camera.source import Source, Wish
from PIL import Image

from lc2fer.errors import DataError


def test_a_folder_with_its_pictures_in_folders_below_is_told(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "below" / "a.png")
    with pytest.raises(DataError) as refused:
        open_reader(Source("folder", str(tmp_path)), paced=False)
    assert str(refused.value) == (
        f"folder:{tmp_path} holds no picture. A folder with pictures in itself was expected, not in folders below it. "
        "Correct --source."
    )


def test_a_folders_pictures_come_by_name_and_a_damaged_one_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b.png", "a.png"):
        Image.new("RGB", (20, 20), (255, 0, 0)).save(tmp_path / name)
    (tmp_path / "aa.jpg").write_bytes(b"no picture")
    (tmp_path / "notes.txt").touch()
    reader = open_reader(Source("folder", str(tmp_path)), paced=False)
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
        open_reader(Source("file", str(path)), paced=True)
    assert str(refused.value) == (
        f"file:{path} cannot be opened. Expected a camera or video that OpenCV reads. "
        "Copy the file again, or convert it to MP4 with H.264."
    )


def test_a_photograph_is_one_picture_upright(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 20), (255, 0, 0))
    turned = picture.getexif()
    turned[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=turned)
    reader = open_reader(Source("picture", str(tmp_path / "a.jpg")), paced=True)
    found = reader.read()
    assert found is not None
    assert (found.shape, reader.name) == ((40, 20, 3), "a.jpg")
    assert reader.read() is None


# -- what cameras are asked for ---------------------------------------------------------------------------------------


class Camera:
    """OpenCV's VideoCapture of a USB camera that has 640x480 at 30 pictures a second in YUYV, and nothing else.

    No camera, and no driver that plays one, is to be had where the tests run.
    """

    asked: list[Any]

    def __init__(self, place: Any, *more: Any) -> None:
        Camera.asked = [(place, *more)]
        self.left = 2

    def isOpened(self) -> bool:
        return True

    def set(self, what: int, value: float) -> bool:
        Camera.asked.append((what, value))
        return False

    def get(self, what: int) -> float:
        return {cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV"))}[what]

    def read(self) -> Any:
        self.left -= 1
        return self.left >= 0, np.zeros((480, 640, 3), np.uint8)

    def release(self) -> None:
        pass


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> type[Camera]:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    return Camera


@pytest.mark.parametrize("place", ["0", "/dev/v4l/by-id/usb-Cam-video-index0"])
def test_a_camera_is_asked_for_its_format_first(camera: type[Camera], place: str) -> None:
    open_reader(Source("usb", place), paced=False, wish=Wish((1280, 720), 15.0, "mjpg"))
    assert camera.asked == [
        (0 if place == "0" else place, cv2.CAP_V4L2),
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        (cv2.CAP_PROP_FRAME_WIDTH, 1280),
        (cv2.CAP_PROP_FRAME_HEIGHT, 720),
        (cv2.CAP_PROP_FPS, 15.0),
    ]
    open_reader(Source("usb", place), paced=False)
    assert len(camera.asked) == 1


@pytest.mark.parametrize(
    ("wish", "more"),
    [
        (Wish(), ""),
        (Wish((640, 480), 30.0, "yuyv"), ""),
        (Wish((1280, 720)), " It has not what was asked for: --size 1280x720."),
        (
            Wish(None, 15.0, "mjpg"),
            " It has not what was asked for: --fps 15 (it gives 30), --pixel-format mjpg (it gives YUYV).",
        ),
    ],
)
def test_what_a_camera_has_not_is_said(camera: type[Camera], wish: Wish, more: str) -> None:
    said: list[str] = []
    capture = Capture(Source("usb", "0"), wish=wish, say=lambda status: said.append(status.text))
    capture._once()
    assert said == [f"usb:0 gives pictures of 640x480.{more}"]
    assert capture.fps == 30


def test_a_csi_camera_is_asked_in_gstreamers_words() -> None:
    asked = readers.pipeline(Source("csi", "1"), Wish((1920, 1080), 29.97))
    assert "sensor-id=1 ! video/x-raw(memory:NVMM),format=NV12,width=1920,height=1080,framerate=2997/100 ! " in asked
    assert "width=1280,height=720,framerate=30/1 " in readers.pipeline(Source("csi", "0"), Wish())

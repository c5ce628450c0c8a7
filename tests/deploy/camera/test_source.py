"""What a source may be, what it is called, and what a camera may be asked for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from lc2fer.deploy.camera import source as camera
from lc2fer.deploy.camera.source import Source, Wish

from lc2fer.errors import UsageError

USB = Source("usb", "0")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("csi:1", Source("csi", "1")),
        ("usb:0", USB),
        ("0", USB),
        ("USB:0", USB),
        ("RTSP://10.0.0.5/Live", Source("stream", "rtsp://10.0.0.5/Live")),
        ("/dev/video2", Source("usb", "2")),
        ("rtsp://camera/stream", Source("stream", "rtsp://camera/stream")),
        ("door=usb:0", Source("usb", "0", "door")),
        ("front door=rtsp://camera/a=b", Source("stream", "rtsp://camera/a=b", "front door")),
    ],
)
def test_sources(text: str, found: Source) -> None:
    assert camera.parse(text) == found
    assert found.live


def test_a_video_device_is_known_by_its_number_and_may_be_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/v4l/by-id/... and udev's own links; no such device is to be had here, so its numbers are written."""
    devices = {"/dev/v4l/by-id/usb-Cam-index0": (81, 0), "/dev/front": (81, 3), "/dev/tty7": (4, 7)}
    real = Path.stat

    def look(path: Path, **more: bool) -> os.stat_result:
        if str(path) in devices:
            fields = [stat.S_IFCHR | 0o660, *[0] * 9]
            return os.stat_result(fields, {"st_rdev": os.makedev(*devices[str(path)])})
        return real(path, **more)

    monkeypatch.setattr(Path, "stat", look)
    for place in list(devices)[:2]:
        assert camera.parse(place) == Source("usb", place)
        assert str(camera.parse(place)) == place
    with pytest.raises(UsageError, match="There is no source '/dev/tty7'"):
        camera.parse("/dev/tty7")


def test_a_device_that_is_not_there_is_a_camera_that_is_away() -> None:
    assert camera.parse("/dev/v4l/by-id/usb-none") == Source("usb", "/dev/v4l/by-id/usb-none")


def test_files_and_folders_are_sources(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.JPG", "x=y.mp4"):
        (tmp_path / name).touch()
    assert camera.parse(str(tmp_path)).kind == "folder"
    assert camera.parse(str(tmp_path / "a.mp4")).kind == "file"
    assert camera.parse(str(tmp_path / "a.JPG")).kind == "picture"


def test_a_file_with_an_equals_sign_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x=y.mp4").touch()
    assert camera.parse("x=y.mp4") == Source("file", "x=y.mp4")


@pytest.mark.parametrize("text", ["usb:x", "missing.mp4", "ftp://camera", "", "/dev/null"])
def test_what_is_no_source(text: str) -> None:
    for given in (text, f"door={text}"):
        if given == "door=":
            continue
        with pytest.raises(UsageError) as refused:
            camera.parse(given)
        assert str(refused.value) == (
            f"There is no source {text!r}. Expected csi:0, usb:0 or 0, /dev/v4l/by-id/..., rtsp://..., a video file, a "
            "picture or a folder of pictures. Correct --source."
        )


def test_a_streams_password_is_not_shown() -> None:
    assert str(Source("stream", "rtsp://me:secret@camera/1")) == "rtsp://...@camera/1"
    assert Source("stream", "rtsp://me:secret@camera/1").name == "rtsp://...@camera/1"
    assert Source("stream", "rtsp://me:secret@camera/1", "door").name == "door"


def test_sources_have_a_name_each() -> None:
    assert [source.name for source in camera.parse_all(["0", "usb:1", "door=2"])] == ["usb:0", "usb:1", "door"]
    with pytest.raises(UsageError) as refused:
        camera.parse_all(["rtsp://me:KEY@h/x", "rtsp://you:KEY2@h/x"])
    assert str(refused.value) == (
        "Two sources are called 'rtsp://...@h/x'. Expected a name of its own for each. Pass --source NAME=SOURCE."
    )
    with pytest.raises(UsageError, match=r"^17 sources were given\. Expected at most 16 that share one model\."):
        camera.parse_all([str(number) for number in range(17)])


def test_what_a_camera_is_asked_for() -> None:
    assert camera.parse_wish(None, None, None, []) == Wish()
    assert camera.parse_wish("1280x720", 15.0, "mjpg", [USB]) == Wish((1280, 720), 15.0, "mjpg")


STREAM = Source("stream", "rtsp://h/x")


@pytest.mark.parametrize(
    ("size", "fps", "pixels", "source", "text"),
    [
        (
            "1280",
            None,
            None,
            USB,
            "--size is '1280'. Expected WIDTHxHEIGHT, each 16 to 16384 pixels. Pass, say, 1280x720.",
        ),
        (
            "8x8",
            None,
            None,
            USB,
            "--size is '8x8'. Expected WIDTHxHEIGHT, each 16 to 16384 pixels. Pass, say, 1280x720.",
        ),
        (
            None,
            0.0,
            None,
            USB,
            "--fps is 0. Expected pictures a second, more than 0 and up to 1000. Pass, say, 30.",
        ),
        (
            "640x480",
            None,
            None,
            STREAM,
            "--size was given, and no source can be asked for it. Expected a camera among them, such as csi:0 or "
            "usb:0. Leave --size out.",
        ),
        (
            None,
            None,
            "mjpg",
            Source("csi", "0"),
            "--pixel-format was given, and no source can be asked for it. Expected a camera among them, such as usb:0. "
            "Leave --pixel-format out.",
        ),
    ],
)
def test_what_no_camera_can_be_asked_for(
    size: str | None, fps: float | None, pixels: str | None, source: Source, text: str
) -> None:
    with pytest.raises(UsageError) as refused:
        camera.parse_wish(size, fps, pixels, [source])
    assert str(refused.value) == text


def test_a_folder_whose_name_is_no_utf8_has_one_that_messages_and_pages_take(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    os.mkdir(folder)
    source = camera.parse(folder)
    assert source.place == folder
    assert source.name == f"folder:{tmp_path}/caf\\udce9"

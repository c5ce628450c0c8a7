"""Where pictures come from, and what a camera is asked for: --source, --size, --fps, --pixel-format."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from lc2fer import pictures
from lc2fer.errors import UsageError

from .address import quoted, shown

CAMERAS = ("csi", "usb")  # what --size and --fps can be asked of
PIXEL_FORMATS = ("mjpg", "yuyv")
_VIDEO4LINUX = 81  # the major number of its devices
_NAMED = re.compile(r"([\w .-]{1,32})=(.+)", re.DOTALL)
_MOST = 16  # sources of one run


@dataclass(frozen=True)
class Source:
    """Where pictures come from."""

    kind: str  # csi | usb | stream | file | folder | picture
    place: str = field(repr=False)  # number, address or path; of a USB camera a number or its device
    given_name: str | None = None

    @property
    def name(self) -> str:
        """What it is called in lines, messages and on the page."""
        return self.given_name or str(self)

    @property
    def live(self) -> bool:
        """Whether it goes on by itself and may come back; files and folders have an end."""
        return self.kind in (*CAMERAS, "stream")

    @property
    def alone(self) -> bool:
        """Whether its pictures have nothing to do with each other, and each of them counts."""
        return self.kind in ("folder", "picture")

    def __str__(self) -> str:
        if self.kind == "stream":
            return shown(self.place)
        place = self.place.encode(errors="backslashreplace").decode()  # of bytes that are no UTF-8, no page can tell
        return place if place.startswith("/dev/") else f"{self.kind}:{place}"


@dataclass(frozen=True)
class Wish:
    """What a camera is asked for; where it has no such thing it gives what is nearest, and that is said."""

    size: tuple[int, int] | None = None  # width and height in pixels
    fps: float | None = None
    pixel_format: str | None = None  # one of PIXEL_FORMATS

    @property
    def flags(self) -> tuple[str, ...]:
        """The options that ask for something."""
        asked = {"--size": self.size, "--fps": self.fps, "--pixel-format": self.pixel_format}
        return tuple(flag for flag, value in asked.items() if value is not None)


def parse(text: str) -> Source:
    """One source: a number or device of a camera, an address, a video file, a picture or a folder of pictures.

    NAME= may stand before it. UsageError for anything else.
    """
    named = _NAMED.fullmatch(text)
    if named is not None and named[1].strip() and not os.path.lexists(text):
        return replace(parse(named[2]), given_name=named[1].strip())
    kind, _, rest = text.partition(":")
    kind = kind.lower()  # RTSP://, as some cameras' pages write it
    if text.isascii() and text.isdecimal():
        return Source("usb", str(int(text)))
    if kind in CAMERAS and rest.isascii() and rest.isdecimal():
        return Source(kind, rest)
    if kind in ("rtsp", "rtsps", "http", "https") and rest.startswith("//"):
        return Source("stream", f"{kind}:{rest}")
    path = Path(text)
    if re.fullmatch(r"/dev/video[0-9]+", text):
        return Source("usb", text.removeprefix("/dev/video"))
    if text.startswith("/dev/") and _is_camera(path):
        return Source("usb", text)
    with suppress(OSError, ValueError):  # a name that is too long, or has a null character
        if text and path.is_dir():
            return Source("folder", text)
        if path.is_file():
            return Source("picture" if pictures.is_named(path) else "file", text)
    raise UsageError(
        f"There is no source {quoted(text)}. Expected csi:0, usb:0 or 0, /dev/v4l/by-id/..., rtsp://..., a video "
        "file, a picture or a folder of pictures. Correct --source."
    )


def parse_all(texts: Sequence[str]) -> list[Source]:
    """All sources of a run; UsageError where two have one name, or there are too many."""
    found = [parse(text) for text in texts]
    names = [source.name for source in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(
            f"Two sources are called {twice!r}. Expected a name of its own for each. Pass --source NAME=SOURCE."
        )
    if len(found) > _MOST:
        raise UsageError(
            f"{len(found)} sources were given. Expected at most {_MOST} that share one model. Start a second program."
        )
    return found


def parse_wish(size: str | None, fps: float | None, pixel_format: str | None, sources: Sequence[Source]) -> Wish:
    """What the cameras among the sources are asked for; UsageError for what none has, or where none is a camera."""
    sides = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", size or "")
    if size is not None and (sides is None or not all(16 <= int(side) <= 16384 for side in sides.groups())):
        raise UsageError(f"--size is {size!r}. Expected WIDTHxHEIGHT, each 16 to 16384 pixels. Pass, say, 1280x720.")
    if fps is not None and not 0 < fps <= 1000:
        raise UsageError(f"--fps is {fps:g}. Expected pictures a second, more than 0 and up to 1000. Pass, say, 30.")
    wish = Wish(None if sides is None else (int(sides[1]), int(sides[2])), fps, pixel_format)
    if wish.size or wish.fps:
        _expect_one(wish.flags[0], CAMERAS, "csi:0 or usb:0", sources)
    if wish.pixel_format:
        _expect_one("--pixel-format", ("usb",), "usb:0", sources)
    return wish


def hint(source: Source) -> str:
    """Where to look when a source gives nothing."""
    return {
        "csi": "Look at: ls /dev/video*; systemctl status nvargus-daemon.",
        "usb": "Look at: ls -l /dev/video* /dev/v4l/by-id; and the group video.",
        "stream": "Check the address, and that the camera is on.",
        "folder": "Put pictures into it that can be read.",
        "picture": "Copy it again from its source.",
    }.get(source.kind, "Copy the file again, or convert it to MP4 with H.264.")


def _is_camera(path: Path) -> bool:
    """Whether that is a video device or a link to one; a link that is not there belongs to a camera that is away."""
    try:
        device = path.stat()
    except FileNotFoundError:
        return path.name != ""
    except OSError:
        return False
    return stat.S_ISCHR(device.st_mode) and os.major(device.st_rdev) == _VIDEO4LINUX


def _expect_one(flag: str, kinds: tuple[str, ...], such_as: str, sources: Sequence[Source]) -> None:
    if not any(source.kind in kinds for source in sources):
        raise UsageError(
            f"{flag} was given, and no source can be asked for it. Expected a camera among them, such as {such_as}. "
            f"Leave {flag} out."
        )

"""Opened sources: cameras, streams and films through OpenCV, pictures of a folder one after the other."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from lc2fer import pictures
from lc2fer.errors import DataError, TargetUnavailable
from lc2fer.predicting import films
from lc2fer.text import printable, stderr_console

from .source import Source, Wish, hint

_OPEN_MS, _READ_MS = 5000, 5000  # a stream that does not answer is given up after that
_USUAL_FPS = 30.0  # of a file that does not tell
_LONGEST_S = 60.0  # that the next picture of a film is waited for; more is a jump of its clock
_CSI_SIZE = (1280, 720)
_CSI = (
    "nvarguscamerasrc sensor-id={} ! video/x-raw(memory:NVMM),format=NV12,width={},height={},framerate={}/{} ! "
    "nvvidconv ! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! "
    "appsink drop=1 max-buffers=1 sync=false"
)
_FOURCC = {"mjpg": "MJPG", "yuyv": "YUYV"}


class Reader(Protocol):
    """An opened source."""

    name: str | None  # of the last picture's file
    film_s: float | None  # of a film, the last picture's time since its first
    fps: float  # as the source says; 30 where it does not

    def read(self) -> NDArray[np.uint8] | None:
        """The next picture, BGR [H,W,3], waited for; None at the end or where the camera is gone."""
        ...

    def missed(self, picture: NDArray[np.uint8]) -> str:
        """What was asked of a camera that gives such pictures instead, as a sentence; nothing where it gives it."""
        ...

    def cut(self) -> str:
        """At the end of a film: that its header promises more, as a sentence; nothing where it is whole."""
        ...

    def close(self) -> None: ...


def open_reader(source: Source, *, paced: bool, wish: Wish | None = None) -> Reader:
    """An opened camera, stream, file (`paced`: at its own frame rate, as a camera would), picture or folder.

    Raises DataError where it cannot be opened, TargetUnavailable where this OpenCV cannot open such a source.
    """
    if source.kind == "folder":
        found = sorted(path for path in Path(source.place).iterdir() if pictures.is_named(path))
        if not found:
            raise DataError(
                f"{source} holds no picture. A folder with pictures in itself was expected, not in folders below it. "
                "Correct --source."
            )
        return _Pictures(found)
    if source.kind == "picture":
        return _Pictures([Path(source.place)])
    with suppress(AttributeError):  # not every OpenCV can be told to leave the telling to us
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    wish = wish or Wish()
    capture = _opened(source, wish)
    if not capture.isOpened():
        capture.release()
        raise DataError(f"{source} cannot be opened. Expected a camera or video that OpenCV reads. {hint(source)}")
    if source.kind == "file":
        return _Film(capture, source, paced=paced)
    return _Video(capture, wish if source.kind == "usb" else Wish())


def check(source: Source) -> None:
    """Raise TargetUnavailable where this OpenCV cannot open such a source; no camera is touched."""
    if source.kind == "csi" and not re.search(r"GStreamer:\s*YES", cv2.getBuildInformation()):
        raise TargetUnavailable(
            f"{source} cannot be used: OpenCV {cv2.__version__} is built without GStreamer, which CSI cameras need. "
            "JetPack's own OpenCV was expected. Run: pip uninstall opencv-python opencv-python-headless; "
            "sudo apt install python3-opencv."
        )


def pipeline(source: Source, wish: Wish) -> str:
    """GStreamer's words for a CSI camera."""
    rate = Fraction(wish.fps or _USUAL_FPS).limit_denominator(1001)
    return _CSI.format(source.place, *(wish.size or _CSI_SIZE), rate.numerator, rate.denominator)


def _opened(source: Source, wish: Wish) -> Any:
    check(source)
    if source.kind == "csi":
        return cv2.VideoCapture(pipeline(source, wish), cv2.CAP_GSTREAMER)
    if source.kind == "usb":
        place = int(source.place) if source.place.isdecimal() else source.place
        capture = cv2.VideoCapture(place, cv2.CAP_V4L2)
        if wish.pixel_format:  # first: sizes and rates belong to a format
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*_FOURCC[wish.pixel_format]))
        if wish.size:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, wish.size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wish.size[1])
        if wish.fps:
            capture.set(cv2.CAP_PROP_FPS, wish.fps)
        return capture
    if source.kind == "stream":
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_MS]
        return cv2.VideoCapture(source.place, cv2.CAP_FFMPEG, limits)
    return cv2.VideoCapture(films.name_of(Path(source.place)), cv2.CAP_ANY)


class _Video:
    """What OpenCV reads."""

    def __init__(self, capture: Any, wish: Wish) -> None:
        self.name: str | None = None
        self.film_s: float | None = None
        self._told_fps = float(capture.get(cv2.CAP_PROP_FPS))
        self.fps = self._told_fps if 1 <= self._told_fps <= 240 else _USUAL_FPS
        self._capture = capture
        self._wish = wish

    def read(self) -> NDArray[np.uint8] | None:
        found, picture = self._capture.read()
        return np.asarray(picture, np.uint8) if found else None

    def missed(self, picture: NDArray[np.uint8]) -> str:
        wish = self._wish
        other = []
        if wish.size and wish.size != (picture.shape[1], picture.shape[0]):
            other.append(f"--size {wish.size[0]}x{wish.size[1]}")
        if wish.fps and abs(wish.fps - self._told_fps) > 0.01 * wish.fps:
            other.append(f"--fps {wish.fps:g} (it gives {self._told_fps:g})")
        if wish.pixel_format:
            code = int(self._capture.get(cv2.CAP_PROP_FOURCC))
            given = "".join(chr(code >> shift & 255) for shift in (0, 8, 16, 24))
            if given != _FOURCC[wish.pixel_format]:
                other.append(f"--pixel-format {wish.pixel_format} (it gives {printable(given)})")
        return f"It has not what was asked for: {', '.join(other)}." if other else ""

    def cut(self) -> str:
        return ""

    def close(self) -> None:
        self._capture.release()


class _Film(_Video):
    """A film; it can be paced, by the clock and not by sleeping the same time after each picture."""

    def __init__(self, capture: Any, source: Source, *, paced: bool) -> None:
        super().__init__(capture, Wish())
        self._source = source
        self._paced = paced
        self._clock = films.Clock(capture, self.fps)
        self._begun = time.monotonic()

    def read(self) -> NDArray[np.uint8] | None:
        picture = super().read()
        if picture is None:
            return None
        self.film_s = self._clock.read()
        if self._paced:
            self._wait(self.film_s)
        return picture

    def _wait(self, film_s: float) -> None:
        """Until then; where the reader is late by more than a picture, or the film's clock jumps, the rest moves."""
        early_s = self._begun + film_s - time.monotonic()
        if 0 < early_s <= _LONGEST_S:
            time.sleep(early_s)
        else:
            self._begun -= early_s if early_s > 0 else min(early_s + 1 / self.fps, 0)

    def cut(self) -> str:
        return self._clock.cut(str(self._source))


class _Pictures:
    """Files of pictures; one that cannot be read is left out, and said."""

    fps = _USUAL_FPS
    film_s: float | None = None

    def __init__(self, paths: Iterable[Path]) -> None:
        self.name: str | None = None
        self._paths = iter(paths)

    def read(self) -> NDArray[np.uint8] | None:
        for path in self._paths:
            try:
                rgb = np.asarray(pictures.read(path).image)
            except DataError as error:
                text = printable(f"{error} It is left out.")
                stderr_console().print(text, markup=False, highlight=False, soft_wrap=True)
                continue
            self.name = path.name
            return np.ascontiguousarray(rgb[:, :, ::-1])  # RGB -> BGR
        return None

    def missed(self, picture: NDArray[np.uint8]) -> str:
        return ""

    def cut(self) -> str:
        return ""

    def close(self) -> None:
        pass

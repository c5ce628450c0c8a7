"""Pictures from a camera, a stream, a file or a folder, taken in a thread of their own.

The newest picture waits in a mailbox of one place and replaces the one before: whoever looks at pictures always gets a
fresh one, and being slow costs pictures, not time. A camera that goes away is opened again until it comes back.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from lc2fer import pictures
from lc2fer.errors import DataError, Lc2ferError, TargetUnavailable, UsageError
from lc2fer.text import printable

from .address import quoted, shown, without
from .scene import Status

STALL_S = 2.0  # without a picture for so long a camera is called stalled
_AGAIN_S = (0.5, 1.0, 2.0, 5.0)  # waits between attempts to open a camera; the last one is repeated
_OPEN_MS, _READ_MS = 5000, 5000  # a stream that does not answer is given up after that
_USUAL_FPS = 30.0  # of a file that does not tell
_CSI = (
    "nvarguscamerasrc sensor-id={} ! video/x-raw(memory:NVMM),format=NV12,width=1280,height=720,framerate=30/1 ! "
    "nvvidconv ! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! "
    "appsink drop=1 max-buffers=1 sync=false"
)


@dataclass(frozen=True)
class Source:
    """Where pictures come from."""

    kind: str  # csi | usb | stream | file | folder
    place: str = field(repr=False)  # number, address or path

    @property
    def live(self) -> bool:
        """Whether it goes on by itself and may come back; files and folders have an end."""
        return self.kind in ("csi", "usb", "stream")

    def __str__(self) -> str:
        return shown(self.place) if self.kind == "stream" else f"{self.kind}:{self.place}"


def parse(text: str) -> Source:
    """csi:0, usb:0, /dev/video0, rtsp://..., http://..., a video file or a folder; UsageError for anything else."""
    kind, _, rest = text.partition(":")
    if kind in ("csi", "usb") and rest.isdecimal():
        return Source(kind, rest)
    if re.fullmatch(r"/dev/video\d+", text):
        return Source("usb", text.removeprefix("/dev/video"))
    if kind in ("rtsp", "rtsps", "http", "https") and rest.startswith("//"):
        return Source("stream", text)
    path = Path(text)
    if text and path.is_dir():
        return Source("folder", text)
    if path.is_file():
        return Source("file", text)
    raise UsageError(
        f"There is no source {quoted(text)}. Expected csi:0, usb:0, rtsp://..., a video file or a folder of pictures. "
        "Correct --source."
    )


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture."""

    number: int  # since the start, from 1
    taken: float  # monotonic seconds
    captured_at: float  # seconds since 1970
    picture: NDArray[np.uint8]  # BGR [H,W,3]
    name: str | None = None


class Reader(Protocol):
    """An opened source."""

    name: str | None  # of the last picture's file

    def read(self) -> NDArray[np.uint8] | None:
        """The next picture, BGR [H,W,3], waited for; None at the end or where the camera is gone."""
        ...

    def close(self) -> None: ...


class Mailbox:
    """One place for the newest picture."""

    def __init__(self) -> None:
        self.dropped = 0
        self._condition = threading.Condition()
        self._frame: Frame | None = None

    def put(self, frame: Frame, *, wait_s: float = 0.0) -> bool:
        """Leave a picture; one that is still there is replaced, or waited for: False where it stayed for `wait_s`."""
        with self._condition:
            if wait_s and not self._condition.wait_for(lambda: self._frame is None, wait_s):
                return False
            self.dropped += self._frame is not None
            self._frame = frame
            self._condition.notify_all()
            return True

    def take(self, timeout_s: float) -> Frame | None:
        """The newest picture; None where none came in time."""
        with self._condition:
            self._condition.wait_for(lambda: self._frame is not None, timeout_s)
            frame, self._frame = self._frame, None
            self._condition.notify_all()
            return frame


class Capture:
    """The thread that fills the mailbox. `every`: no picture is dropped, and a file is read as fast as it can be."""

    def __init__(
        self,
        source: Source,
        *,
        every: bool = False,
        opener: Callable[[], Reader] | None = None,
        say: Callable[[Status], None] = lambda status: None,
    ) -> None:
        self.source = source
        self.mailbox = Mailbox()
        self.frames = 0
        self._every = every or source.kind == "folder"
        self._open = opener or (lambda: open_reader(source, paced=not self._every))
        self._say = say
        self._status = Status("starting", f"{source} is being opened.")
        self._last = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self) -> None:
        self._last = time.monotonic()
        self._thread.start()

    def close(self) -> None:
        """Let the camera go. A read that hangs is left to itself: the thread does not keep the program alive."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def status(self) -> Status:
        """How it is now; a camera that gives nothing for two seconds has stalled, whatever it says itself."""
        silent_s = time.monotonic() - self._last
        if self._status.state in ("live", "starting") and self.source.live and silent_s > STALL_S:
            return Status("stalled", f"{self.source} has given no picture for {silent_s:.0f} s.")
        return self._status

    def _run(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            before = self.frames
            reason = self._once()
            if self._stop.is_set():
                return
            if not self.source.live:
                self._tell("ended", reason or f"{self.source} is at its end, after {self.frames} pictures.")
                return
            attempt = 0 if self.frames > before else attempt + 1
            self._tell("lost", f"{reason or f'{self.source} gives no more pictures.'} It is tried again and again.")
            self._stop.wait(_AGAIN_S[min(attempt, len(_AGAIN_S) - 1)])

    def _once(self) -> str | None:
        """Open the source and take its pictures until there are no more; returns why it could not be, if so."""
        try:
            reader = self._open()
        except Lc2ferError as error:
            return str(error)
        except OSError as error:
            return f"{self.source} cannot be opened ({error.strerror}). It was there before. Look for it."
        try:
            self._drain(reader)
        except cv2.error as error:
            reason = without(self.source.place, str(error).splitlines()[-1].strip())
            return f"OpenCV cannot read {self.source} ({reason})."
        finally:
            reader.close()
        return None

    def _drain(self, reader: Reader) -> None:
        while not self._stop.is_set():
            picture = reader.read()
            if picture is None:
                return
            self._last = time.monotonic()
            self.frames += 1
            if self._status.state != "live":
                self._tell("live", f"{self.source} gives pictures of {picture.shape[1]}x{picture.shape[0]}.")
            frame = Frame(self.frames, self._last, time.time(), picture, reader.name)
            while not self.mailbox.put(frame, wait_s=0.2 if self._every else 0.0) and not self._stop.is_set():
                pass

    def _tell(self, state: str, text: str) -> None:
        if self._status != Status(state, text):
            self._status = Status(state, text)
            self._say(self._status)


def open_reader(source: Source, *, paced: bool) -> Reader:
    """An opened camera, stream, file (`paced`: at its own frame rate, as a camera would) or folder.

    Raises DataError where it cannot be opened, TargetUnavailable where this OpenCV cannot open such a source.
    """
    if source.kind == "folder":
        return _Folder(Path(source.place))
    with suppress(AttributeError):  # not every OpenCV can be told to leave the telling to us
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    capture = _opened(source)
    if not capture.isOpened():
        capture.release()
        raise DataError(f"{source} cannot be opened. Expected a camera or video that OpenCV reads. {hint(source)}")
    return _Video(capture, paced=paced and source.kind == "file")


def check(source: Source) -> None:
    """Raise TargetUnavailable where this OpenCV cannot open such a source; no camera is touched."""
    if source.kind == "csi" and not re.search(r"GStreamer:\s*YES", cv2.getBuildInformation()):
        raise TargetUnavailable(
            f"{source} cannot be used: OpenCV {cv2.__version__} is built without GStreamer, which CSI cameras need. "
            "JetPack's own OpenCV was expected. Run: pip uninstall opencv-python opencv-python-headless; "
            "sudo apt install python3-opencv."
        )


def _opened(source: Source) -> Any:
    check(source)
    if source.kind == "csi":
        return cv2.VideoCapture(_CSI.format(source.place), cv2.CAP_GSTREAMER)
    if source.kind == "usb":
        return cv2.VideoCapture(int(source.place), cv2.CAP_V4L2)
    if source.kind == "stream":
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_MS]
        return cv2.VideoCapture(source.place, cv2.CAP_FFMPEG, limits)
    return cv2.VideoCapture(source.place, cv2.CAP_ANY)


def hint(source: Source) -> str:
    """Where to look when a source gives nothing."""
    return {
        "csi": "Look at: ls /dev/video*; systemctl status nvargus-daemon.",
        "usb": "Look at: ls -l /dev/video*; and the group video.",
        "stream": "Check the address, and that the camera is on.",
    }.get(source.kind, "Copy the file again, or convert it to MP4 with H.264.")


class _Video:
    """What OpenCV reads; a file can be paced, by the clock and not by sleeping the same time after each picture."""

    def __init__(self, capture: Any, *, paced: bool) -> None:
        self.name: str | None = None
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        self._capture = capture
        self._period_s = 1 / (fps if 1 <= fps <= 240 else _USUAL_FPS) if paced else 0.0
        self._due = time.monotonic()

    def read(self) -> NDArray[np.uint8] | None:
        found, picture = self._capture.read()
        if not found:
            return None
        if self._period_s:
            time.sleep(max(0.0, self._due - time.monotonic()))
            self._due = max(self._due + self._period_s, time.monotonic() - self._period_s)
        return np.asarray(picture, np.uint8)

    def close(self) -> None:
        self._capture.release()


class _Folder:
    """A folder's pictures by name; one that cannot be read is left out, and said."""

    def __init__(self, folder: Path) -> None:
        self.name: str | None = None
        self._paths = iter(sorted(path for path in folder.iterdir() if pictures.is_named(path)))

    def read(self) -> NDArray[np.uint8] | None:
        from rich.console import Console

        for path in self._paths:
            try:
                rgb = np.asarray(pictures.read(path).image)
            except DataError as error:
                text = printable(f"{error} It is left out.")
                Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
                continue
            self.name = path.name
            return np.ascontiguousarray(rgb[:, :, ::-1])  # RGB -> BGR
        return None

    def close(self) -> None:
        pass

"""Pictures from a camera, a stream, a file or a folder, taken in a thread of their own.

The newest picture waits in a mailbox of one place and replaces the one before: whoever looks at pictures always gets a
fresh one, and being slow costs pictures, not time. A camera that goes away is opened again until it comes back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lc2fer.errors import Lc2ferError

from .address import without
from .readers import Reader, open_reader
from .scene import Status
from .source import Source, Wish

STALL_S = 2.0  # without a picture for so long a camera is called stalled
_AGAIN_S = (0.5, 1.0, 2.0, 5.0)  # waits between attempts to open a camera; the last one is repeated


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture."""

    number: int  # since the start, from 1
    taken: float  # monotonic seconds
    captured_at: float  # seconds since 1970
    picture: NDArray[np.uint8]  # BGR [H,W,3]
    name: str | None = None
    film_s: float | None = None  # of a film, since its first picture


class Mailbox:
    """One place for the newest picture."""

    def __init__(self, arrived: threading.Event | None = None) -> None:
        """`arrived` is set at each picture, for who waits at several mailboxes."""
        self.dropped = 0
        self._arrived = arrived or threading.Event()
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
        self._arrived.set()
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
        wish: Wish | None = None,
        arrived: threading.Event | None = None,
        opener: Callable[[], Reader] | None = None,
        say: Callable[[Status], None] = lambda status: None,
    ) -> None:
        self.source = source
        self.mailbox = Mailbox(arrived)
        self.frames = 0
        self.fps = 0.0  # as the opened source says
        self._every = every or source.alone
        self._open = opener or (lambda: open_reader(source, paced=not self._every, wish=wish))
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

    @property
    def hangs(self) -> bool:
        """Whether it was closed, and its thread is still in a read."""
        return self._stop.is_set() and self._thread.is_alive()

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
        """Open the source and take its pictures until there are no more; returns why these are not all, if so."""
        try:
            reader = self._open()
        except Lc2ferError as error:
            return str(error)
        except OSError as error:
            return f"{self.source} cannot be opened ({error.strerror}). It was there before. Look for it."
        self.fps = reader.fps
        try:
            self._drain(reader)
            return reader.cut() or None
        except cv2.error as error:
            reason = without(self.source.place, str(error).splitlines()[-1].strip())
            return f"OpenCV cannot read {self.source} ({reason})."
        finally:
            reader.close()

    def _drain(self, reader: Reader) -> None:
        while not self._stop.is_set():
            picture = reader.read()
            if picture is None:
                return
            self._last = time.monotonic()
            self.frames += 1
            if self._status.state != "live":
                text = f"{self.source} gives pictures of {picture.shape[1]}x{picture.shape[0]}."
                self._tell("live", f"{text} {reader.missed(picture)}".rstrip())
            frame = Frame(self.frames, self._last, time.time(), picture, reader.name, reader.film_s)
            while not self.mailbox.put(frame, wait_s=0.2 if self._every else 0.0) and not self._stop.is_set():
                pass

    def _tell(self, state: str, text: str) -> None:
        if self._status != Status(state, text):
            self._status = Status(state, text)
            self._say(self._status)

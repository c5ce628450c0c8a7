"""How a process ends: by SIGTERM as by Ctrl-C, and where a library keeps a thread."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_code = 0


class Terminated(KeyboardInterrupt):
    """SIGTERM came: of `timeout`, a container that stops, a cancelled job."""


@contextmanager
def tidily() -> Iterator[None]:
    """SIGTERM raises Terminated here, so that what was begun is tidied up; a second one ends the process at once."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # somebody else listens
        yield
        return

    def end(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def with_code(code: int) -> int:
    """The same; this process ends with it."""
    global _code
    _code = code
    return code


def at_once_where(kept: Callable[[], bool]) -> None:
    """At its end the process leaves without waiting for anything where `kept()` is true then.

    As where the read of a camera that froze does not return: Python ends such a thread where it comes back, inside the
    library. Up to Python 3.13 C++ then aborts the whole process, and its exit code is lost. To be called before what
    has to be tidied up at the end is made: that comes first.
    """

    def leave() -> None:
        if kept():
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError, AttributeError):  # closed, full, or none
                    stream.flush()
            os._exit(_code)

    atexit.register(leave)

"""The end of a process in which a library keeps a thread, as where the read of a camera that froze does not return.

Python ends such a thread where it comes back, inside the library. Up to Python 3.13 C++ then aborts the whole process,
and its exit code is lost.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import suppress

_code = 0


def with_code(code: int) -> int:
    """The same; this process ends with it."""
    global _code
    _code = code
    return code


def at_once_where(kept: Callable[[], bool]) -> None:
    """At its end the process leaves without waiting for anything where `kept()` is true then.

    To be called before what has to be tidied up at the end is made: that comes first.
    """

    def leave() -> None:
        if kept():
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError, AttributeError):  # closed, full, or none
                    stream.flush()
            os._exit(_code)

    atexit.register(leave)

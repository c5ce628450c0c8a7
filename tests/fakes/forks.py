"""Work in a fork of this process, as servers that fork do it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

_PATIENCE_S = 60.0


def forked(work: Callable[[], object]) -> str:
    """What `work` returns, or says, in a fork of this process; "hangs" after a minute."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = str(work())
        except BaseException as error:
            text = str(error)
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    ends = time.monotonic() + _PATIENCE_S
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > ends:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return "hangs"
        time.sleep(0.005)
    with os.fdopen(reading) as pipe:
        return pipe.read()

"""A GPU of the tests: memory is the host's, and streams hold their work until somebody waits for it.

So a copy that is forgotten, a wait that is missing and an address that is not the device's change the answer or raise.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

Work = Callable[[], None]

asked = False  # whether anybody has counted the devices yet
host: dict[int, ctypes.Array[ctypes.c_char]] = {}
device: dict[int, ctypes.Array[ctypes.c_char]] = {}
streams: dict[int, Stream] = {}


class Stream:
    def __init__(self) -> None:
        self.handle = 0x1000 + 0x10 * len(streams)
        self.pending: list[Work] = []
        self.captured: list[Work] | None = None  # while a capture is under way
        streams[self.handle] = self

    def put(self, work: Work) -> None:
        (self.pending if self.captured is None else self.captured).append(work)

    def wait(self) -> None:
        assert self.captured is None, "a stream cannot be waited for while it is captured"
        while self.pending:
            self.pending.pop(0)()


def settings(name: str, default: str) -> str:
    """What a test asks for: FAKE_GPU_STATUS, FAKE_GPU_INTEGRATED, FAKE_TENSORRT_VERSION, ..."""
    return os.environ.get(f"FAKE_{name}", default)


def allocate(table: dict[int, ctypes.Array[ctypes.c_char]], count: int) -> int:
    memory = ctypes.create_string_buffer(count)
    table[ctypes.addressof(memory)] = memory
    return ctypes.addressof(memory)


def copy(to: int, source: int, count: int, *, upload: bool) -> None:
    destination, origin = (device, host) if upload else (host, device)
    assert to in destination, "the copy's destination is not where it should be"
    assert source in origin, "the copy's source is not where it should be"
    ctypes.memmove(to, source, count)


def left() -> list[str]:
    """What was allocated and not freed."""
    return [name for name, table in (("host", host), ("device", device), ("streams", streams)) if table]

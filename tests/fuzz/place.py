"""What all readers have in common: a reader, a folder in memory, and the folder's files."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SIZE = 32  # pixels a side of the small models


@dataclass(frozen=True)
class Reader:
    """How bytes are read, where the reading looks, and what good bytes look like."""

    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    modules: tuple[str, ...]  # whose branches the fuzzer follows
    native: bool = False  # whether an engine's own code reads the bytes, in which a crash is not this project's


@cache
def folder() -> Path:
    """A folder of this process, in memory where there is one."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    made = tempfile.TemporaryDirectory(prefix="lc2fer-fuzz-", dir=place)
    _KEPT.append(made)
    os.environ["LC2FER_CACHE"] = f"{made.name}/cache"
    return Path(made.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def put(name: str, data: bytes) -> Path:
    path = folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()

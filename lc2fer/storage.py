"""Where this project keeps what it can make again: procedural faces, compiled kernels, what was checked here."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """LC2FER_CACHE, else a folder in the user's cache."""
    chosen = os.environ.get("LC2FER_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(chosen) if chosen else (Path(base) if base else Path.home() / ".cache") / "lc2fer"

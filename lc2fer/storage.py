"""Where this project keeps what it can make again: procedural faces, compiled kernels, what was checked here."""

from __future__ import annotations

import os
from pathlib import Path

from lc2fer.errors import UsageError

_VARIABLE = "LC2FER_CACHE"


def cache_folder() -> Path:
    """LC2FER_CACHE, else a folder in the user's cache; raises UsageError for a user without a home and neither."""
    chosen = os.environ.get(_VARIABLE)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(chosen) if chosen else (Path(base) if base else Path.home() / ".cache") / "lc2fer"
    except RuntimeError:
        raise UsageError(
            "This user has no home directory. A place to keep what is made once was expected. "
            f"Set {_VARIABLE} to a folder of yours, as in {_VARIABLE}=/var/tmp/lc2fer."
        ) from None


def unwritable(filename: object) -> str | None:
    """What to say of a file or folder that could not be written, where it belongs to the cache; None for others."""
    try:
        folder, path = cache_folder().absolute(), Path(os.fsdecode(filename)).absolute()  # type: ignore[arg-type]
    except (UsageError, TypeError):
        return None
    if path != folder and folder not in path.parents and path not in folder.parents:
        return None
    return (
        f"The cache {folder} cannot be written ({path}). A folder of yours was expected. "
        f"Set {_VARIABLE} to one, as in {_VARIABLE}=/var/tmp/lc2fer."
    )

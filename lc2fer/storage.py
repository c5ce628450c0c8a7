"""Where this project keeps what it can make again (faces, kernels, what was checked here), and who may write where."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lc2fer.errors import UsageError

_VARIABLE = "LC2FER_CACHE"
_LONGEST = 255  # bytes of a file's name, on the usual file systems


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


@contextmanager
def alone(folder: Path, what: str, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Keep others of `what` ("training") out of a folder, which is made; raises UsageError where one is in it.

    With `wait` that one is waited for, and `wait` is told so. Of a run's several processes the first does so. The
    system lets go of the folder however the process ends.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if wait is None:
                raise UsageError(
                    f"Another {what} writes into {folder} now. One at a time was expected. Wait for it, or choose "
                    "another --out."
                ) from None
            wait(f"Another {what} writes into {folder} now: waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(lock)


def fitting(stem: str, ending: str) -> str:
    """A file's name of both, the stem cut at its end where the name would be too long for a file system."""
    while len(os.fsencode(stem + ending)) > _LONGEST and stem:
        stem = stem[:-1]
    return stem + ending


def move(made: Path, place: Path) -> None:
    """Move a file to its place in one step: a reader finds the old one or the new one, also after a loss of power."""
    flush(made)
    os.replace(made, place)


def flush(path: Path) -> None:
    """Have the disk keep a file, or a folder and all in it, before it is moved to its place: boards lose power."""
    inside = [*path.rglob("*"), path] if path.is_dir() else [path]
    for one in inside:
        if os.name == "posix" or not one.is_dir():
            descriptor = os.open(one, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

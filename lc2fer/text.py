"""Names from outside as text: what a terminal would obey is written out, and what an encoding cannot say as well."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

QUIET = "LC2FER_QUIET"  # set for this process and those that it starts

_KEPT = "\n\t\r"  # that tables, progress and tracebacks are made of
_ESCAPED = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in _KEPT}


def printable(text: object) -> str:
    """The text, or a path, as one line that every terminal takes: a file may be named ESC]0;...

    What cannot be seen is written out: control characters, marks that turn the direction of writing, bytes that are no
    UTF-8.
    """
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in str(text))


def stderr_console() -> Console:
    """Where progress and remarks go: standard error, or nowhere after --quiet."""
    from rich.console import Console

    return Console(stderr=True, quiet=bool(os.environ.get(QUIET)))


def remark(text: str) -> None:
    """A line for whoever waits: to standard error, or nowhere after --quiet."""
    if not os.environ.get(QUIET):
        print(text, file=sys.stderr, flush=True)


@contextmanager
def quietly() -> Iterator[None]:
    """No progress and no remarks, here and in processes that are started meanwhile."""
    before = os.environ.get(QUIET)
    os.environ[QUIET] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[QUIET]
        else:
            os.environ[QUIET] = before


class _Plain:
    """An output that writes control characters out; everything else is that of the stream in it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(text.translate(_ESCAPED))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def safe_outputs() -> Iterator[None]:
    """Both outputs take any name: what their encoding cannot say is written out (\\udce9, \\xe9).

    Standard output, where names stand in tables, also writes out control characters; colours and bars are on the other.
    """
    outputs: tuple[Any, ...] = (sys.stdout, sys.stderr)
    for stream in outputs:
        with suppress(AttributeError, ValueError, OSError):  # replaced by a test's own, or closed
            stream.reconfigure(errors="backslashreplace")
    before: Any = sys.stdout
    if before is not None:  # there is none below pythonw
        sys.stdout = _Plain(before)
    try:
        yield
    finally:
        sys.stdout = before


_machines: list[Any] = []  # standard output, while what people read goes to the other


@contextmanager
def tables_apart() -> Iterator[None]:
    """What is printed meanwhile goes to standard error where standard output is no terminal.

    So a program that reads standard output finds `print_json`'s lines there and nothing else.
    """
    before: Any = sys.stdout
    if before is None or sys.stderr is None or before.isatty():
        yield
        return
    _machines.append(before)
    sys.stdout = _Plain(sys.stderr)
    try:
        yield
    finally:
        sys.stdout = before
        _machines.pop()


def print_json(line: str) -> None:
    """A line for programs: on standard output, at once."""
    print(line, file=_machines[-1] if _machines else sys.stdout, flush=True)

"""A thread that dies ends the program, with its reason: nobody waits for pictures that nobody takes any more."""

from __future__ import annotations

import threading
from types import TracebackType

from lc2fer.errors import Lc2ferError


class Deaths:
    """While it is open, the first thread of the process that an error ends sets `stop`; `tell` raises its reason."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._first: tuple[str, BaseException] | None = None

    def tell(self) -> None:
        """Raise what ended the first thread, if one ended: as it is, where its words are for users."""
        if self._first is None:
            return
        name, error = self._first
        if isinstance(error, (Lc2ferError, OSError, MemoryError)):
            raise error
        raise Lc2ferError(
            f"The thread {name} ended with {type(error).__name__}: {str(error).rstrip('.') or 'no reason'}. It was "
            "expected to work as long as the program. Start it again, and report it with what --debug prints."
        ) from error

    def _died(self, died: threading.ExceptHookArgs) -> None:
        if died.exc_value is None or self._first is not None:
            return
        self._first = ("of the program" if died.thread is None else died.thread.name, died.exc_value)
        self._stop.set()

    def __enter__(self) -> Deaths:
        self._before = threading.excepthook
        threading.excepthook = self._died
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        threading.excepthook = self._before

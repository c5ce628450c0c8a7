"""HTTP for the page and the server of models, which waits for a request no longer than a client needs to send one."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE_S = 10.0  # for the first request of a connection, with all its headers
TAKING_S = 60.0  # that a client may take nothing of an answer that waits for it


class Patient(H11Protocol):
    """Ends a connection that has sent no whole request by then, or takes no answer: many would take all places."""

    _taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._ends = self.loop.call_later(PATIENCE_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ends.cancel()
        self._takes()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        asked: Any = self.cycle  # None before the first request
        if asked is None and not self.transport.is_closing():
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._takes()
        self._taking = self.loop.call_later(TAKING_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._takes()

    def _takes(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

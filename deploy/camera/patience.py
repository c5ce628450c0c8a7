"""HTTP for the page and the server of models, which waits for a request no longer than a client needs to send one."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE_S = 10.0  # for the first request of a connection, with all its headers


class Patient(H11Protocol):
    """Ends a connection that has sent no whole request by then: many of them would take the places of all others."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._ends = self.loop.call_later(PATIENCE_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ends.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        asked: Any = self.cycle  # None before the first request
        if asked is None and not self.transport.is_closing():
            self.transport.close()

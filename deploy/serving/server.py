"""A model over HTTP in KServe's protocol, version 2: what clients of Triton and of OpenVINO Model Server speak."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from threading import Thread
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lc2fer.errors import Lc2ferError, UsageError
from lc2fer.session import Session

from ..camera.listening import (
    OPTIONS,
    asked_for_loopback,
    check_token,
    failure,
    is_loopback,
    listen,
    split_address,
    stranger,
)
from . import protocol
from .metrics import CONTENT_TYPE, Metrics
from .waiting import Closed, Full, Late, Queue

_JSON_BYTES = 16  # of a number, with what is between two
_HEAD_BYTES = 1 << 16
_HEADER = "inference-header-content-length"
_HEALTH = ("/v2/health/live", "/v2/health/ready")
_BODIES = 4  # of the largest requests, read at the same time
_SMALL = 1 << 16  # bytes of a body that is read in the loop; a larger one would keep other requests from it
_UPLOAD_S = 60.0  # that a body may take to come
_OPTIONS: dict[str, Any] = {**OPTIONS, "timeout_graceful_shutdown": 10}


@dataclass(frozen=True)
class Limits:
    """What one server takes on."""

    most: int = 32  # images of a batch
    queue: int = 256  # images that wait
    timeout_s: float = 5.0  # that a request waits, unless it says less


class Server:
    """A session that is being served in threads of its own; leaving the block, or `close`, answers what waits first."""

    def __init__(
        self, session: Session, name: str, address: tuple[str, int], token: str | None, limits: Limits = Limits()
    ) -> None:
        """Raises UsageError for a token that is too short, and an address that cannot be had."""
        check_token(token)
        listener = listen(*address, "model", backlog=512)
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        self.url = f"http://{host}:{listener.getsockname()[1]}"
        self.metrics = Metrics(name, lambda: self.queue.images)
        self.queue = Queue(session.run, most=limits.most, capacity=limits.queue, tell=self.metrics.ran)
        self._site = _Site(session, name, self.queue, self.metrics, limits)
        guard = _Guard(self._site.app(), token, is_loopback(address[0]))
        self._server = uvicorn.Server(uvicorn.Config(guard, **_OPTIONS))
        self._thread = Thread(target=partial(self._server.run, sockets=[listener]), name="http", daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)

    def check(self) -> None:
        """Raise Lc2ferError where the server has died."""
        if not self._thread.is_alive():
            raise Lc2ferError(
                f"The server at {self.url} is there no more. It was expected until the program's end. Start the "
                "program again, and report it with what it printed before."
            )

    def close(self) -> None:
        """Say that it is not ready, answer what waits, and end."""
        self._site.ready = False
        self.queue.close()
        self._server.should_exit = True
        self._thread.join(timeout=15)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Site:
    """The answers to requests."""

    def __init__(self, session: Session, name: str, queue: Queue, metrics: Metrics, limits: Limits) -> None:
        self.ready = True
        self._artifact = session.artifact
        self._name = name
        self._queue = queue
        self._metrics = metrics
        self._limits = limits
        numbers = limits.queue * math.prod(session.artifact.input_spec.shape)
        self._most_bytes = _JSON_BYTES * numbers + _HEAD_BYTES
        self._held_bytes = 0  # of bodies that are being read

    def app(self) -> Starlette:
        own = f"/v2/models/{self._name}"
        routes = [
            Route("/v2", self._about),
            Route("/metrics", self._figures),
            *(Route(path, self._health) for path in _HEALTH),
        ]
        for place in (own, f"{own}/versions/{protocol.VERSION}"):
            routes += [
                Route(place, self._metadata),
                Route(f"{place}/config", self._config),
                Route(f"{place}/ready", self._health),
                Route(f"{place}/infer", self._infer, methods=["POST"]),
            ]
        routes += [Route("/v2/repository/index", self._index, methods=["POST"])]
        handlers: Any = {HTTPException: self._refusal, Exception: failure}
        return Starlette(routes=routes, exception_handlers=handlers)

    async def _about(self, request: Request) -> Response:
        return JSONResponse(protocol.server(metadata.version("lc2fer")))

    async def _health(self, request: Request) -> Response:
        if self.ready or request.url.path.endswith("/live"):
            return Response()
        raise HTTPException(503, "The server is ending. Expected one that goes on. Ask another one.")

    async def _metadata(self, request: Request) -> Response:
        return JSONResponse(protocol.metadata(self._name, self._artifact))

    async def _config(self, request: Request) -> Response:
        return JSONResponse(protocol.config(self._name, self._artifact, self._limits.most))

    async def _index(self, request: Request) -> Response:
        state = "READY" if self.ready else "UNAVAILABLE"
        return JSONResponse([{"name": self._name, "version": protocol.VERSION, "state": state, "reason": ""}])

    async def _figures(self, request: Request) -> Response:
        return Response(self._metrics.text(), media_type=None, headers={"Content-Type": CONTENT_TYPE})

    async def _infer(self, request: Request) -> Response:
        start = time.perf_counter()
        status = 500
        try:
            response = await self._inferred(request)
            status = response.status_code
            return response
        except HTTPException as refusal:
            status = refusal.status_code
            raise
        finally:
            self._metrics.answered(status, time.perf_counter() - start)

    async def _inferred(self, request: Request) -> Response:
        head = request.headers.get(_HEADER)
        if head is not None and not re.fullmatch("[0-9]{1,9}", head):
            raise HTTPException(400, f"{_HEADER} is {head!r}. Expected a number of bytes. Correct it.")
        coding = request.headers.get("content-encoding", "identity")
        if coding != "identity":
            raise HTTPException(415, f"The body is in {coding}. Expected it as it is. Send it without compression.")
        with self._room() as take:
            body = await self._body(request, take)
            call = partial(protocol.parse, body, None if head is None else int(head), self._artifact)
            try:
                binary = head is not None or len(body) < _SMALL
                asked = call() if binary else await asyncio.get_running_loop().run_in_executor(None, call)
            except protocol.Refused as reason:
                raise HTTPException(400, str(reason)) from None
        if len(asked.pixels) > self._limits.queue:
            raise HTTPException(
                413, f"{len(asked.pixels)} images came. Expected at most {self._limits.queue}. Send them in parts."
            )
        timeout_s = min(self._limits.timeout_s, asked.timeout_s or math.inf)
        try:
            logits = await asyncio.wrap_future(self._queue.put(asked.pixels, timeout_s))
        except Full as full:
            raise HTTPException(
                503,
                f"{full.waiting} images wait, and no more than {self._limits.queue} may. Expected fewer. Try again "
                "after the seconds of Retry-After.",
                {"Retry-After": str(max(1, math.ceil(full.retry_s)))},
            ) from None
        except Late:
            raise HTTPException(
                504, f"No session was free within {timeout_s:g} s. Expected one sooner. Try again, or allow more time."
            ) from None
        except Closed:
            raise HTTPException(
                503, "The server is ending. Expected one that goes on. Ask another one.", {"Retry-After": "1"}
            ) from None
        labels = self._artifact.input_spec.labels
        content, size = protocol.answer(self._name, asked, logits, labels)
        if size is None:
            return Response(content, media_type="application/json")
        return Response(content, media_type="application/octet-stream", headers={_HEADER: str(size)})

    async def _refusal(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        text, path = error.detail, request.url.path
        if error.status_code == 404:
            text = f"There is nothing at {path!r}. Expected the model {self._name!r}. Ask /v2/models/{self._name}."
        elif error.status_code == 405:
            expected = ", ".join(sorted(re.findall("[A-Z]+", (error.headers or {}).get("Allow", ""))))
            text = f"{request.method} was asked of {path!r}. Expected {expected}. Ask so."
        return JSONResponse({"error": text}, error.status_code, error.headers)

    @contextmanager
    def _room(self) -> Iterator[Callable[[int], None]]:
        """What a request calls with the bytes that it brings: refused where all of them together are too many."""
        own = 0

        def take(count: int) -> None:
            nonlocal own
            if self._held_bytes + count > _BODIES * self._most_bytes:
                raise HTTPException(
                    503,
                    f"Requests of {self._held_bytes:,} bytes are being read, and no more than "
                    f"{_BODIES * self._most_bytes:,} may. Expected fewer. Try again after the seconds of Retry-After.",
                    {"Retry-After": "1"},
                )
            self._held_bytes += count
            own += count

        try:
            yield take
        finally:
            self._held_bytes -= own

    async def _body(self, request: Request, take: Callable[[int], None]) -> bytes:
        try:
            return await asyncio.wait_for(self._read(request, take), _UPLOAD_S)
        except asyncio.TimeoutError:
            raise HTTPException(
                408,
                f"The body did not come whole in {_UPLOAD_S:g} s. Expected it sooner. Send fewer images at once.",
            ) from None

    async def _read(self, request: Request, take: Callable[[int], None]) -> bytes:
        """The body, read no further than what is allowed."""
        parts, size = [], 0
        async for part in request.stream():
            take(len(part))
            parts.append(part)
            size += len(part)
            if size > self._most_bytes:
                raise HTTPException(
                    413,
                    f"The request has more than {self._most_bytes:,} bytes. Expected at most {self._limits.queue} "
                    "images. Send them in parts.",
                )
        return b"".join(parts)


@dataclass(frozen=True)
class _Guard:
    """Refuses who may not ask before anything else looks at the request; whether it lives everyone may ask."""

    app: ASGIApp
    token: str | None
    local: bool  # on this machine alone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._refused(scope) or self.app)(scope, receive, send)

    def _refused(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.local and not asked_for_loopback(host):
            text = f"The request was for the host {host!r}. Expected localhost or 127.0.0.1. Ask under that name."
            return JSONResponse({"error": text}, 403)
        if self.local and headers.get("origin") is not None:
            text = f"The request came from a page of {headers['origin']}. Expected a program. Ask without a browser."
            return JSONResponse({"error": text}, 403)
        if self.token is None or scope["path"] in _HEALTH:
            return None
        return stranger(headers, self.token, "server", "Send it as Authorization: Bearer.")


def parse_address(text: str, *, token: str | None, anyone: bool) -> tuple[str, int]:
    """Host and port of "8000", "HOST:PORT" or "[::1]:8000"; raises UsageError where it would be open to everyone."""
    host, port = split_address(text, "a server")
    if token is None and not anyone and not is_loopback(host):
        raise UsageError(
            f"The model would be open to everyone who reaches {text}. Expected a token for any address but 127.0.0.1, "
            "or the word that it is meant. Give --token auto, which makes one, or --anyone."
        )
    return host, port

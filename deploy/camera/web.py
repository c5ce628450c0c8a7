"""The page of a running pipeline: its newest picture with what was seen in it, and pictures of the viewer's own.

Nothing is written to disk, and no viewer has a queue: who is slow asks less often and gets the newest picture.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Barrier, Thread
from typing import Any
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lc2fer import pictures
from lc2fer.errors import DataError, Lc2ferError, UsageError

from .listening import OPTIONS, asked_for_loopback, check_token, failure, is_loopback, listen, split_address, stranger
from .scene import Scene, Viewable

_PAGE = Path(__file__).with_name("page")
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FILES = {f"/{path.name}".replace("/index.html", "/"): path for path in _PAGE.iterdir() if path.suffix in _TYPES}

_POLL_S = 10.0  # the longest wait for a picture
_SLICE_S = 0.5  # the part of it that a thread waits: in between, who went away and `close` are noticed
_UPLOAD_S = 30.0
_MAX_BYTES = 10_000_000
_LINK = "Open the address that the program printed."  # where a token is missing
_JUDGES = 2  # pictures of viewers judged at the same time
_MAX_JUDGING = 8  # with those that wait for it
_OPTIONS: dict[str, Any] = {**OPTIONS, "limit_concurrency": 128, "timeout_graceful_shutdown": 2}

_ENGINE = "/engine"  # where the folder lies by which a viewer's browser judges
_CODE = (".js", ".mjs", ".wasm")  # of it: a page cannot send a token with what it imports; models want one
_KEPT = {"Cache-Control": "no-cache"}  # by the viewer's browser, which asks whether it is still the same


def _headers(engine: bool) -> dict[str, str]:
    """Of every answer; no browser compiles WebAssembly that the policy does not allow."""
    scripts = "script-src 'self' 'wasm-unsafe-eval'" if engine else "script-src 'self'"
    return {
        "Content-Security-Policy": f"default-src 'none'; {scripts}; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    }


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of "8000", "HOST:PORT", ":8000" or "[::1]:8000"; 127.0.0.1 and 8000 where the text has none."""
    return split_address(text or "8000", "the page")


def serve(live: Viewable, address: tuple[str, int], token: str | None, engine: Path | None = None) -> Server:
    """Serve the page in a thread of its own until `close` (port 0: a free one); UsageError where that must not be.

    `engine` is a folder of web-int8, by which viewers' browsers may judge their own pictures.
    """
    host, port = address
    if token is None and not is_loopback(host):
        raise UsageError(
            f"The page would be open to everyone who reaches {host}:{port}. Expected a token for any address but "
            "127.0.0.1. Give --token auto, which makes one, or set LC2FER_TOKEN."
        )
    check_token(token)
    return Server(live, listen(host, port, "page"), host, token, engine)


def check_engine(folder: Path, labels: Sequence[str]) -> None:
    """Raise UsageError where the folder is none of web-int8, or of other classes than the program's model."""
    expected = "The folder that lc2fer-export --target web-int8 wrote was expected"
    try:
        its = tuple(json.loads((folder / "model.json").read_bytes())["input_spec"]["labels"])
        missing = [name for name in ("engine.js", "parts.json", "face_finder.onnx") if not (folder / name).is_file()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder} has no model.json that says its classes ({error}). {expected}. Name it.") from None
    if missing:
        raise UsageError(f"{folder} has no {', '.join(missing)}. {expected}. Export it again.")
    if its != tuple(labels):
        raise UsageError(
            f"{folder} is for {', '.join(map(str, its))}. The classes of the model that runs were expected: "
            f"{', '.join(labels)}. Export web-int8 of the same weights."
        )


class Server:
    """A page that is being served; leaving the block, or `close`, ends it."""

    def __init__(
        self, live: Viewable, listener: socket.socket, host: str, token: str | None, engine: Path | None
    ) -> None:
        name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{listener.getsockname()[1]}/"
        # The link opens the page without asking for the token, so it is as secret as the token.
        self.link = self.url if token is None else f"{self.url}#token={quote(token, safe='')}"
        self._site = _Site(live, engine)
        guard = _Guard(self._site.app(), token, engine is not None)
        self._server = uvicorn.Server(uvicorn.Config(guard, **_OPTIONS))
        self._thread = Thread(target=partial(self._server.run, sockets=[listener]), name="page", daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)

    def check(self) -> None:
        """Raise Lc2ferError where the page is served no more, and nobody ended it."""
        if not self._thread.is_alive() and not self._site.closing:
            raise Lc2ferError(
                f"The page at {self.url} is served no more. It was expected until the program's end. Start the program "
                "again, and report it with what it printed before."
            )

    def close(self) -> None:
        """End the page; who waits for a picture is answered first."""
        self._site.closing = self._server.should_exit = True
        self._thread.join(timeout=5)
        self._site.threads.shutdown(wait=False, cancel_futures=True)
        self._site.judges.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Site:
    """The answers to requests. What may block runs in threads, as many for a hundred viewers as for one."""

    def __init__(self, live: Viewable, engine: Path | None) -> None:
        self.closing = False
        self.threads = _started(4 + len(live.sources()), "page")  # one each may wait for a picture
        self.judges = _started(_JUDGES, "judge")
        self._live = live
        self._engine = engine
        self._judging = 0
        self._newest: dict[str, int] = {}  # of each source the number of the newest scene that was sent
        self._waits: dict[tuple[str, int], asyncio.Future[tuple[Scene, bytes] | None]] = {}

    def app(self) -> Starlette:
        # Read once: a package that is upgraded meanwhile takes nothing from the page of a program that runs.
        files = (Route(path, partial(_file, file.read_bytes(), file.suffix)) for path, file in _FILES.items())
        asked = Route("/api/picture", self._picture), Route("/api/status", self._status)
        judge = Route("/api/judge", self._judge, methods=["POST"])
        engine: list[BaseRoute] = []
        if self._engine is not None:
            engine = [Mount(_ENGINE, StaticFiles(directory=self._engine))]
        handlers: Any = {HTTPException: _refusal, DataError: _refusal, Exception: failure}
        return Starlette(routes=[*files, *asked, judge, *engine], exception_handlers=handlers)

    async def _status(self, request: Request) -> Response:
        def answer() -> dict[str, Any]:
            live = self._live
            return {
                "status": live.status().to_json(),
                "sources": [{"name": name, **status.to_json()} for name, status in live.sources().items()],
                "facts": dict(live.facts()),
                "labels": list(live.labels),
                "engine": self._engine is not None,
            }

        return JSONResponse(await _in(self.threads, answer))

    async def _picture(self, request: Request) -> Response:
        given = request.query_params.get("after", "0")
        if not re.fullmatch("[0-9]{1,15}", given):
            raise HTTPException(400, f"after={given!r} is no picture's number. Expected 0 or more. Leave it out.")
        names = list(self._live.sources())
        source = request.query_params.get("source", names[0] if names else "")
        if source not in names:
            expected = f"one of {', '.join(names)}" if names else "none: there is no camera here"
            raise HTTPException(404, f"There is no source {source!r}. Expected {expected}. Ask /api/status for them.")
        ends = time.monotonic() + _POLL_S
        while time.monotonic() < ends and not self.closing and not await request.is_disconnected():
            # A page that outlived an earlier run asks for a number that this one has not reached.
            found = await self._newer(source, min(int(given), self._newest.get(source, 0)))
            if found is not None:
                scene, picture = found
                self._newest[source] = max(self._newest.get(source, 0), scene.number)
                seen = json.dumps(scene.to_json(), separators=(",", ":"))
                return Response(picture, media_type="image/jpeg", headers={"LC2FER-Scene": seen})
            await asyncio.sleep(0.05)  # where the pipeline has ended, it does not wait
        return Response(status_code=204)

    async def _newer(self, source: str, number: int) -> tuple[Scene, bytes] | None:
        """All viewers of the same picture wait for the next one in one thread."""
        key = source, number
        wait = self._waits.get(key)
        if wait is None:
            loop = asyncio.get_running_loop()
            wait = self._waits[key] = loop.run_in_executor(self.threads, self._live.picture, *key, _SLICE_S)
            wait.add_done_callback(lambda _: self._waits.pop(key))
        return await asyncio.shield(wait)

    async def _judge(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "no type")
        if not kind.startswith("image/"):
            raise HTTPException(415, f"The request brought {kind}. Expected a picture. Send it as image/jpeg.")
        if self._judging >= _MAX_JUDGING:
            raise HTTPException(503, f"{self._judging} pictures wait. Expected fewer. Try again in a second.")
        self._judging += 1
        try:
            body = await asyncio.wait_for(_body(request), _UPLOAD_S)
            return JSONResponse(await _in(self.judges, partial(self._judged, body)))
        except asyncio.TimeoutError:
            raise HTTPException(408, f"No picture came in {_UPLOAD_S:.0f} s. Expected one. Send it anew.") from None
        finally:
            self._judging -= 1

    def _judged(self, body: bytes) -> dict[str, Any]:
        image = pictures.read(body).image
        started = time.perf_counter()
        faces = self._live.judge(image)
        took_ms = (time.perf_counter() - started) * 1000
        return {"faces": [face.to_json() for face in faces], "size": list(image.size), "ms": round(took_ms, 2)}


@dataclass(frozen=True)
class _Guard:
    """Refuses who may not ask, before anything else looks at the request, and gives every answer its headers."""

    app: ASGIApp
    token: str | None
    engine: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, told = str(scope["path"]), _headers(self.engine)
        of_engine = self.engine and path.startswith(f"{_ENGINE}/")
        if of_engine:
            told |= _KEPT

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.update(told)
                if message["status"] >= 400:  # what else was sent is not read
                    answer["Connection"] = "close"
            await send(message)

        headers = Headers(scope=scope)
        # The page's own files have to be there before it can send a token.
        free = path in _FILES or (of_engine and path.endswith(_CODE))
        wanted = None if free else self.token
        refused = _foreign(headers) if self.token is None else wanted and stranger(headers, wanted, "page", _LINK)
        await (refused or self.app)(scope, receive, guarded)


def _foreign(headers: Headers) -> Response | None:
    """Without a token only this very page may ask: no other site that is open in the same browser, by any name."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if not asked_for_loopback(host):
        text = f"The request was for the host {host!r}. Expected localhost or 127.0.0.1. Open the page under that name."
        return JSONResponse({"error": text}, 403)
    if origin not in (None, f"http://{host}", f"https://{host}"):
        text = f"The request came from a page of {origin}. Expected this page. Use the page's own address."
        return JSONResponse({"error": text}, 403)
    return None


def _started(count: int, name: str) -> ThreadPoolExecutor:
    """A pool whose threads all run from the start: one that grows as it is asked looks like a leak for minutes."""
    threads, together = ThreadPoolExecutor(count, name), Barrier(count)
    wait([threads.submit(together.wait) for _ in range(count)])
    return threads


async def _in(threads: ThreadPoolExecutor, call: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(threads, call)


async def _file(content: bytes, suffix: str, request: Request) -> Response:
    return Response(content, media_type=_TYPES[suffix])


async def _refusal(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)
    return JSONResponse({"error": str(error)}, 422)


async def _body(request: Request) -> bytes:
    """The request's body, read no further than what is allowed."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BYTES:
            raise HTTPException(
                413, f"The picture has more than {_MAX_BYTES:,} bytes. Expected fewer. Make it smaller."
            )
    return bytes(body)

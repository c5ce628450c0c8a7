"""What the page and the model server do alike before a request is looked at: address, token, host, uvicorn."""

from __future__ import annotations

import hmac
import logging
import re
import socket
from types import MappingProxyType
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lc2fer.errors import UsageError

from .patience import Patient

_LOOPBACK = r"localhost|127(?:\.[0-9]{1,3}){3}|\[?::1\]?"
_TOKEN = re.compile(r"[!-~]{16,}")

OPTIONS = MappingProxyType(  # of uvicorn
    {
        "http": Patient,
        "ws": "none",
        "lifespan": "off",
        "access_log": False,
        "server_header": False,
        "log_config": None,
        "log_level": "critical",  # what fails is logged by `failure`
    }
)


def split_address(text: str, what: str) -> tuple[str, int]:
    """Host and port of "8000", "HOST:PORT", ":8000" or "[::1]:8000"; 127.0.0.1 where the text names no host."""
    match = re.fullmatch(r"(?:(\[[^\[\]\s/]+\]|[^\[\]:\s/]*):)?([0-9]{1,5})", text)
    if match is None or int(match[2]) > 65535:
        raise UsageError(
            f"{text!r} is no address for {what}. Expected PORT or HOST:PORT with a port up to 65535. "
            "Give for example 8000, 0.0.0.0:8000 or [::1]:8000."
        )
    return (match[1] or "127.0.0.1").strip("[]"), int(match[2])


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    return re.fullmatch(_LOOPBACK, host) is not None


def asked_for_loopback(host: str) -> bool:
    """The same of a request's Host header, with or without a port: another name may be a site's that rebinds DNS."""
    return re.fullmatch(f"(?:{_LOOPBACK})(?::[0-9]+)?", host.lower()) is not None


def check_token(token: str | None) -> None:
    """Raise UsageError for a token that is too short."""
    if token is not None and not _TOKEN.fullmatch(token):
        raise UsageError(
            f"The token has {len(token)} characters. Expected at least 16 ASCII letters, digits or signs and no space. "
            "Give --token auto, which makes one."
        )


def stranger(headers: Headers, token: str, what: str, hint: str) -> Response | None:
    """The refusal of a request without the token, compared in constant time; None where it has it."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), token.encode()):
        return None
    told = "The token is wrong." if given else "The request has no token."
    text = f"{told} Expected the one of this {what}. {hint}"
    return JSONResponse({"error": text}, 401, {"WWW-Authenticate": "Bearer"})


def listen(host: str, port: int, what: str, **options: Any) -> socket.socket:
    """A socket that listens; raises UsageError for an address that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, **options)
    except (OSError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", error)).split(" (")[0]
        text = f"The {what} cannot be served at {host}:{port}: {reason}. Expected a free port of this machine."
        raise UsageError(f"{text} Give another one, such as 8001.") from None


async def failure(request: Request, error: Exception) -> Response:
    """The answer where the program itself failed."""
    logging.getLogger(__name__).error("%s failed", request.url.path, exc_info=error)
    return JSONResponse({"error": f"The program failed: {type(error).__name__}. Its log says where."}, 500)

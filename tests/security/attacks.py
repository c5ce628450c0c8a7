"""Attacks on the camera's page: `python tests/security/attacks.py --out FILE` tries each and tells what happened.

Each is a function of a server without a token and one with it, and returns a sentence; tests/security/test_attacks.py
holds it to be the one that stands beside it in ATTACKS.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import socket
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))

from client import ask, encoded
from film import TOKEN, Film
from PIL import Image

_SMALL = encoded(Image.new("RGB", (8, 8)), "JPEG")


def address(server: Any) -> tuple[str, int]:
    host, _, port = server.url.removeprefix("http://").strip("/").rpartition(":")
    return host, int(port)


def raw(server: Any, request: bytes, timeout: float = 10) -> bytes:
    """What comes back before the connection ends, or nothing more comes."""
    with socket.create_connection(address(server), timeout=timeout) as connection:
        connection.sendall(request)
        connection.settimeout(timeout)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
                if b"\r\n\r\n" in answer:
                    break
        except (TimeoutError, ConnectionError):
            pass
        return answer


def status(answer: bytes) -> str:
    return answer.split(b" ", 2)[1].decode() if answer.startswith(b"HTTP/") else "no answer"


def rebinding(free: Any, guarded: Any, film: Film) -> str:
    """A name of the attacker's that leads to 127.0.0.1."""
    found = {ask(free, path, Host="evil.example")[0] for path in ("", "api/status", "api/picture")}
    return f"answers {sorted(found)}"


def foreign_post(free: Any, guarded: Any, film: Film) -> str:
    """A page of another site sends a picture to be judged."""
    codes = [
        ask(free, "api/judge", _SMALL, Origin="https://evil.example", Content_Type="image/jpeg")[0],
        ask(guarded, "api/judge", _SMALL, Origin="https://evil.example", Content_Type="image/jpeg")[0],
    ]
    return f"answers {codes}, {len(film.judged)} judged"


def foreign_stream(free: Any, guarded: Any, film: Film) -> str:
    """A page of another site reads pictures."""
    return f"answers {[ask(one, 'api/picture', Origin='http://evil.example')[0] for one in (free, guarded)]}"


def websocket(free: Any, guarded: Any, film: Film) -> str:
    """A handshake, which browsers let every site send."""
    request = (
        b"GET /api/picture HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    return f"answers {status(raw(free, request))}"


def guessing(free: Any, guarded: Any, film: Film) -> str:
    """Parts of the token, the token with more, another scheme, and in the address."""
    tries = ["", TOKEN[:-1], TOKEN + "x", TOKEN.upper()]
    codes = {ask(guarded, "api/status", Authorization=f"Bearer {one}")[0] for one in tries}
    codes |= {
        ask(guarded, f"api/status?token={TOKEN}")[0],
        ask(guarded, "api/status", Authorization=f"Basic {TOKEN}")[0],
    }
    return f"answers {sorted(codes)}, the right one {ask(guarded, 'api/status', Authorization=f'Bearer {TOKEN}')[0]}"


def leaking(free: Any, guarded: Any, film: Film) -> str:
    """The token in logs, answers or what a browser tells the next site."""
    told = io.StringIO()
    handler = logging.StreamHandler(told)
    logging.getLogger().addHandler(handler)
    try:
        answers = [ask(guarded, path, Authorization=f"Bearer {TOKEN}") for path in ("", "api/status", "api/else")]
    finally:
        logging.getLogger().removeHandler(handler)
    seen = TOKEN in told.getvalue() or any(TOKEN.encode() in body for _, _, body in answers)
    referrer = {headers["Referrer-Policy"] for _, headers, _ in answers}
    return f"{'seen' if seen else 'nowhere'}, Referrer-Policy {', '.join(referrer)}, after # in the link"


def inline(free: Any, guarded: Any, film: Film) -> str:
    """A script that somebody got into the page."""
    policy = ask(free, "")[1]["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    return f"script-src {rules['script-src']}, default-src {rules['default-src']}, frames {rules['frame-ancestors']}"


def traversal(free: Any, guarded: Any, film: Film) -> str:
    """Files outside the page."""
    paths = ["/../web.py", "/%2e%2e/web.py", "/..%2fweb.py", "//etc/passwd", "/page/../../web.py", "/index.html%00.js"]
    codes = {status(raw(free, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())) for path in paths}
    return f"answers {sorted(codes)}"


def large(free: Any, guarded: Any, film: Film) -> str:
    """11 MB, told beforehand, and in chunks without an end."""
    head = b"POST /api/judge HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\n"
    codes = [ask(free, "api/judge", bytes(11_000_000), Content_Type="image/jpeg")[0]]
    with socket.create_connection(address(free), timeout=30) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        sent = 0
        try:
            while sent < 64:
                connection.sendall(chunk)
                sent += 1
        except OSError:
            pass
        try:
            codes.append(int(status(connection.recv(65536)) or 0))
        except (OSError, ValueError):
            codes.append(413 if sent < 64 else 0)  # the connection was cut, its answer with it
    return f"answers {codes}, {'cut' if sent < 64 else 'all 64 MB taken'}"


def smuggling(free: Any, guarded: Any, film: Film) -> str:
    """Two lengths for one body, of which a proxy might believe the other."""
    head = b"POST /api/judge HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\n"
    both = raw(
        free, head + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /api/status HTTP/1.1\r\n\r\n"
    )
    twice = raw(free, head + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde")
    return f"answers {both.count(b'HTTP/1.1')} and {status(twice)}, {len(film.judged)} judged"


def headers(free: Any, guarded: Any, film: Film) -> str:
    """A megabyte of headers."""
    answer = raw(free, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n")
    return f"answers {status(answer)}"


def bombs(free: Any, guarded: Any, film: Film) -> str:
    """A PNG of 20,000 x 20,000 pixels in some kilobytes, and an EPS, for which Pillow would start Ghostscript."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    size = (20_000).to_bytes(4, "big")
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size * 2 + b"\x08\x02\0\0\0")
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    )
    eps = encoded(Image.new("RGB", (8, 8)), "EPS")
    codes = [ask(free, "api/judge", each, Content_Type="image/png")[0] for each in (bomb, eps)]
    return f"answers {codes}, {len(film.judged)} judged"


def crowd(free: Any, guarded: Any, film: Film, count: int = 500) -> str:
    """500 connections that send half a request and wait."""
    open_ones = []
    try:
        for _ in range(count):
            connection = socket.create_connection(address(free), timeout=10)
            connection.sendall(b"GET /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            open_ones.append(connection)
        before = film.number()
        time.sleep(1)
        moved = film.number() > before
        ends = time.monotonic() + 40
        code = 0
        while code != 200 and time.monotonic() < ends:
            code = ask(free, "api/status")[0]
            time.sleep(0.5)
        return f"{len(open_ones)} open, the camera {'goes on' if moved else 'stops'}, the page answers {code}"
    finally:
        for connection in open_ones:
            connection.close()


def slow_reader(free: Any, guarded: Any, film: Film) -> str:
    """20 viewers who ask for pictures and read none."""
    open_ones = []
    try:
        for _ in range(20):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(address(free))
            connection.sendall(b"GET /api/picture HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 4)
            open_ones.append(connection)
        started = time.monotonic()
        codes = {ask(free, "api/picture")[0] for _ in range(5)}
        return f"another viewer gets {sorted(codes)} {'at once' if time.monotonic() - started < 5 else 'late'}"
    finally:
        for connection in open_ones:
            connection.close()


Attack = Callable[[Any, Any, Film], str]
ATTACKS: dict[str, tuple[Attack, str]] = {
    "DNS rebinding: another host name": (rebinding, "answers [403]"),
    "cross-site post of a picture": (foreign_post, "answers [403, 401], 0 judged"),
    "cross-site reading of pictures": (foreign_stream, "answers [403, 401]"),
    "WebSocket handshake from another site": (websocket, "answers 403"),
    "guessing the token": (guessing, "answers [401], the right one 200"),
    "the token in logs, answers, Referer": (leaking, "nowhere, Referrer-Policy no-referrer, after # in the link"),
    "a script in the page": (inline, "script-src 'self', default-src 'none', frames 'none'"),
    "files outside the page": (traversal, "answers ['404']"),
    "a body without an end": (large, "answers [413, 413], cut"),
    "request smuggling": (smuggling, "answers 1 and 400, 0 judged"),
    "a megabyte of headers": (headers, "answers 400"),
    "decompression bomb, PostScript": (bombs, "answers [422, 422], 0 judged"),
    "500 connections with half a request": (crowd, "500 open, the camera goes on, the page answers 200"),
    "viewers who read nothing": (slow_reader, "another viewer gets [200] at once"),
}


def tried(name: str) -> str:
    """What happens: against fresh servers."""
    from lc2fer.deploy.camera import web

    film = Film()
    with web.serve(film, ("127.0.0.1", 0), None) as free, web.serve(film, ("127.0.0.1", 0), TOKEN) as guarded:
        return ATTACKS[name][0](free, guarded, film)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    found = {name: tried(name) for name in ATTACKS}
    wrong = [name for name, (_, expected) in ATTACKS.items() if found[name] != expected]
    given.out.write_text(json.dumps({"attacks": found, "wrong": wrong}, indent=1) + "\n", encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

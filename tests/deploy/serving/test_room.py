"""What a server of models holds of requests while they come."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path

import pytest

from lc2fer import open_session

serving = pytest.importorskip("lc2fer.deploy.serving.server", reason="lc2fer[serve] is not installed here")


def test_many_who_send_large_requests_at_once_do_not_take_all_memory(model: Path) -> None:
    with (
        open_session(model, threads=1) as session,
        serving.Server(session, "faces", ("127.0.0.1", 0), None, serving.Limits(1, 1, 5.0)) as server,
    ):
        host, port = server.url.removeprefix("http://").split(":")

        def infer(body: bytes, length: int) -> http.client.HTTPConnection:
            asked = http.client.HTTPConnection(host, int(port), timeout=20)
            asked.putrequest("POST", "/v2/models/faces/infer")
            asked.putheader("Content-Length", str(length))
            asked.endheaders(body)
            return asked

        large = b" " * (server._site._most_bytes - 1000)
        slow = [infer(large, len(large) + 1) for _ in range(serving._BODIES)]
        while server._site._held_bytes < serving._BODIES * len(large):
            time.sleep(0.01)
        refused = infer(large, len(large)).getresponse()
        assert (refused.status, refused.getheader("Retry-After")) == (503, "1")
        assert json.loads(refused.read())["error"].startswith(
            f"Requests of {serving._BODIES * len(large):,} bytes are being read, and no more than "
        )
        for one in slow:
            one.close()
        while server._site._held_bytes:
            time.sleep(0.01)
        assert infer(b"{}", 2).getresponse().status == 400

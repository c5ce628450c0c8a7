"""An MQTT 3.1.1 broker, as far as a publisher with quality of service 0 needs one."""

from __future__ import annotations

import socketserver
import threading
from typing import Any

CONNECT, PUBLISH, PINGREQ, DISCONNECT = 1, 3, 12, 14


class Broker:
    """Keeps what is published."""

    def __init__(self, port: int = 0, answer: int = 0) -> None:
        """`answer`: the return code that it greets with; 0 is welcome, 5 not authorized."""
        broker = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                broker._serve(self.rfile, self.wfile)

        self._greeting = bytes([0x20, 2, 0, answer])  # CONNACK
        self.published: list[tuple[str, bytes]] = []
        self.users: list[bytes] = []  # the packets CONNECT, which hold user and password
        self.left = 0  # publishers that said goodbye
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _serve(self, source: Any, answer: Any) -> None:
        while head := source.read(1):
            length, shift = 0, 0
            while True:
                part = source.read(1)[0]
                length |= (part & 127) << shift
                shift += 7
                if part < 128:
                    break
            body = source.read(length)
            kind = head[0] >> 4
            if kind == CONNECT:
                self.users.append(body)
                answer.write(self._greeting)
            elif kind == PUBLISH:
                size = int.from_bytes(body[:2], "big")
                self.published.append((body[2 : 2 + size].decode(), body[2 + size :]))
            elif kind == PINGREQ:
                answer.write(b"\xd0\x00")
            elif kind == DISCONNECT:
                self.left += 1
                return

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

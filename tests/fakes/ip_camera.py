"""A camera on the network: MJPEG or a film over HTTP from this machine. It stalls, vanishes, returns, sends damaged
pictures.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class IpCamera:
    """Serves JPEG pictures in turn, over and over; `port` stays the same while it is away."""

    def __init__(self, pictures: Sequence[bytes], fps: float = 20.0) -> None:
        self.pictures = list(pictures)
        self.damaged = 0  # pictures to come whose second half is missing
        self.sent = 0
        self.film: tuple[bytes, float] | None = None  # a file and its seconds: sent instead of pictures, once a viewer
        self.fps = fps
        self._stalled = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._gone = threading.Event()
        self.port = 0
        self.come_back()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/video"

    def stall(self, on: bool = True) -> None:
        """Stay connected and send nothing, until told otherwise."""
        (self._stalled.set if on else self._stalled.clear)()

    def vanish(self) -> None:
        """End every connection and take no new one."""
        self._gone.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def come_back(self) -> None:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                kind = (
                    "multipart/x-mixed-replace; boundary=frame" if camera.film is None else "application/octet-stream"
                )
                self.send_header("Content-Type", kind)
                self.end_headers()
                with suppress(OSError):  # the viewer went away
                    camera._send(self.wfile) if camera.film is None else camera._send_film(self.wfile, *camera.film)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._gone = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _send(self, out: Any) -> None:
        gone = self._gone
        while not gone.wait(1 / self.fps):
            if self._stalled.is_set():
                continue
            picture = self.pictures[self.sent % len(self.pictures)]
            if self.damaged:
                self.damaged -= 1
                picture = picture[: len(picture) // 2]
            out.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture))
            out.write(picture + b"\r\n")
            out.flush()
            self.sent += 1

    def _send_film(self, out: Any, film: bytes, seconds: float) -> None:
        steps = max(1, round(seconds * 20))
        for step in range(steps):
            out.write(film[len(film) * step // steps : len(film) * (step + 1) // steps])
            out.flush()
            if self._gone.wait(seconds / steps):
                return

    def __enter__(self) -> IpCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.vanish()

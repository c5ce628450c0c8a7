"""What systemd is told: that the program is ready, and that it still works (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time

from lc2fer.text import printable


class Service:
    """Speaks to the socket that systemd names in NOTIFY_SOCKET; without one it says nothing."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        self._every_s = int(microseconds) / 3e6 if microseconds.isdecimal() and int(microseconds) > 0 else None
        self._said = -float("inf")

    def ready(self, status: str) -> None:
        """To be called once pictures can be judged."""
        self._send(f"READY=1\nSTATUS={printable(status)}")

    def alive(self) -> None:
        """To be called often by the loop that has to stay alive; three times a watchdog's period something is sent."""
        now = time.monotonic()
        if self._every_s is not None and now - self._said >= self._every_s:
            self._said = now
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line that `systemctl status` shows."""
        self._send(f"STATUS={printable(text)}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        path = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix:
                unix.sendto(message.encode(), path)
        except OSError:  # systemd went away; nobody is left to tell
            self._address = ""

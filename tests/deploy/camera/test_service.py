"""What systemd is told by a program that runs: that it is ready and alive, how its camera is, and the end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import video
from ip_camera import IpCamera
from lc2fer.deploy.camera.service import Service


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd would listen at."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        yield listener


def test_a_running_program_tells_systemd(model: Path, systemd: socket.socket, tmp_path: Path) -> None:
    picture = cv2.imencode(".jpg", video.placed(video.face(3), 220, 140))[1].tobytes()
    told = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"}
    program = "import sys; from lc2fer.cli import deploy; sys.exit(deploy())"
    with IpCamera([picture]) as network:
        process = subprocess.Popen(
            [sys.executable, "-c", program, "run", str(model), "--source", network.url, "--threads", "1"],
            env=told,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        heard = [systemd.recv(4096).decode()]
        while f"STATUS={network.url} gives pictures of 640x480." not in heard or heard.count("WATCHDOG=1") < 5:
            heard.append(systemd.recv(4096).decode())
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        process.communicate()
    while heard[-1] != "STOPPING=1":
        heard.append(systemd.recv(4096).decode())
    assert heard[0] == f"READY=1\nSTATUS=C8-onnx-fp32, {network.url}"
    assert set(heard[1:]) <= {"WATCHDOG=1", "STOPPING=1", *(line for line in heard if line.startswith("STATUS="))}


def test_a_watchdog_is_told_no_more_often_than_it_needs(
    systemd: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    service = Service()
    for _ in range(100):
        service.alive()
    systemd.settimeout(0.2)
    assert systemd.recv(4096) == b"WATCHDOG=1"
    with pytest.raises(TimeoutError):
        systemd.recv(4096)


def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service = Service()
    service.ready("here")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")
    gone = Service()
    gone.ready("here")  # systemd went away
    assert gone._address == ""
    gone.alive()


def test_names_that_are_no_utf8_or_have_lines_are_told_as_one_line(
    systemd: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    service = Service()
    service.ready("C6, folder:a\udcff")
    service.status("folder:a\nWATCHDOG=trigger is at its end")
    assert systemd.recv(4096) == b"READY=1\nSTATUS=C6, folder:a\\udcff"
    assert systemd.recv(4096) == b"STATUS=folder:a\\nWATCHDOG=trigger is at its end"

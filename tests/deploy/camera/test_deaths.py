"""A thread that dies ends the program with its reason, and a camera that never gave a picture is no success."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from ip_camera import IpCamera
from lc2fer.deploy.camera import publish, readers
from lc2fer.deploy.camera.deaths import Deaths

from lc2fer import cli
from lc2fer.errors import DataError, Lc2ferError

DEPLOY = [sys.executable, "-c", "import sys; from lc2fer.cli import deploy; sys.exit(deploy())", "run"]


def died(error: BaseException) -> Deaths:
    """What watched a thread that this error ended."""

    def work() -> None:
        raise error

    stop = threading.Event()
    with Deaths(stop) as deaths:
        thread = threading.Thread(target=work, name="worker")
        thread.start()
        thread.join()
        assert stop.is_set()
    return deaths


def test_an_unknown_error_names_its_thread() -> None:
    with pytest.raises(Lc2ferError) as told:
        died(KeyError("x")).tell()
    assert str(told.value) == (
        "The thread worker ended with KeyError: 'x'. It was expected to work as long as the program. "
        "Start it again, and report it with what --debug prints."
    )


@pytest.mark.parametrize("error", [DataError("A. B. C."), BrokenPipeError(), MemoryError()])
def test_an_error_for_users_is_told_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as told:
        died(error).tell()
    assert told.value is error


def test_the_first_death_counts_and_the_hook_is_given_back() -> None:
    before = threading.excepthook
    with Deaths(threading.Event()) as deaths:
        for text in ("first", "second"):
            thread = threading.Thread(target=int, args=(text,))
            thread.start()
            thread.join()
    assert threading.excepthook is before
    with pytest.raises(Lc2ferError, match=r"ended with ValueError: .*'first'"):
        deaths.tell()


def test_no_death_is_nothing_to_tell() -> None:
    with Deaths(threading.Event()) as deaths:
        pass
    deaths.tell()


@pytest.mark.parametrize("part", ["capture", "sender", "page"])
def test_each_thread_ends_a_run(
    part: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """None of these could end by itself: without a watch over the threads this test hangs."""

    def die(*_: object, **__: object) -> None:
        raise RuntimeError("no reason.")

    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((99, 99, 3), np.uint8))
    arguments = [str(model), "--web", "127.0.0.1:0"]
    name = part
    if part == "capture":
        monkeypatch.setattr(readers._Pictures, "read", die)
        arguments += ["--source", str(tmp_path)]
    elif part == "sender":
        monkeypatch.setattr(publish.Sender, "_run", die)
        arguments += ["--webhook", "http://127.0.0.1:9/"]
        name = "The webhook at 127.0.0.1"
    else:
        from lc2fer.deploy.camera import web

        monkeypatch.setattr(web.uvicorn.Server, "run", die)
    assert cli.run("deploy", ["run", *arguments]) == 2
    text = capsys.readouterr().err
    assert f"Lc2ferError: The thread {name} ended with RuntimeError: no reason. It was expected to work" in text


def test_a_page_that_ended_without_a_word_is_noticed(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lc2fer.deploy.camera import web

    monkeypatch.setattr(web.uvicorn.Server, "run", lambda *_, **__: None)
    assert cli.run("deploy", ["run", str(model), "--web", "127.0.0.1:0"]) == 2
    assert "is served no more. It was expected until the program's end. Start the program again" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("source", ["usb:9", "rtsp://127.0.0.1:9/x"])
def test_a_camera_that_never_comes_is_no_success(source: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run("deploy", ["run", str(model), "--source", source, "--seconds", "1", "--json"]) == 3
    out, err = capsys.readouterr()
    document = json.loads(out.splitlines()[-1])
    assert (document["captured"], document["exit_code"]) == (0, 3)
    assert f"{source} gave no picture in 1 s. A camera that is on was expected. " in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nor_is_it_when_somebody_ends_the_wait(number: signal.Signals, model: Path) -> None:
    with subprocess.Popen(
        [*DEPLOY, str(model), "--source", "usb:9", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["state"] in ("lost", "starting")
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 3, err
    assert json.loads(out.splitlines()[-1])["captured"] == 0
    assert "usb:9 gave no picture in" in err


def test_a_camera_that_thaws_while_the_program_ends_does_not_abort_it(model: Path) -> None:
    """Its read comes back into a Python that is about to end."""
    picture = cv2.imencode(".jpg", np.zeros((99, 99, 3), np.uint8))[1].tobytes()
    program = """
import builtins, sys, time
from lc2fer import cli

class Slow:
    def __del__(self):
        time.sleep(4)

builtins.slow = Slow()  # an end that takes a while
sys.exit(cli.deploy())
"""
    with IpCamera([picture]) as network:
        command = [sys.executable, "-c", program, "run", str(model), "--source", network.url, "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while '"event":"scene"' not in process.stdout.readline():
                pass
            network.stall()
            while '"state":"stalled"' not in process.stdout.readline():
                pass
            process.send_signal(signal.SIGTERM)
            while '"exit_code"' not in (line := process.stdout.readline()):
                pass
            time.sleep(0.5)
            network.stall(False)
            _, err = process.communicate(timeout=30)
    assert process.returncode == json.loads(line)["exit_code"] == 0, err

"""lc2fer-deploy run: a camera's faces and what they show, as text, as JSON lines, on a page, over the network."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from tabulate import tabulate  # type: ignore[import-untyped]

from lc2fer import artifact as artifacts
from lc2fer.artifact import Artifact
from lc2fer.errors import TargetUnavailable, UsageError
from lc2fer.predict.judging import MIN_CONFIDENCE
from lc2fer.session import open_session
from lc2fer.targets import KINDS
from lc2fer.text import printable

from ..device import bundle, choice
from . import publish
from .deaths import Deaths
from .publish import Changes, Message, Sender
from .scene import Scene, Status
from .service import Service

_TOKEN = "LC2FER_TOKEN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "model", type=Path, metavar="MODEL", help="an unpacked bundle whose engines are built, or a model file"
    )
    parser.add_argument("--source", metavar="SOURCE", help="csi:0, usb:0, rtsp://..., a video file or a folder")
    parser.add_argument("--threads", type=int, metavar="N", help="of engines on the CPU")
    parser.add_argument("--face-model", type=Path, metavar="FILE", help="YuNet; default: BlazeFace, which is here")
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=MIN_CONFIDENCE,
        metavar="P",
        help="less is shown as unsure (default: %(default)s)",
    )
    parser.add_argument(
        "--smoothing", type=float, default=0.4, metavar="S", help="time constant in seconds; 0: none (default: 0.4)"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after that")
    parser.add_argument("--every-frame", action="store_true", help="of a video file: all pictures, as fast as it goes")
    parser.add_argument("--json", action="store_true", help="a line of JSON for every picture")
    parser.add_argument(
        "--web",
        nargs="?",
        const="8000",
        metavar="[HOST:]PORT",
        help="the page in the browser (default: 127.0.0.1:8000)",
    )
    parser.add_argument("--token", help=f'of the page; "auto" makes one; default: the variable {_TOKEN}')
    parser.add_argument("--webhook", metavar="URL", help="post changes there as JSON")
    parser.add_argument("--mqtt", metavar="URL", help="publish changes to mqtt://HOST/TOPIC")


def main(given: argparse.Namespace) -> dict[str, Any]:
    """Run until the source ends, `--seconds` are over, Ctrl-C or SIGTERM; returns the last line's document.

    Its exit code is 3 for a camera, and 2 for a file or folder, of which no picture was judged. Raises what ended a
    thread of the program.
    """
    started = time.monotonic()
    _check(given)
    from . import capture as camera  # OpenCV
    from . import faces
    from .live import Live, Manner

    console = Console(stderr=True)

    def say(text: str) -> None:
        console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    service = Service()
    out = _Out(given.json, say, service.status)
    source = None if given.source is None else camera.parse(given.source)
    if source is not None:
        camera.check(source)
    artifact = _model(given.model)
    with ExitStack() as stack:
        stop = stack.enter_context(_stopped_by_signals())
        deaths = stack.enter_context(Deaths(stop))
        out.senders = [stack.enter_context(_closing(sender)) for sender in _senders(given, say)]
        session = stack.enter_context(open_session(artifact, threads=given.threads))
        capture = None
        if source is not None:
            capture = camera.Capture(source, every=given.every_frame, say=out.status)
            stack.callback(capture.close)
        live = Live(
            session,
            lambda: faces.open_detector(given.face_model),
            capture,
            Manner(given.min_confidence, given.smoothing),
            {
                "model": artifact.name,
                "engine": KINDS[artifact.kind].engine,
                "source": None if source is None else str(source),
                "threshold": given.min_confidence,
            },
        )
        live.warm_up()
        server = None
        if given.web is not None:
            from . import web

            server = web.serve(live, web.parse_address(given.web), _token(given.token))
            stack.callback(server.close)
            say(f"The page: {server.link}")
        service.ready(f"{artifact.name}, {source or 'no camera'}")
        stack.callback(service.stopping)
        if capture is not None:
            capture.start()  # last: the first picture finds everything warm
        first: list[float] = []
        begin = time.monotonic()

        def on_scene(scene: Scene) -> None:
            if not first:
                first.append(time.monotonic() - started)
            out.scene(scene)

        def on_idle() -> None:
            service.alive()
            if server is not None:
                server.check()
            out.status(live.status())
            if given.seconds is not None and time.monotonic() - begin >= given.seconds:
                stop.set()

        live.run(stop, on_scene, on_idle)
        deaths.tell()
        seconds = time.monotonic() - begin
        document = {
            "model": str(artifact.path),
            "source": None if source is None else str(source),
            "seconds": round(seconds, 2),
            "captured": 0 if capture is None else capture.frames,
            "judged": live.scenes,
            "dropped": 0 if capture is None else capture.mailbox.dropped,
            "fps": round(live.scenes / seconds, 2) if seconds else None,
            "first_picture_s": round(first[0], 3) if first else None,
            "age_ms": _percentiles(live.ages_ms),
            "stages_ms": {stage: _percentiles(values) for stage, values in live.stages_ms.items()},
            "state": live.status().state,
            "messages_dropped": sum(sender.dropped for sender in out.senders),
        }
    if not given.json:
        print(_table(document))
    if source is None or live.scenes:
        return {**document, "exit_code": 0}
    if source.live and not document["captured"]:
        say(f"{source} gave no picture in {seconds:.0f} s. A camera that is on was expected. {camera.hint(source)}")
    return {**document, "exit_code": TargetUnavailable.exit_code if source.live else UsageError.exit_code}


def _check(given: argparse.Namespace) -> None:
    if given.source is None and given.web is None:
        raise UsageError(
            "Neither --source nor --web was given. One of them was expected: there is nothing to look at. "
            "Pass --source usb:0, or --web for pictures from the browser."
        )
    if not 0 <= given.min_confidence <= 1:
        raise UsageError(
            f"--min-confidence is {given.min_confidence:g}. Expected a probability, 0 to 1. Pass, say, 0.5."
        )
    for name in ("smoothing", "seconds"):
        value = getattr(given, name)
        if value is not None and not 0 <= value < float("inf"):
            raise UsageError(f"--{name} is {value:g}. Expected seconds, 0 or more. Correct --{name}.")


def _model(path: Path) -> Artifact:
    """A model file, or the one that was chosen when a bundle was built."""
    if not path.is_dir() and path.suffix != ".bundle":
        return artifacts.load(path)
    folder = path if path.is_dir() else path.with_suffix("")
    if not (folder / bundle.MANIFEST).is_file():
        raise UsageError(
            f"{path} has no engine yet. Expected a bundle that was built here. Run: lc2fer-deploy build {path}."
        )
    return artifacts.load(folder / choice.chosen(folder).file)


def _token(given: str | None) -> str | None:
    token = os.environ.get(_TOKEN) if given is None else given
    return secrets.token_urlsafe(24) if token == "auto" else token


def _senders(given: argparse.Namespace, say: Callable[[str], None]) -> list[Sender]:
    made = []
    if given.webhook is not None:
        made.append(publish.webhook(given.webhook, say))
    if given.mqtt is not None:
        made.append(publish.mqtt(given.mqtt, say))
    return made


@contextmanager
def _closing(sender: Sender) -> Iterator[Sender]:
    try:
        yield sender
    finally:
        sender.close()


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second Ctrl-C ends the program at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def end(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Out:
    """What is printed and sent: from the loop's thread scenes, from the camera's its states, which systemd gets too."""

    def __init__(self, lines: bool, say: Callable[[str], None], tell: Callable[[str], None]) -> None:
        self.senders: list[Sender] = []
        self._lines = lines
        self._say = say
        self._tell = tell
        self._changes = Changes()
        self._state = ""
        self._lock = threading.Lock()

    def scene(self, scene: Scene) -> None:
        if self._lines:
            self._print({"event": "scene", **scene.to_json()})
        for message in self._changes.of(scene):
            self._send(message)
            if not self._lines:
                self._say(_said(message))

    def status(self, status: Status) -> None:
        with self._lock:
            if status.state == self._state:
                return
            self._state = status.state
        self._tell(status.text)
        message = publish.of_status(status)
        self._send(message)
        if self._lines:
            self._print(message)
        else:
            self._say(status.text)

    def _send(self, message: Message) -> None:
        for sender in self.senders:
            sender.send(message)

    def _print(self, message: Message) -> None:
        with self._lock:
            sys.stdout.write(json.dumps(message, separators=(",", ":")) + "\n")
            sys.stdout.flush()


def _said(message: Message) -> str:
    """A message as a line for people."""
    if message["event"] == "left":
        return f"face {message['track']} left"
    if message["event"] == "picture":
        shown = [f"{face['expression'] or 'unsure'} {max(face['probabilities']):.0%}" for face in message["faces"]]
        return f"{message['name']}: {', '.join(shown) or 'no face'}"
    return f"face {message['track']}: {message['expression'] or 'unsure'} {message['confidence']:.0%}"


def _percentiles(values: Any) -> dict[str, float] | None:
    if not values:
        return None
    p50, p95 = np.percentile(np.fromiter(values, float), [50, 95])
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2)}


def _table(document: dict[str, Any]) -> str:
    rows: list[list[Any]] = [
        ["pictures", f"{document['captured']} captured, {document['judged']} judged, {document['dropped']} dropped"],
        ["pictures a second", document["fps"]],
        ["first picture after", f"{document['first_picture_s']} s"],
    ]
    timed = {"age": document["age_ms"], **document["stages_ms"]}
    rows += [[name, f"p50 {found['p50']} ms, p95 {found['p95']} ms"] for name, found in timed.items() if found]
    return tabulate(rows, disable_numparse=True, tablefmt="plain")

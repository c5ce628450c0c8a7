"""lc2fer-deploy run: a camera's faces and what they show, as text, as JSON lines, on a page, over the network."""

from __future__ import annotations

import _thread
import argparse
import os
import secrets
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lc2fer import artifact as artifacts
from lc2fer.answers import MIN_CONFIDENCE
from lc2fer.arguments import a_path
from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError, TargetUnavailable, UsageError
from lc2fer.leaving import at_once_where
from lc2fer.session import open_session
from lc2fer.targets import KINDS
from lc2fer.text import printable, stderr_console

from ..device import bundle, choice
from . import publish, summary
from .deaths import Deaths
from .out import Out
from .publish import Sender
from .scene import Scene
from .service import Service
from .source import PIXEL_FORMATS, hint

if TYPE_CHECKING:
    from .feed import Feed  # which imports OpenCV

_TOKEN = "LC2FER_TOKEN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "model", type=a_path, metavar="MODEL", help="an unpacked bundle whose engines are built, or a model file"
    )
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="[NAME=]SOURCE",
        help="csi:0, usb:0 or 0, /dev/v4l/by-id/..., rtsp://..., a video file, a picture or a folder; may be given "
        "several times",
    )
    parser.add_argument("--size", metavar="WxH", help="asked of cameras, in pixels")
    parser.add_argument("--fps", type=float, metavar="N", help="asked of cameras, pictures a second")
    parser.add_argument("--pixel-format", choices=PIXEL_FORMATS, help="asked of USB cameras")
    parser.add_argument("--threads", type=int, metavar="N", help="of engines on the CPU")
    parser.add_argument("--face-model", type=a_path, metavar="FILE", help="YuNet; default: BlazeFace, which is here")
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
    parser.add_argument(
        "--in-browser",
        type=a_path,
        metavar="DIR",
        help="what lc2fer-export --target web-int8 wrote: viewers' browsers judge their own pictures by it",
    )
    parser.add_argument("--token", help=f'of the page; "auto" makes one; default: the variable {_TOKEN}')
    parser.add_argument("--webhook", metavar="URL", help="post changes there as JSON")
    parser.add_argument("--mqtt", metavar="URL", help="publish changes to mqtt://HOST/TOPIC")
    parser.add_argument(
        "--record",
        type=a_path,
        action="append",
        default=[],
        metavar="FILE",
        help="a row a face (.csv), or the pictures with boxes (.mp4); may be given several times",
    )


def main(given: argparse.Namespace) -> dict[str, Any]:
    """Run until the sources end, `--seconds` are over, Ctrl-C or SIGTERM; returns the last line's document.

    Its exit code is 3 where of a camera, and 2 where of a file or folder, no picture was judged. Raises what ended a
    thread of the program.
    """
    started = time.monotonic()
    _check(given)
    from . import faces, readers, record  # OpenCV
    from . import source as camera
    from .capture import Capture
    from .live import Live, Manner

    console = stderr_console()

    def say(text: str) -> None:
        console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    service = Service()
    sources = camera.parse_all(given.source)
    wish = camera.parse_wish(given.size, given.fps, given.pixel_format, sources)
    for source in sources:
        readers.check(source)
    artifact = model_of(given.model)
    labels = artifact.input_spec.labels
    out = Out(sources, labels, given.json, say, service.status)
    begun = threading.Event()
    captures: list[Capture] = []
    at_once_where(lambda: any(capture.hangs for capture in captures))
    with ExitStack() as stack:
        stop = stack.enter_context(stopped_by_signals(begun))
        deaths = stack.enter_context(Deaths(stop))
        out.senders = [stack.enter_context(closing(sender)) for sender in _senders(given, say)]
        session = stack.enter_context(open_session(artifact, threads=given.threads))
        arrived = threading.Event()
        captures += [
            Capture(source, every=given.every_frame, wish=wish, arrived=arrived, say=partial(out.status, source.name))
            for source in sources
        ]
        recordings = record.open_all(given.record, captures, labels, given.every_frame, say)
        for recording in recordings:
            stack.callback(recording.close)
            say(f"Recorded: {recording.path}")
        for capture in captures:
            stack.callback(capture.close)
        live = Live(
            session,
            lambda: faces.open_detector(given.face_model),
            captures,
            Manner(given.min_confidence, given.smoothing),
            {
                "model": artifact.name,
                "engine": KINDS[artifact.kind].engine,
                "source": ", ".join(map(str, sources)) or None,
                "threshold": given.min_confidence,
                "recorded": [printable(recording.path.name) for recording in recordings],
            },
            arrived=arrived,
        )
        live.warm_up()
        server = None
        if given.web is not None:
            from . import web

            if given.in_browser is not None:
                web.check_engine(given.in_browser, labels)
            server = web.serve(live, web.parse_address(given.web), token_of(given.token), given.in_browser)
            stack.callback(server.close)
            say(f"The page: {server.link}")
        begun.set()
        service.ready(f"{artifact.name}, {', '.join(live.feeds) or 'no camera'}")
        stack.callback(service.stopping)
        for capture in captures:
            capture.start()  # last: the first picture finds everything warm
        first: list[float] = []
        begin = time.monotonic()

        def on_scene(scene: Scene, picture: NDArray[np.uint8]) -> None:
            if not first:
                first.append(time.monotonic() - started)
            out.scene(scene)
            for recording in recordings:
                recording.add(scene, picture)

        def on_idle() -> None:
            service.alive()
            if server is not None:
                server.check()
            for name, status in live.sources().items():
                out.status(name, status)
            if given.seconds is not None and time.monotonic() - begin >= given.seconds:
                stop.set()

        live.run(stop, on_scene, on_idle)
        deaths.tell()
        document = {"model": str(artifact.path), **summary.of(list(live.feeds.values()), time.monotonic() - begin)}
        document |= {
            "state": live.status().state,
            "first_picture_s": round(first[0], 3) if first else None,
        }
    document["messages_dropped"] = sum(sender.dropped for sender in out.senders)  # closed by now
    document["recorded"] = [recording.to_json() for recording in recordings]
    if not given.json:
        print(summary.table(document))
    return {**document, "exit_code": _exit_code(list(live.feeds.values()), document["seconds"], say)}


def _exit_code(feeds: list[Feed], seconds: float, say: Callable[[str], None]) -> int:
    """0 where of every source a picture was judged; a camera that gave none is named."""
    codes = {0}
    for feed in feeds:
        source = feed.capture.source
        if feed.scenes:
            continue
        codes.add(TargetUnavailable.exit_code if source.live else UsageError.exit_code)
        if source.live and not feed.capture.frames:
            what = source.name if source.name == str(source) else f"{source.name} ({source})"
            say(f"{what} gave no picture in {seconds:.0f} s. A camera that is on was expected. {hint(source)}")
    return max(codes)


def _check(given: argparse.Namespace) -> None:
    if not given.source and given.web is None:
        raise UsageError(
            "Neither --source nor --web was given. One of them was expected: there is nothing to look at. "
            "Pass --source usb:0, or --web for pictures from the browser."
        )
    if given.in_browser is not None and given.web is None:
        raise UsageError("--in-browser was given without a page. --web was expected with it. Pass --web, too.")
    if given.record and not given.source:
        raise UsageError(
            "--record was given without a source. A --source was expected: pictures from the browser are never stored. "
            "Pass --source, or leave --record out."
        )
    if not 0 <= given.min_confidence <= 1:
        raise UsageError(
            f"--min-confidence is {given.min_confidence:g}. Expected a probability, 0 to 1. Pass, say, 0.5."
        )
    for name in ("smoothing", "seconds"):
        value = getattr(given, name)
        if value is not None and not 0 <= value < float("inf"):
            raise UsageError(f"--{name} is {value:g}. Expected seconds, 0 or more. Correct --{name}.")


def model_of(path: Path) -> Artifact:
    """A model file, or the one that was chosen when a bundle was built."""
    if not path.is_dir() and path.suffix != ".bundle":
        return artifacts.load(path)
    folder = path if path.is_dir() else path.with_suffix("")
    if not (folder / bundle.MANIFEST).is_file():
        if path.is_dir():
            raise UsageError(
                f"{path} is a folder without a bundle's {bundle.MANIFEST}. Expected a model's file, or a bundle that "
                "was built here. Name the file in it."
            )
        if not path.exists():
            raise ArtifactError(f"{path} is missing. Expected a bundle or a model's file. Check the path.")
        raise UsageError(
            f"{path} has no engine yet. Expected a bundle that was built here. "
            f"Run: lc2fer-deploy build {shlex.quote(str(path))}"
        )
    return artifacts.load(folder / choice.chosen(folder).file)


def token_of(given: str | None) -> str | None:
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
def stopped_by_signals(begun: threading.Event) -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second one, or one before `begun`, ends the program at once.

    Until then kernels may be compiled or engines be built, and nobody looks at the event.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def end(number: int, frame: Any) -> None:
        if stop.is_set() or not begun.is_set():
            raise KeyboardInterrupt
        # Not here: this may interrupt a wait for the event while that holds the event's lock.
        _thread.start_new_thread(stop.set, ())

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

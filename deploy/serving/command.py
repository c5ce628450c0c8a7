"""lc2fer-deploy serve and package: a model for programs that ask over HTTP, here or from a server that exists."""

from __future__ import annotations

import argparse
import re
import threading
from contextlib import ExitStack
from typing import Any

from lc2fer.arguments import a_path
from lc2fer.artifact import Artifact
from lc2fer.errors import TargetUnavailable, UsageError
from lc2fer.session import open_session
from lc2fer.text import stderr_console
from lc2fer.threads import usual

from ..camera.run import model_of, stopped_by_signals, token_of
from ..camera.service import Service
from . import package

_NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,64}")  # of a folder, and of a place in addresses
_MOST_IMAGES, _MOST_WAITING, _MOST_S = 1024, 65536, 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "model", type=a_path, metavar="MODEL", help="an unpacked bundle whose engines are built, or a model file"
    )
    parser.add_argument("--name", help="what clients call it; default: its file's name")
    parser.add_argument("--address", default="8000", metavar="[HOST:]PORT", help="default: 127.0.0.1:8000")
    parser.add_argument("--token", help='clients have to send it; "auto" makes one; default: the variable LC2FER_TOKEN')
    parser.add_argument("--anyone", action="store_true", help="other addresses than 127.0.0.1 without a token, too")
    parser.add_argument("--threads", type=int, metavar="N", help="of engines on the CPU")
    parser.add_argument("--max-batch", type=int, default=32, metavar="N", help="images run together (default: 32)")
    parser.add_argument(
        "--queue", type=int, default=256, metavar="N", help="images that may wait; more are refused (default: 256)"
    )
    parser.add_argument(
        "--timeout", type=float, default=5.0, metavar="S", help="that a request may wait, in seconds (default: 5)"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after that")


def add_package_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `package`."""
    parser.add_argument(
        "model", type=a_path, metavar="MODEL", help="an unpacked bundle whose engines are built, or a model file"
    )
    parser.add_argument("--for", dest="server", required=True, choices=tuple(package.SERVERS), help="the server")
    parser.add_argument("--out", type=a_path, required=True, metavar="DIR", help="the repository, new or empty")
    parser.add_argument("--name", help="what clients call it; default: its file's name")
    parser.add_argument("--max-batch", type=int, default=32, metavar="N", help="images run together (default: 32)")
    parser.add_argument(
        "--instances", type=int, metavar="N", help="batches run at once; default: a core each, and one on a GPU"
    )
    parser.add_argument(
        "--at", default=package.AT, metavar="PATH", help="where the server finds DIR (default: /models)"
    )


def write_package(given: argparse.Namespace) -> dict[str, Any]:
    """Write the repository; returns the last line's document."""
    _check(given)
    artifact = model_of(given.model)
    name = _name(given.name, artifact)
    instances = given.instances or (1 if artifact.kind == "tensorrt" else usual())
    files = package.write(
        artifact, given.server, name, given.out, most=given.max_batch, instances=instances, at=given.at.rstrip("/")
    )
    for file in files:
        print(file)
    return {
        "repository": str(given.out),
        "for": given.server,
        "model": name,
        "artifact": str(artifact.path),
        "sha256": artifact.sha256,
        "files": [str(file.relative_to(given.out)) for file in files],
    }


def main(given: argparse.Namespace) -> dict[str, Any]:
    """Serve until Ctrl-C, SIGTERM or the end of `--seconds`; returns the last line's document."""
    _check(given)
    try:
        from .server import Limits, Server, parse_address
    except ModuleNotFoundError as error:
        raise TargetUnavailable(
            f"Serving needs the package {error.name}, which is not installed. It comes with the extra [serve]. "
            "Run: pip install 'lc2fer[serve]'."
        ) from None

    token = token_of(given.token)
    address = parse_address(given.address, token=token, anyone=given.anyone)
    artifact = model_of(given.model)
    name = _name(given.name, artifact)
    service = Service()
    begun = threading.Event()
    with ExitStack() as stack:
        stop = stack.enter_context(stopped_by_signals(begun))
        session = stack.enter_context(open_session(artifact, threads=given.threads))
        limits = Limits(given.max_batch, given.queue, given.timeout)
        server = stack.enter_context(Server(session, name, address, token, limits))
        text = f"{server.url}/v2/models/{name} serves {artifact.path.name}."
        if given.token == "auto":
            text += f" Clients send Authorization: Bearer {token}"
        stderr_console().print(text, markup=False, highlight=False, soft_wrap=True)
        begun.set()
        service.ready(f"serving {name}")
        left_s = float("inf") if given.seconds is None else given.seconds
        while left_s > 0 and not stop.wait(min(left_s, 1.0)):
            left_s -= 1.0
            server.check()
            service.alive()
        service.stopping()
    return {"model": name, "artifact": str(artifact.path), "url": server.url, **server.metrics.document()}


def _check(given: argparse.Namespace) -> None:
    if given.name is not None:
        _check_name(given.name, f"--name is {given.name!r}", "Choose another one.")
    for option, least, most in (
        ("max_batch", 1, _MOST_IMAGES),
        ("instances", 1, _MOST_IMAGES),
        ("queue", 1, _MOST_WAITING),
        ("timeout", 0.001, _MOST_S),
        ("seconds", 0.001, float("inf")),
    ):
        value = getattr(given, option, None)
        if value is not None and not least <= value <= most:
            text = option.replace("_", "-")
            raise UsageError(f"--{text} is {value:g}. Expected {least:g} to {most:g}. Correct --{text}.")


def _name(given: str | None, artifact: Artifact) -> str:
    """What clients call the model: as was asked for, else as its file."""
    name = artifact.path.stem
    if given is None:
        _check_name(name, f"The model would be called {name!r}, as its file", "Pass --name.")
    return given or name


def _check_name(name: str, what: str, mend: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{what}. Expected up to 64 letters, digits, dots, hyphens and underscores, and no dot before the others. "
            f"{mend}"
        )

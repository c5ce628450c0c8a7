"""lc2fer-predict: the expressions of the faces in pictures, folders and films, with any artifact."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lc2fer import alignment, pictures
from lc2fer import artifact as artifacts
from lc2fer.errors import DataError, UsageError
from lc2fer.faces import open_finder
from lc2fer.predict import judging, sources
from lc2fer.predict.judging import Answer
from lc2fer.predict.output import Line, Output
from lc2fer.predict.sources import Found, Item
from lc2fer.session import open_session
from lc2fer.text import printable


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lc2fer-predict",
        description="Print the expression, and its probabilities, of each face in pictures, folders and films.",
    )
    parser.add_argument(
        "pictures", nargs="+", metavar="PICTURE", help="a picture, a folder, a pattern, a film; -: a list on stdin"
    )
    parser.add_argument("--model", type=Path, metavar="FILE", help="an exported model; default: the bundled C6")
    parser.add_argument("--threads", type=int, metavar="N")
    parser.add_argument(
        "--faces",
        choices=judging.WAYS,
        default="auto",
        help="crop: each picture is one face; find: faces are searched for; auto: what fits (default)",
    )
    parser.add_argument(
        "--alignment",
        choices=alignment.ALIGNMENTS,
        help="how found faces are cut out; default: as the model's manifest says",
    )
    parser.add_argument("--face-model", type=Path, metavar="FILE", help="YuNet; default: BlazeFace, which is here")
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=judging.MIN_CONFIDENCE,
        metavar="P",
        help="less is unsure (default: %(default)s)",
    )
    parser.add_argument(
        "--every", type=float, default=1.0, metavar="S", help="of a film: a picture each so many seconds (default: 1)"
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for every face, as soon as it is judged")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a row for every face")
    parser.add_argument("--draw", type=Path, metavar="DIR", help="copies of the pictures with boxes and answers")
    return parser


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command; returns the last line's document."""
    given = _parser().parse_args(arguments)
    _check(given)
    artifact = artifacts.load(given.model or _bundled())
    if given.alignment is not None:
        artifact = replace(artifact, input_spec=replace(artifact.input_spec, alignment=given.alignment))
    labels = artifact.input_spec.labels
    found = Found()
    unreadable: list[str] = []
    console = Console(stderr=True)
    with ExitStack() as stack:
        finder = None
        if given.faces != "crop":
            finder = open_finder(given.face_model, threads=given.threads or 1, thorough=True)
        session = stack.enter_context(open_session(artifact, threads=given.threads))
        out = stack.enter_context(Output(labels, given.min_confidence, given.json, given.csv, given.draw))
        advance = stack.enter_context(_bar(console, given))
        for item in sources.walk(given.pictures, sys.stdin.buffer, found, leave=given.draw):
            try:
                if isinstance(item, DataError):
                    raise item
                for time_s, image, animated in _images(item, given.every):
                    if animated:
                        _say(console, f"{item.path} has several pictures. Its first one is judged.")
                    answers: tuple[Answer, ...] = judging.judge(image, session, finder, given.faces)
                    out.add(Line(item, time_s, image.shape[1], image.shape[0], answers), image)
            except DataError as error:
                unreadable.append(str(item) if isinstance(item, DataError) else str(item.path))
                _say(console, f"DataError: {error}")
            advance()
    document = {"artifact": str(artifact.path), **out.document()}
    document |= {"unreadable": len(unreadable), "unreadable_files": unreadable[:100], "left_out": found.left_out}
    return {**document, "exit_code": 2 if unreadable else 0}


def _bundled() -> Path:
    path = artifacts.bundled("C6")
    if path is None:
        raise UsageError("This installation has no bundled C6. Expected one in the package. Pass --model FILE.")
    return path


def _check(given: argparse.Namespace) -> None:
    if not 0 <= given.min_confidence <= 1:
        raise UsageError(
            f"--min-confidence is {given.min_confidence:g}. Expected a probability, 0 to 1. Pass, say, 0.5."
        )
    if not 0 < given.every < float("inf"):
        raise UsageError(f"--every is {given.every:g}. Expected seconds, more than 0. Pass, say, 1.")
    if given.draw is not None:
        sources.new_folder(given.draw, "--draw")


def _images(item: Item, every_s: float) -> Iterator[tuple[float | None, NDArray[np.uint8], bool]]:
    """Time in seconds (of films), pixels, and whether it is the first of several."""
    if item.is_film:
        yield from ((time_s, image, False) for time_s, image in judging.frames(item.path, every_s))
        return
    picture = pictures.read(item.path)
    yield None, np.asarray(picture.image, np.uint8), picture.animated


def _say(console: Console, text: str) -> None:
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _bar(console: Console, given: argparse.Namespace) -> Iterator[Callable[[], None]]:
    """Shows how far it is, where a terminal is there to show it; yields what is to be called after each file."""
    if not console.is_terminal or given.json:
        yield lambda: None
        return
    total = None  # of a list on stdin nobody knows
    if "-" not in given.pictures:
        total = sum(1 for _ in sources.walk(given.pictures, sys.stdin.buffer, Found(), leave=given.draw))
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("pictures", total=total)
        yield lambda: progress.advance(task)

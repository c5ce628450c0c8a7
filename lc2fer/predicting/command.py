"""lc2fer-predict: the expressions of the faces in pictures, folders and films, with any artifact."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lc2fer import alignment
from lc2fer import artifact as artifacts
from lc2fer.answers import MIN_CONFIDENCE
from lc2fer.arguments import a_path
from lc2fer.errors import DataError, UsageError
from lc2fer.finder import Finder, open_finder
from lc2fer.predicting import batches, cluster, judging, sources
from lc2fer.predicting.output import Output
from lc2fer.predicting.sources import Found
from lc2fer.session import open_session
from lc2fer.text import printable, stderr_console
from lc2fer.threads import check, usual

MOST_PICTURES = 1024  # of a batch; their faces have 120 KB each


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(
        prog="lc2fer-predict",
        description="Print the expression, and its probabilities, of each face in pictures, folders and films.",
    )
    parser.add_argument(
        "pictures", nargs="+", metavar="PICTURE", help="a picture, a folder, a pattern, a film; -: a list on stdin"
    )
    parser.add_argument("--model", type=a_path, metavar="FILE", help="an exported model; default: the bundled C6")
    parser.add_argument("--threads", type=int, metavar="N", help="of the engine; default: every core it may use")
    parser.add_argument(
        "--batch", type=int, default=1, metavar="N", help="pictures that are read and judged together (default: 1)"
    )
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
    parser.add_argument("--face-model", type=a_path, metavar="FILE", help="YuNet; default: BlazeFace, which is here")
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=MIN_CONFIDENCE,
        metavar="P",
        help="less is unsure (default: %(default)s)",
    )
    parser.add_argument(
        "--every", type=float, default=1.0, metavar="S", help="of a film: a picture each so many seconds (default: 1)"
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for every face, as soon as it is judged")
    parser.add_argument("--csv", type=a_path, metavar="FILE", help="a row for every face")
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="ray: on a cluster: docs/cluster.md"
    )
    ray = parser.add_argument_group("with --engine ray")
    ray.add_argument("--out", type=a_path, metavar="PARQUET", help="a folder; parts that are there are not made again")
    ray.add_argument("--workers", type=int, metavar="N", help="at once, a core each (default: as many as there are)")
    ray.add_argument("--part", type=int, default=10_000, metavar="N", help="pictures a file (default: 10000)")
    ray.add_argument("--column", metavar="NAME", help="of tables: where the pictures are, as bytes or paths")
    ray.add_argument("--ray", metavar="ADDRESS", help="of a cluster; default: RAY_ADDRESS, or one is started here")
    parser.add_argument("--draw", type=a_path, metavar="DIR", help="copies of the pictures with boxes and answers")
    return parser


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command; returns the last line's document."""
    given = parser().parse_args(arguments)
    check(given.threads)
    _check(given)
    for text in given.pictures:
        a_path(text)
    artifact = artifacts.load(given.model or _bundled())
    if given.csv is not None:
        models = [artifact.path.with_name(record.name) for record in artifact.files]
        models += [artifact.manifest_path, *([] if given.face_model is None else [given.face_model])]
        sources.new_table(given.csv, "--csv", [*models, *map(Path, given.pictures)])
    spec = artifact.input_spec
    if given.alignment is not None:
        spec = replace(spec, alignment=given.alignment)
    if given.engine == "ray":
        console = stderr_console()
        return cluster.main(given, replace(artifact, input_spec=spec), lambda text: _say(console, text))
    labels = artifact.input_spec.labels
    found = Found()
    unreadable: list[str] = []
    console = stderr_console()
    with ExitStack() as stack:
        workers = min(given.batch, given.threads or usual())
        finders: SimpleQueue[Finder] | None = None
        if given.faces != "crop":
            finders = SimpleQueue()
            for _ in range(workers):
                threads = given.threads or 1 if workers == 1 else 1
                finders.put(open_finder(given.face_model, threads=threads, thorough=True))
        session = stack.enter_context(open_session(artifact, threads=given.threads))
        out = stack.enter_context(Output(labels, given.min_confidence, given.json, given.csv, given.draw))
        advance = stack.enter_context(_bar(console, given))
        items = sources.walk(given.pictures, sys.stdin.buffer, found, leave=given.draw)
        keep = given.draw is not None
        options = {"batch": given.batch, "workers": workers, "keep": keep, "spec": spec}
        last: object = None
        for told in batches.judged(batches.units(items, given.every), session, finders, given.faces, **options):
            name = str(told.item) if isinstance(told.item, DataError) else str(told.item.path)
            if told.animated:
                _say(console, f"{name} has several pictures. Its first one is judged.")
            if told.line is not None:
                out.add(told.line, told.image)
            else:
                unreadable.append(name)
                _say(console, f"DataError: {told.error}")
            if told.item is not last:
                advance()
            last = told.item
    if (remark := found.remark()) is not None:
        _say(console, remark)
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
    if not 1 <= given.batch <= MOST_PICTURES:
        raise UsageError(f"--batch is {given.batch}. Expected 1 to {MOST_PICTURES} pictures. Pass, say, 32.")
    alone = [name for name in ("out", "workers", "ray", "column") if getattr(given, name) is not None]
    if given.engine == "local" and alone:
        raise UsageError(
            f"--{alone[0]} was given without --engine ray. Expected both. Add --engine ray, or write --csv."
        )
    if not 0 < given.every < float("inf"):
        raise UsageError(f"--every is {given.every:g}. Expected seconds, more than 0. Pass, say, 1.")
    if given.draw is not None:
        sources.new_folder(given.draw, "--draw")


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

"""A disk that fails at each system call in turn, under each of the project's writers.

Run in a process that has disk.c preloaded: `python disk.py --most N --out FILE [WRITER ...]`. Each trial is a fork of
it that writes into a fresh copy of a folder; what is there afterwards is read, and the writing is done once more.
"""

from __future__ import annotations

import argparse
import collections
import ctypes
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # of more, none would come along in a fork

from commands import COMMANDS, warm
from writers import WRITERS, Writer, refusal

KINDS = {"no space": 1, "I/O error": 2, "read-only": 3, "killed": 4}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("writers", nargs="*", default=list(WRITERS))
    parser.add_argument("--most", type=int, default=1_000_000, help="system calls of a writer that are tried")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    if COMMANDS.keys() & set(given.writers):
        warm()
    started, found, trials = time.monotonic(), [], {}
    for name in given.writers:
        with tempfile.TemporaryDirectory(prefix="lc2fer-disk-") as work:
            trials[name], wrong = _try({**WRITERS, **COMMANDS}[name], Path(work), given.most, given.kinds)
        found += [f"{name}: {one}" for one in wrong]
        print(f"{name}: {trials[name]}, {len(wrong)} wrong", file=sys.stderr, flush=True)
    document = {"trials": trials, "wrong": found, "seconds": round(time.monotonic() - started, 1)}
    text = json.dumps(document, indent=1) + "\n"
    given.out.write_text(text)
    return 1 if found else 0


def _try(writer: Writer, work: Path, most: int, kinds: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    template, place = work / "template", work / "place"
    template.mkdir()
    writer.before(template)
    known = _found(writer, template)
    _fresh(template, place)
    code, text, calls = _fork(writer, place, 0, 0)
    assert code == 0, text
    after = _found(writer, place)
    states = {known, after, *writer.between}
    tried: dict[str, int] = collections.Counter()
    wrong = []
    for kind in kinds:
        places = (
            [1]
            if kind == "read-only"
            else sorted({1 + calls * step // min(most, calls) for step in range(min(most, calls))})
        )
        for at in places:
            _fresh(template, place)
            code, text, _ = _fork(writer, place, KINDS[kind], at)
            tried[kind] += 1
            problem = _judge(writer, place, kind, code, text, states, after)
            if problem:
                wrong.append(f"{kind} at call {at} of {calls}: {problem}")
    return dict(tried), wrong


def _judge(writer: Writer, place: Path, kind: str, code: int, text: str, states: set[str], after: str) -> str | None:
    if kind == "killed":
        if code not in (-signal.SIGKILL, 0):
            return f"ended with {code}: {text}"
    elif code not in (0, 2) or "Unexpected" in text or (text.count(". ") + text.count("? ") < 2 and code):
        return f"exit code {code}: {text}"
    try:
        state = writer.find(place)
    except Exception as error:
        return f"half is there: {error!r}"
    if state not in states:
        return f"{state} is there, neither of {sorted(states)}"
    if code == 0 and state != after and not writer.elsewhere:
        return f"exit code 0, and {state} is there"
    code, text, _ = _fork(writer, place, 0, 0)
    if code:
        return f"the next run ends with {code}: {text}"
    if _found(writer, place) != after:
        return f"after the next run {_found(writer, place)} is there"
    return None


def _found(writer: Writer, place: Path) -> str:
    return writer.find(place)


def _fresh(template: Path, place: Path) -> None:
    if place.exists():
        shutil.rmtree(place)
    shutil.copytree(template, place)


def _fork(writer: Writer, place: Path, kind: int, at: int) -> tuple[int, str, int]:
    """Exit code (or minus the signal), what a command would have said, and the calls that changed something."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _write(writer, place, kind, at, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    status = os.waitpid(child, 0)[1]
    document: dict[str, Any] = json.loads(told) if told else {"text": "", "calls": 0}
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return code, document["text"], document["calls"]


def _write(writer: Writer, place: Path, kind: int, at: int, pipe: int) -> None:
    library = ctypes.CDLL(None)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    library.disk_arm(kind, at, os.fsencode(place))
    code, text = 0, ""
    try:
        writer.act(place)
    except BaseException as error:
        text, code = refusal(error)
    os.write(pipe, json.dumps({"text": text, "calls": library.disk_count()}).encode())
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Lives of sessions at length: `nice -n 19 python tests/endurance/life.py FOLDER [WHAT ...] --out FILE`.

FOLDER holds models of any engine (lc2fer-export) of one configuration. Each goes, in a process of its own, through

- `threads`: 8 callers of one session, each with --images images that nobody else has asked for in that order, get what
  one caller got before, bit by bit;
- `sessions`: opened, run and closed --sessions times; memory, file descriptors and threads are flat (endure.LIMITS);
- `fork`: in a fork the open session answers as before or says that it is to be opened there, and one opened there
  answers (PyTorch with one thread); the parent's goes on;
- `closing`: closed --closings times while 8 callers run; each gets right answers, and then that it was closed.

`tests/conformance/test_life.py` is the short form, in the gate.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import lc2fer
from lc2fer.errors import UsageError
from lc2fer.session import Session

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))
sys.path.insert(0, str(Path(__file__).parent))

import endure
from forks import forked

CALLERS = 8
THREADS = 2  # of the engine


def _images(session: Session, count: int) -> np.ndarray:
    """Noise, uint8 [count,1,3,H,W]: float32 when it is asked for."""
    return np.random.default_rng(0).integers(0, 256, (count, 1, *session.artifact.input_spec.shape), np.uint8)


def _asked(session: Session, image: np.ndarray) -> np.ndarray:
    return session.run(image.astype(np.float32))


def threads(model: Path, count: int) -> dict[str, Any]:
    """Serial answers first; then each caller asks for all images, from a place of its own."""
    with lc2fer.open_session(model, threads=THREADS) as session:
        images = _images(session, count)
        wanted = [_asked(session, image) for image in images]

        def call(number: int) -> int:
            places = np.roll(np.arange(count), number * count // CALLERS)
            return sum(not np.array_equal(_asked(session, images[place]), wanted[place]) for place in places)

        started = time.monotonic()
        with ThreadPoolExecutor(CALLERS) as pool:
            wrong = sum(pool.map(call, range(CALLERS)))
    seconds = round(time.monotonic() - started, 1)
    return {"callers": CALLERS, "images": count, "wrong": wrong, "seconds": seconds, "good": wrong == 0}


def sessions(model: Path, count: int) -> dict[str, Any]:
    """Opened, run once, closed, so many times."""
    found = endure.sessions(model, count)
    return {**found, "good": all(found[name]["flat"] for name in endure.LIMITS)}


def fork(model: Path, count: int) -> dict[str, Any]:
    """What so many forks of an open session say, one after another."""
    with lc2fer.open_session(model, threads=THREADS) as session:
        image = _images(session, 1)[0]
        wanted = _asked(session, image)
        told = [forked(lambda: np.array_equal(_asked(session, image), wanted)) for _ in range(count)]
        anew = [forked(lambda: _opened_answers(model, image, wanted)) for _ in range(count)]
        after = np.array_equal(_asked(session, image), wanted)
    refused = sum("Open it after the fork." in text for text in told)
    answered = sum(text == "True" for text in told)
    opened = sum(text == "True" for text in anew)
    good = after and answered + refused == opened == count
    return {"forks": count, "answered": answered, "refused": refused, "opened_anew": opened, "good": good}


def _opened_answers(model: Path, image: np.ndarray, wanted: np.ndarray) -> bool:
    """PyTorch, where it had threads, says that it can have but one in a fork; its sums then have another order."""
    try:
        with lc2fer.open_session(model, threads=THREADS) as session:
            return bool(np.array_equal(_asked(session, image), wanted))
    except UsageError as error:
        if "Pass threads=1" not in str(error):
            raise
    with lc2fer.open_session(model, threads=1) as session:
        return bool(np.allclose(_asked(session, image), wanted, atol=1e-4))


def closing(model: Path, count: int) -> dict[str, Any]:
    """Closed while callers run, so many times."""
    answered = wrong = refused = other = 0
    for number in range(count):
        session = lc2fer.open_session(model, threads=THREADS)
        images = _images(session, CALLERS)
        wanted = [_asked(session, image) for image in images]
        begun = threading.Barrier(CALLERS + 1)

        def call(place: int) -> tuple[int, int, str]:
            right = bad = 0
            begun.wait()  # noqa: B023
            try:
                while True:
                    same = np.array_equal(_asked(session, images[place]), wanted[place])  # noqa: B023
                    right, bad = right + same, bad + (not same)
            except UsageError as error:
                return right, bad, str(error)

        with ThreadPoolExecutor(CALLERS) as pool:
            calls = [pool.submit(call, place) for place in range(CALLERS)]
            begun.wait()
            time.sleep(0.005 * (number % 10))
            session.close()
            for right, bad, text in (each.result(timeout=60) for each in calls):
                answered, wrong = answered + right, wrong + bad
                said = text.startswith(f"{model} was closed.")
                refused, other = refused + said, other + (not said)
    good = wrong == other == 0 and refused == count * CALLERS
    return {"closings": count, "answered": answered, "wrong": wrong, "refused": refused, "other": other, "good": good}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", nargs="*", default=["threads", "fork", "closing", "sessions"])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--forks", type=int, default=20)
    parser.add_argument("--closings", type=int, default=50)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    sizes = {"threads": given.images, "fork": given.forks, "closing": given.closings, "sessions": given.sessions}
    suffixes = (".onnx", ".xml", ".safetensors", ".lc2")
    models = sorted(path.absolute() for path in given.folder.iterdir() if path.suffix in suffixes)
    document: dict[str, Any] = json.loads(given.out.read_text()) if given.out.is_file() else {}
    for what in given.what:
        for model in models:
            own = document.setdefault(model.name, {})
            if what in own:
                continue  # who was stopped goes on
            program = "import sys, json; sys.path.insert(0, sys.argv[1]); import life; from pathlib import Path; "
            program += f"print(json.dumps(life.{what}(Path(sys.argv[2]), {sizes[what]})))"
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", program, str(Path(__file__).parent), str(model)],
                capture_output=True,
                text=True,
            )
            lines = done.stdout.splitlines()
            own[what] = json.loads(lines[-1]) if done.returncode == 0 and lines else {"failed": done.stderr[-1000:]}
            print(f"{model.name} {what}: {own[what]}", file=sys.stderr, flush=True)
            given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0 if all(one.get("good") for own in document.values() for one in own.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

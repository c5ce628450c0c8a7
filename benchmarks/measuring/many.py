"""One model under load, in a process of its own, `python -m lc2fer.benchmarks.measuring.many`: of `throughput`.

So many callers call one session, each with so many images, again as soon as it was answered.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from lc2fer import artifact as artifacts
from lc2fer.session import Session, open_session
from lc2fer.telemetry import refuse_telemetry

from .child import batch_of
from .worker import Link, Message, serve


def main(link: Link, job: Message) -> NoReturn:
    """Open the model and say `ready`; then for each line with `callers`, `images`, `seconds` a `turn`.

    The job: `artifact` (path), `threads`, `options` (of the session), `cores` (to be pinned to), `size`, and `inputs`,
    places of images in `pixels`, a file of uint8 [count, size, size, 3]. A turn has `images`, how many were answered,
    `ns`, in which, and `calls_ns`, how long each call took.
    """
    if job["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job["cores"])
    size = int(job["size"])
    images = np.concatenate([batch_of(Path(job["pixels"]), place, size) for place in job["inputs"]])
    refuse_telemetry()
    artifact = artifacts.load(Path(job["artifact"]))
    with open_session(artifact, threads=int(job["threads"]), **job["options"]) as session:
        session.run(images[:2])
        link.send(event="ready", stage="taking turns")
        while True:
            turn = link.receive()
            link.send(event="turn", **load(session, images, turn["callers"], turn["images"], turn["seconds"]))


def load(session: Session, images: NDArray[np.float32], callers: int, count: int, seconds: float) -> dict[str, Any]:
    """Let so many callers ask for `count` images each, at least once and for at least so many seconds."""
    begun = threading.Barrier(callers + 1)
    found: list[list[int]] = [[] for _ in range(callers)]
    failures: list[BaseException] = []
    doubled = np.concatenate([images] * (1 + -(-count // len(images))))  # so that every slice is whole

    def call(own: list[int], first: int) -> None:
        begun.wait()
        place = first
        try:
            while not own or time.perf_counter_ns() < ends:
                start = time.perf_counter_ns()
                session.run(doubled[place : place + count])
                own.append(time.perf_counter_ns() - start)
                place = (place + count) % len(images)
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=call, args=(own, number * len(images) // callers)) for number, own in enumerate(found)
    ]
    for thread in threads:
        thread.start()
    begin = time.perf_counter_ns()
    ends = begin + int(seconds * 1e9)
    begun.wait()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter_ns() - begin
    if failures:
        raise failures[0]
    calls = [duration for own in found for duration in own]
    return {"images": count * len(calls), "ns": elapsed, "calls_ns": calls}


if __name__ == "__main__":
    serve(main)

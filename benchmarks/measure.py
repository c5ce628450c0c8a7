"""One row's measurement, in a process of its own: `python -m lc2fer.benchmarks.measure`, spoken to by `launch`.

The same session, opened once, is timed and then scored: a fast model and an accurate one cannot be two models. Images
are converted outside the clock, and the clock holds `Session.run` and nothing else.
"""

from __future__ import annotations

import gc
import importlib
import time
from array import array
from contextlib import suppress
from pathlib import Path
from statistics import median
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lc2fer import artifact as artifacts
from lc2fer.errors import ArtifactError
from lc2fer.inputs import LABELS
from lc2fer.session import Session, open_session, refuse_telemetry

from .worker import Link, Message, serve

# Kind of artifact -> the package that its session runs on, imported by name before the session is opened, so that the
# engine's own time and memory are told apart from the model's.
ENGINES = MappingProxyType(
    {"checkpoint": "torch", "onnx": "onnxruntime", "openvino": "openvino", "tensorrt": "tensorrt"}
)

WINDOW_RUNS = 25  # the warm-up ends when two consecutive windows, of at least these, have nearly the same median
WINDOW_S = 0.25
STEADY = 0.02  # relative difference of the medians
WARM_UP_RUNS = 50
WARM_UP_S = 1.0

_SECOND_NS = 1_000_000_000


def main(link: Link, job: Message) -> None:
    """Carry out one job.

    The job: `artifact` (path), `threads`, `pixels` (file of uint8 [count, size, size, 3]), `count`, `size`, `inputs`
    (places of the images to time), `time` (false: accuracy only), `warm_up_limit_s`, `runs`, `seconds` (at least both),
    `logits` (file to write, float32 [count, 7], .npy). Messages: `phase` at the end of each phase, answered by a line
    before the next begins; `alive` now and then while scoring; `done` with all durations in ns and, where the session
    can tell, what it executed.
    """
    artifact = artifacts.load(Path(job["artifact"]))
    if artifact.input_spec.size != job["size"] or artifact.input_spec.labels != LABELS:
        raise ArtifactError(
            f"{artifact.path} takes images of {artifact.input_spec.size} pixels and the labels "
            f"{', '.join(artifact.input_spec.labels)}. The images have {job['size']} pixels and the labels "
            f"{', '.join(LABELS)}. Measure it on data that fits it."
        )
    pixels, size = Path(job["pixels"]), int(job["size"])
    inputs = [batch_of(pixels, place, size) for place in job["inputs"]]
    logits = np.empty((int(job["count"]), len(LABELS)), np.float32)

    _announce(link, "baseline", "importing the engine")
    refuse_telemetry()
    start_ns = time.perf_counter_ns()
    with suppress(ImportError):  # open_session says which package is missing, and where it comes from
        importlib.import_module(ENGINES[artifact.kind])
    import_ns = time.perf_counter_ns() - start_ns

    _announce(link, "import", "loading the model")
    start_ns = time.perf_counter_ns()
    session = open_session(artifact, threads=int(job["threads"]))
    load_ns = time.perf_counter_ns() - start_ns
    with session:
        # Not every engine tells: layers by the precision that they run in, which may not be the one asked for.
        executed = getattr(session, "executed_precisions", lambda: None)()
        _announce(link, "load", "running the first image")
        first_ns = timed(session, inputs, runs=1, seconds=0.0)[0]
        _announce(link, "first", "timing")
        warm_up_ns: list[int] = []
        samples_ns: list[int] = []
        settled = True
        if job["time"]:
            warm_up_ns, settled = warm_up(session, inputs, float(job["warm_up_limit_s"]))
            samples_ns = timed(session, inputs, runs=int(job["runs"]), seconds=float(job["seconds"]))
        _announce(link, "steady", "scoring the images")
        score(link, session, pixels, logits, size)
    np.save(job["logits"], logits)
    link.send(
        event="done",
        import_ns=import_ns,
        load_ns=load_ns,
        first_ns=first_ns,
        warm_up_ns=warm_up_ns,
        settled=settled,
        samples_ns=samples_ns,
        executed=executed,
    )


def batch_of(pixels: Path, place: int, size: int) -> NDArray[np.float32]:
    """Image `place` of the file as a batch, float32 [1, 3, size, size].

    Read, not mapped: pages of the data set would count as this process's memory.
    """
    count = size * size * 3
    image = np.fromfile(pixels, np.uint8, count, offset=place * count).reshape(1, size, size, 3)
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2), dtype=np.float32)  # NHWC -> NCHW


def warm_up(session: Session, inputs: list[NDArray[np.float32]], limit_s: float) -> tuple[list[int], bool]:
    """Run until the latency is steady: (durations in ns, whether it became so within the limit).

    Steady: after at least 50 runs and one second, the medians of two consecutive windows differ by less than 2 %.
    """
    durations: list[int] = []
    medians: list[float] = []
    elapsed_s, start = 0.0, time.perf_counter()
    while True:
        window = timed(session, inputs, runs=WINDOW_RUNS, seconds=WINDOW_S, limit_s=limit_s - elapsed_s)
        durations += window
        medians.append(median(window))
        elapsed_s = time.perf_counter() - start
        if len(durations) >= WARM_UP_RUNS and elapsed_s >= WARM_UP_S and is_steady(medians):
            return durations, True
        if elapsed_s >= limit_s:
            return durations, False


def is_steady(medians: list[float]) -> bool:
    """Whether the last two windows' medians differ by less than 2 % of the smaller."""
    return len(medians) >= 2 and abs(medians[-1] - medians[-2]) < STEADY * min(medians[-2:])


def timed(
    session: Session, inputs: list[NDArray[np.float32]], *, runs: int, seconds: float, limit_s: float | None = None
) -> list[int]:
    """Durations in ns of single runs over the rotating inputs: at least `runs` and `seconds`, at most `limit_s`.

    Nothing is left out or clipped. The garbage collector rests meanwhile.
    """
    clock, run, count = time.perf_counter_ns, session.run, len(inputs)
    durations = array("q")
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        begin = clock()
        end = begin + int(seconds * _SECOND_NS)
        limit = None if limit_s is None else begin + int(limit_s * _SECOND_NS)
        while True:
            batch = inputs[len(durations) % count]
            start = clock()
            run(batch)
            stop = clock()
            durations.append(stop - start)
            if (len(durations) >= runs and stop >= end) or (limit is not None and stop >= limit):
                return durations.tolist()
    finally:
        if enabled:
            gc.enable()


def score(link: Link, session: Session, pixels: Path, logits: NDArray[np.float32], size: int) -> None:
    """Fill `logits` [N, 7] image by image; raises ArtifactError for an answer that is no finite float32 [1, 7]."""
    said = time.perf_counter()
    for place in range(len(logits)):
        answer = session.run(batch_of(pixels, place, size))
        if answer.dtype != np.float32 or answer.shape != (1, len(LABELS)) or not np.isfinite(answer).all():
            found = "NaN or infinity" if answer.shape == (1, len(LABELS)) else f"{answer.dtype} {list(answer.shape)}"
            raise ArtifactError(
                f"{session.artifact.path} answered image {place} with {found}. Finite logits, float32 "
                f"[1, {len(LABELS)}], were expected. Export the model again."
            )
        logits[place] = answer[0]
        if time.perf_counter() - said > 1:
            link.send(event="alive", stage=f"scoring image {place + 1} of {len(logits)}")
            said = time.perf_counter()


def _announce(link: Link, phase: str, stage: str) -> None:
    """Say that a phase has ended and wait until the parent has read this process's memory."""
    gc.collect()
    link.send(event="phase", name=phase, stage=stage)
    link.receive()


if __name__ == "__main__":
    serve(main)

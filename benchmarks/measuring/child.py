"""One launch of a row, in a process of its own: `python -m lc2fer.benchmarks.measuring.child`, spoken to by `launch`.

The same session, opened once, is timed and then scored: a fast model and an accurate one cannot be two models. Images
are converted outside the clock. Three things are timed apart: the engine on an input that is in its place (compute),
`Session.run` from an array to an array (round trip), and everything from a picture file's bytes to a class (frame).
"""

from __future__ import annotations

import gc
import importlib
import os
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from lc2fer import artifact as artifacts
from lc2fer import pictures
from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError
from lc2fer.session import Session, open_session
from lc2fer.telemetry import refuse_telemetry

from .worker import Link, Message, serve

if TYPE_CHECKING:
    from PIL.Image import Image

# Kind of artifact -> the package that its session runs on, imported by name before the session is opened, so that the
# engine's own time and memory are told apart from the model's.
PACKAGES = MappingProxyType(
    {
        "checkpoint": "torch",
        "onnx": "onnxruntime",
        "openvino": "openvino",
        "tensorrt": "tensorrt",
        "native": "lc2fer.deploy.sessions.native",
        "executorch": "executorch.extension.pybindings.portable_lib",
        "litert": "ai_edge_litert.interpreter",
        "mnn": "MNN",
        "ncnn": "ncnn",
    }
)

WINDOW_RUNS = 25  # the warm-up ends when two consecutive windows, of at least these, have nearly the same median
WINDOW_S = 0.25
STEADY = 0.02  # relative difference of the medians
WARM_UP_RUNS = 50
WARM_UP_S = 1.0

SIDE_SHARE = 0.25  # of the seconds and runs: how long compute, frames and throughput are each measured beside the rest
_SIDE_RUNS = 30  # at least

MOST_SAMPLES = 1_000_000  # of a clock, 8 MB; more make no interval narrower than a machine's own drift

_SECOND_NS = 1_000_000_000


def main(link: Link, job: Message) -> None:
    """Carry out one job.

    The job: `artifact` (path), `kind`, `threads`, `cores` (to be pinned to), `size`, `inputs` (places of the images to
    time), `pixels` (file of uint8 [count, size, size, 3]), `files` (the same images as picture files, for frames),
    `labels` (the images' classes), `time` (false: no timing), `turns` (true: timed in turns, and nothing else),
    `warm_up_limit_s`, `runs`, `seconds` (at least both), `slowdown`, `score` (list of [pixels, count, file to write:
    float32 [count, classes], .npy]).

    Messages: `phase` at the end of each phase, answered by a line before the next begins; `alive` now and then while
    scoring; `done` with all durations in ns and, where the session can tell, what it executed, and by which kernels of
    ours. In turns: `ready`, then a `turn` for each line with `runs` and `seconds`, until the parent ends the process.
    """
    if job["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job["cores"])
    size = int(job["size"])
    inputs = [batch_of(Path(job["pixels"]), place, size) for place in job["inputs"]]
    files = [Path(name).read_bytes() for name in job["files"]]
    for content in files[:1]:
        decoded(content)  # Pillow's own memory belongs to the baseline

    _announce(link, "baseline", "importing the engine")
    refuse_telemetry()
    with suppress(ImportError), _stopwatch() as imported:  # open_session says which package is missing
        if job["kind"] in PACKAGES:
            importlib.import_module(PACKAGES[job["kind"]])

    _announce(link, "import", "reading the model")
    with _stopwatch() as loaded:
        artifact = artifacts.load(Path(job["artifact"]))
    _check(artifact, size, tuple(job["labels"]) if job["score"] else artifact.input_spec.labels)

    _announce(link, "load", "opening the model")
    with _stopwatch() as compiled:
        session = open_session(artifact, threads=int(job["threads"]))
    with session:
        _announce(link, "compile", "running the first image")
        first_ns = timed(session.run, inputs, runs=1, seconds=0.0)[0]
        _announce(link, "first", "timing")
        gc.freeze()  # what is there stays; else each collection before a timing walks an engine's whole package anew
        if job["turns"]:
            _turns(link, session, inputs, job)
        times = _times(link, session, inputs, files, job) if job["time"] else {}
        _announce(link, "steady", "scoring the images")
        for pixels, count, answers in job["score"]:
            logits = np.empty((int(count), len(artifact.input_spec.labels)), np.float32)
            score(link, session, Path(pixels), logits, size)
            np.save(answers, logits)
        # Last, for an engine may have to open the model once more to tell. Layers by the precision that they ran in.
        _announce(link, "scored", "reading back what ran")
        executed = getattr(session, "executed_precisions", lambda: None)()
    link.send(
        event="done",
        import_ns=imported(),
        load_ns=loaded(),
        compile_ns=compiled(),
        first_ns=first_ns,
        executed=executed,
        kernels=getattr(session, "kernels", None),
        **times,
    )


def _times(
    link: Link, session: Session, inputs: list[NDArray[np.float32]], files: list[bytes], job: Message
) -> dict[str, Any]:
    """Warm-up, the three clocks, then the phase `timed` and the throughput."""
    runs, seconds = int(job["runs"]), float(job["seconds"])
    side_runs, side_s = min(runs, max(_SIDE_RUNS, int(SIDE_SHARE * runs))), SIDE_SHARE * seconds
    run = _runner(session, job)
    warm_up_ns, settled = warm_up(run, inputs, float(job["warm_up_limit_s"]))
    samples_ns = timed(run, inputs, runs=runs, seconds=seconds)
    frame_ns = timed(framing(session), files, runs=side_runs, seconds=side_s) if files else []
    bind = getattr(session, "bind", None)  # not every engine lets an input be put in place beforehand
    compute_ns = timed(_call, inputs, runs=side_runs, seconds=side_s, prepare=bind) if bind is not None else []
    _announce(link, "timed", "measuring the throughput")
    return {
        "warm_up_ns": warm_up_ns,
        "settled": settled,
        "samples_ns": samples_ns,
        "frame_ns": frame_ns,
        "compute_ns": compute_ns,
        "throughput": throughput(run, inputs, runs=side_runs, seconds=side_s),
    }


def _turns(link: Link, session: Session, inputs: list[NDArray[np.float32]], job: Message) -> NoReturn:
    """Warm up, say so, then answer each message with the round trips of a turn; ends with the parent's patience."""
    run = _runner(session, job)
    warm_up(run, inputs, float(job["warm_up_limit_s"]))
    link.send(event="ready", stage="taking turns")
    while True:
        turn = link.receive()
        link.send(event="turn", samples_ns=timed(run, inputs, runs=turn["runs"], seconds=turn["seconds"]))


def _runner(session: Session, job: Message) -> Callable[[Any], object]:
    return session.run if job["slowdown"] == 1 else slowed(session.run, float(job["slowdown"]))


def batch_of(pixels: Path, place: int, size: int) -> NDArray[np.float32]:
    """Image `place` of the file as a batch, float32 [1, 3, size, size].

    Read, not mapped: pages of the data set would count as this process's memory.
    """
    count = size * size * 3
    image = np.fromfile(pixels, np.uint8, count, offset=place * count).reshape(1, size, size, 3)
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2), dtype=np.float32)  # NHWC -> NCHW


def decoded(content: bytes) -> Image:
    """A picture file's bytes as an image."""
    return pictures.read(content).image


def framing(session: Session) -> Callable[[bytes], int]:
    """What an application does with a picture: decode its file, prepare it, run the model, take the best class."""
    spec = session.artifact.input_spec
    return lambda content: int(session.run(spec.apply(decoded(content))[np.newaxis])[0].argmax())


def slowed(run: Callable[[Any], object], factor: float) -> Callable[[Any], object]:
    """A run that takes `factor` times as long, kept busy for the rest: what a trial of the harness has to find."""
    clock = time.perf_counter_ns

    def slow(given: Any) -> object:
        start = clock()
        answer = run(given)
        end = start + int(factor * (clock() - start))
        while clock() < end:
            pass
        return answer

    return slow


def warm_up(run: Callable[[Any], object], inputs: Sequence[Any], limit_s: float) -> tuple[list[int], bool]:
    """Run until the latency is steady: (durations in ns, whether it became so within the limit).

    Steady: after at least 50 runs and one second, the medians of two consecutive windows differ by less than 2 %.
    """
    durations: list[int] = []
    medians: list[float] = []
    elapsed_s, start = 0.0, time.perf_counter()
    while True:
        window = timed(run, inputs, runs=WINDOW_RUNS, seconds=WINDOW_S, limit_s=limit_s - elapsed_s)
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
    run: Callable[[Any], object],
    inputs: Sequence[Any],
    *,
    runs: int,
    seconds: float,
    limit_s: float | None = None,
    prepare: Callable[[Any], Any] | None = None,  # what it makes of an input, outside the clock, is run
) -> list[int]:
    """Durations in ns of single runs over the rotating inputs: at least `runs` and `seconds`, at most `limit_s`.

    A million end it in any case. Nothing is left out or clipped. The garbage collector rests meanwhile.
    """
    clock, count = time.perf_counter_ns, len(inputs)
    durations = array("q")
    with _no_collection():
        begin = clock()
        end = begin + seconds * _SECOND_NS
        limit = None if limit_s is None else begin + int(limit_s * _SECOND_NS)
        while True:
            given = inputs[len(durations) % count]
            if prepare is not None:
                given = prepare(given)
            start = clock()
            run(given)
            stop = clock()
            durations.append(stop - start)
            enough = len(durations) >= runs and stop >= end
            if enough or len(durations) >= MOST_SAMPLES or (limit is not None and stop >= limit):
                return durations.tolist()


def throughput(run: Callable[[Any], object], inputs: Sequence[Any], *, runs: int, seconds: float) -> tuple[int, int]:
    """(runs, ns) of whole rounds over all inputs, back to back, with a look at the clock after each round."""
    done, clock = 0, time.perf_counter_ns
    with _no_collection():
        begin = clock()
        while True:
            for given in inputs:
                run(given)
            done += len(inputs)
            elapsed = clock() - begin
            if done >= runs and elapsed >= seconds * _SECOND_NS:
                return done, elapsed


def score(link: Link, session: Session, pixels: Path, logits: NDArray[np.float32], size: int) -> None:
    """Fill `logits` [N, classes] image by image; raises ArtifactError for any but a finite float32 [1, classes]."""
    wanted = (1, logits.shape[1])
    said = time.perf_counter()
    for place in range(len(logits)):
        answer = session.run(batch_of(pixels, place, size))
        if answer.dtype != np.float32 or answer.shape != wanted or not np.isfinite(answer).all():
            found = "NaN or infinity" if answer.shape == wanted else f"{answer.dtype} {list(answer.shape)}"
            raise ArtifactError(
                f"{session.artifact.path} answered image {place} with {found}. Finite logits, float32 "
                f"{list(wanted)}, were expected. Export the model again."
            )
        logits[place] = answer[0]
        if time.perf_counter() - said > 1:
            link.send(event="alive", stage=f"scoring image {place + 1} of {len(logits)}")
            said = time.perf_counter()


def _check(artifact: Artifact, size: int, labels: tuple[str, ...]) -> None:
    if artifact.input_spec.size != size or artifact.input_spec.labels != labels:
        raise ArtifactError(
            f"{artifact.path} takes images of {artifact.input_spec.size} pixels and the labels "
            f"{', '.join(artifact.input_spec.labels)}. The images have {size} pixels and the labels "
            f"{', '.join(labels)}. Measure it on data that fits it."
        )


def _announce(link: Link, phase: str, stage: str) -> None:
    """Say that a phase has ended and wait until the parent has read this process's memory."""
    gc.collect()
    link.send(event="phase", name=phase, stage=stage)
    link.receive()


def _call(bound: Callable[[], object]) -> None:
    bound()


@contextmanager
def _stopwatch() -> Iterator[Callable[[], int]]:
    """Yields a function that tells the ns that the block took, once it is left."""
    start = time.perf_counter_ns()
    stop: list[int] = []
    try:
        yield lambda: stop[0]
    finally:
        stop.append(time.perf_counter_ns() - start)


@contextmanager
def _no_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


if __name__ == "__main__":
    serve(main)

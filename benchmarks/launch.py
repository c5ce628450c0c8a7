"""The parent's side of a row: start its process, read its memory from outside, and judge whether the numbers hold."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lc2fer.artifact import Artifact

from .machine import load_average, usable_cores
from .memory import Recorder
from .report import Measurement, Outputs
from .worker import Message, Worker, WorkerError

FEWEST_INPUTS = 64  # one image over and over again hides what depends on the data and the cache
FEWEST_SAMPLES = 200
DRIFT = 0.10  # relative difference of the first and last third's medians
SPARE_LOAD = 0.5  # runnable processes of others, as a share of the cores, that are tolerated

_SAMPLING_S = 0.05


@dataclass(frozen=True)
class Images:
    """Prepared pictures of one size in a file, uint8 [count, size, size, 3]."""

    path: Path
    count: int
    size: int  # pixels a side

    @property
    def timed(self) -> list[int]:
        """Places of the images that latency is measured on, spread evenly."""
        wanted = min(FEWEST_INPUTS, self.count)
        return [place * self.count // wanted for place in range(wanted)]


@dataclass(frozen=True)
class Settings:
    """How long and how wide to measure."""

    threads: int
    runs: int = 200
    seconds: float = 2.0
    warm_up_limit_s: float = 5.0


def measure(artifact: Artifact, images: Images, settings: Settings, work: Path) -> tuple[Measurement, Outputs]:
    """Time and score a model in a fresh process; `work` is a folder for its files.

    Raises what the session raises (TargetUnavailable, ArtifactError, ...) and WorkerError where the process dies.
    """
    before = load_average()
    done, recorder, outputs = _run(artifact, images, settings, work, time=True)
    return (
        Measurement(
            samples_ns=tuple(done["samples_ns"]),
            warm_up_ns=tuple(done["warm_up_ns"]),
            import_s=done["import_ns"] / 1e9,
            load_s=done["load_ns"] / 1e9,
            first_s=done["first_ns"] / 1e9,
            memory=recorder.memory(),
            threads=settings.threads,
            inputs=len(images.timed),
            executed=done["executed"],
            load_average=before,
            degraded=doubts(
                done["samples_ns"],
                settled=done["settled"],
                inputs=len(images.timed),
                threads=settings.threads,
                cores=usable_cores(),
                load=before,
            ),
        ),
        outputs,
    )


def evaluate(artifact: Artifact, images: Images, settings: Settings, work: Path) -> Outputs:
    """A model's answers alone, in a fresh process as well; raises as `measure` does."""
    return _run(artifact, images, settings, work, time=False)[2]


def doubts(
    samples_ns: Sequence[int], *, settled: bool, inputs: int, threads: int, cores: int, load: float | None
) -> tuple[str, ...]:
    """Why a measurement is not to be taken at face value, a phrase each; empty for a valid one."""
    found = []
    if load is not None and load > SPARE_LOAD * cores + threads:  # the row before it may still count with its threads
        found.append(f"the load average was {load:.1f} before it, on {cores} cores")
    if threads > cores:
        found.append(f"it had {threads} threads on {cores} cores")
    if not settled:
        found.append("the warm-up did not become steady")
    if len(samples_ns) < FEWEST_SAMPLES:
        found.append(f"it has {len(samples_ns)} samples, fewer than {FEWEST_SAMPLES}")
    if inputs < FEWEST_INPUTS:
        found.append(f"it rotated over {inputs} images, fewer than {FEWEST_INPUTS}")
    third = len(samples_ns) // 3
    if third > 0:
        first, last = statistics.median(samples_ns[:third]), statistics.median(samples_ns[-third:])
        if abs(last - first) > DRIFT * min(first, last):
            found.append(f"its median drifted by {(last - first) / first:+.0%} from the first third to the last")
    return tuple(found)


def _run(
    artifact: Artifact, images: Images, settings: Settings, work: Path, *, time: bool
) -> tuple[Message, Recorder, Outputs]:
    logits = work / f"{artifact.name}.npy"
    job = {
        "artifact": str(artifact.path.absolute()),
        "threads": settings.threads,
        "pixels": str(images.path.absolute()),
        "count": images.count,
        "size": images.size,
        "inputs": images.timed,
        "time": time,
        "warm_up_limit_s": settings.warm_up_limit_s,
        "runs": settings.runs,
        "seconds": settings.seconds,
        "logits": str(logits.absolute()),
    }
    worker = Worker(
        "lc2fer.benchmarks.measure",
        job,
        purpose=f"measures {artifact.variant} {artifact.target}",
        environment={"OMP_NUM_THREADS": str(settings.threads)},
        log=work / f"{artifact.name}.log",
    )
    recorder = Recorder(worker.pid)
    sampling = False  # reading a process's memory stops it for a moment: never while it is timed
    with worker:
        while True:
            message = worker.receive(_SAMPLING_S if sampling else None)
            if message is None:
                recorder.record("steady")
            elif message["event"] == "phase":
                recorder.record(message["name"])
                sampling = message["name"] == "steady"
                worker.send({"event": "go"})
            elif message["event"] == "done":
                break
    try:
        outputs = Outputs.of(np.load(logits, allow_pickle=False))
        logits.unlink()
    except (OSError, ValueError) as error:
        raise WorkerError(
            f"The process that measures {artifact.variant} {artifact.target} left no readable logits ({error}). "
            "Expected a whole .npy file. Free some space in the folder of temporary files and run it again."
        ) from None
    return message, recorder, outputs

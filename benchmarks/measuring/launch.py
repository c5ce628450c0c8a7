"""The parent's side of a launch: start the process, watch it from outside, and collect what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lc2fer import environments
from lc2fer.artifact import Artifact

from ..report.answers import Outputs
from ..report.document import Launch
from .conditions import Meter, Neighbours, idle_watts, observe
from .images import Images
from .memory import Recorder
from .worker import Message, Worker, WorkerError

_SAMPLING_S = 0.05


@dataclass(frozen=True)
class Settings:
    """How long and how wide to measure; runs and seconds are of each launch, and both are least."""

    threads: int
    launches: int = 3
    runs: int = 224  # with three launches more than the 662 that a p99 needs
    seconds: float = 1.0
    warm_up_limit_s: float = 5.0
    cores: tuple[int, ...] = ()  # to pin to; empty: leave it to the system
    slowdown: float = 1.0  # artificial, to try the harness itself


@dataclass(frozen=True, eq=False)
class Scored:
    """A model's answers to all images, and to the first of them under each factor."""

    outputs: Outputs
    perturbed: Mapping[str, Outputs]


def measure(artifact: Artifact, images: Images, settings: Settings, work: Path) -> Launch:
    """Time a model in a fresh process; `work` is a folder for its files.

    Raises what the session raises (TargetUnavailable, ArtifactError, ...) and WorkerError where the process dies.
    """
    return _run(artifact, images, settings, work, time=True, score=False)[0]


def measure_and_score(artifact: Artifact, images: Images, settings: Settings, work: Path) -> tuple[Launch, Scored]:
    """The same with the model's answers, given by the same session after it was timed."""
    launch, scored = _run(artifact, images, settings, work, time=True, score=True)
    assert scored is not None
    return launch, scored


def evaluate(artifact: Artifact, images: Images, settings: Settings, work: Path) -> Scored:
    """A model's answers alone, in a fresh process as well; raises as `measure` does."""
    scored = _run(artifact, images, settings, work, time=False, score=True)[1]
    assert scored is not None
    return scored


def start(artifact: Artifact, images: Images, settings: Settings, log: Path, **more: Any) -> Worker:
    """A fresh process for a model, pinned and threaded as the settings say, with `more` fields of its job."""
    job = {
        "artifact": str(artifact.path.absolute()),
        "kind": artifact.kind,
        "threads": settings.threads,
        "cores": settings.cores,
        "size": images.size,
        "inputs": images.timed,
        "pixels": str(images.path.absolute()),
        "files": [],
        "labels": list(images.labels),
        "time": False,
        "turns": False,
        "warm_up_limit_s": settings.warm_up_limit_s,
        "runs": settings.runs,
        "seconds": settings.seconds,
        "slowdown": settings.slowdown,
        "score": [],
    }
    return Worker(
        "lc2fer.benchmarks.measuring.child",
        {**job, **more},
        purpose=f"measures {artifact.variant} {artifact.target}",
        environment={"OMP_NUM_THREADS": str(settings.threads)},
        log=log,
        python=environments.interpreter(artifact.kind),
    )


def _run(
    artifact: Artifact, images: Images, settings: Settings, work: Path, *, time: bool, score: bool
) -> tuple[Launch, Scored | None]:
    parts = {"clean": (images.path, images.count)} if score else {}
    if score:
        parts |= {factor: (path, images.perturbed_count) for factor, path in images.perturbed.items()}
    answers = {name: work / f"{artifact.name}-{name}.npy" for name in parts}
    idle = idle_watts() if time else None
    worker = start(
        artifact,
        images,
        settings,
        work / f"{artifact.name}.log",
        files=[str(images.files[place].absolute()) for place in images.timed] if images.files and time else [],
        time=time,
        score=[[str(path.absolute()), count, str(answers[name].absolute())] for name, (path, count) in parts.items()],
    )
    launch = _launch(_watch(worker, settings), settings, len(images.timed), idle)
    if not score:
        return launch, None
    found = {name: _answers(path, artifact) for name, path in answers.items()}
    return launch, Scored(found.pop("clean"), found)


@dataclass
class _Watch:
    """What was seen from outside while a process ran, and its last message."""

    recorder: Recorder
    done: Message = field(default_factory=dict)
    before: Any = None
    after: Any = None
    others_cores: float | None = None
    joules: float | None = None


def _watch(worker: Worker, settings: Settings) -> _Watch:
    seen = _Watch(Recorder(worker.pid), before=observe(settings.cores))
    neighbours: Neighbours | None = None
    meter: Meter | None = None
    sampling = False  # reading a process's memory stops it for a moment: never while it is timed
    with worker:
        while True:
            message = worker.receive(_SAMPLING_S if sampling or (meter is not None and meter.source) else None)
            if message is None:
                if sampling:
                    seen.recorder.record("steady")
                elif meter is not None:
                    meter.sample()
            elif message["event"] == "phase":
                phase = message["name"]
                seen.recorder.record("steady" if phase == "scored" else phase)
                seen.recorder.record_device("steady" if phase == "scored" else phase)
                if phase == "scored":
                    sampling = False
                elif phase == "first":
                    neighbours = Neighbours(worker.pid)
                elif phase == "timed":
                    seen.others_cores = None if neighbours is None else neighbours.mean()
                    meter = Meter()
                elif phase == "steady":
                    seen.joules = None if meter is None else meter.joules()
                    seen.after, meter, sampling = observe(settings.cores), None, True
                worker.send({"event": "go"})
            elif message["event"] == "done":
                seen.done = message
                return seen


def _launch(seen: _Watch, settings: Settings, inputs: int, idle: float | None) -> Launch:
    done = seen.done
    runs, elapsed_ns = done.get("throughput", (0, 0))
    return Launch(
        **{name: tuple(done.get(name, ())) for name in ("samples_ns", "compute_ns", "frame_ns", "warm_up_ns")},
        settled=done.get("settled", True),
        throughput=(runs, elapsed_ns),
        import_s=done["import_ns"] / 1e9,
        load_s=done["load_ns"] / 1e9,
        compile_s=done["compile_ns"] / 1e9,
        first_s=done["first_ns"] / 1e9,
        memory=seen.recorder.memory(),
        threads=settings.threads,
        cores=settings.cores,
        inputs=inputs,
        executed=done["executed"],
        kernels=done["kernels"],
        before=seen.before,
        after=seen.after,
        others_cores=seen.others_cores,
        energy_mj=seen.joules / runs * 1e3 if seen.joules is not None and runs else None,
        idle_watts=idle,
    )


def _answers(path: Path, artifact: Artifact) -> Outputs:
    try:
        outputs = Outputs.of(np.load(path, allow_pickle=False))
        path.unlink()
    except (OSError, ValueError) as error:
        raise WorkerError(
            f"The process that measures {artifact.variant} {artifact.target} left no readable logits ({error}). "
            "Expected a whole .npy file. Free some space in the folder of temporary files and run it again."
        ) from None
    return outputs

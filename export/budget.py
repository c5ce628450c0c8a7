"""INT8 that earns its place: accurate enough on D^v, and faster than what is more precise, or refused.

Precision is given back to the layers that INT8 hurts most until the loss fits; what is left must then be faster than
the best higher-precision artifact of the same engine, run in turns with it. D^e is never looked at.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lc2fer import artifact as artifacts
from lc2fer import metrics
from lc2fer.artifact import Artifact
from lc2fer.errors import DataError, ParityError
from lc2fer.recipe import Budget
from lc2fer.session import open_session
from lc2fer.targets import FILES, TARGETS, check_budget_target

from .int8.calibration import CalibrationSet
from .sensitivity import Simulation

if TYPE_CHECKING:
    from .pipeline import Pipeline

IMAGES = 2000  # of D^v, or all where it has fewer
RANKING_IMAGES = 300
_ALL = 1.0  # the drop of what does not agree with its parent; not measured
_CHUNK = 50  # images at once
_ROUNDS, _RUNS, _WARM_UP_RUNS = 15, 12, 20


@dataclass(frozen=True)
class _Trial:
    """An INT8 artifact that was made, with the share of images that it loses; None where there is none to be had."""

    artifact: Artifact | None
    drop: float
    kept: tuple[str, ...]


def deliver(pipeline: Pipeline, target: str, budget: Budget) -> Artifact:
    """The INT8 artifact of that target if it keeps the budget, else the best higher-precision one of its engine.

    Its manifest says in `budget` what was found. Raises what Pipeline.export does.
    """
    check_budget_target(target)
    images = pipeline.validation.policy(IMAGES)
    if (images.labels < 0).any():
        raise DataError(
            f"{pipeline.data} has other classes than the weights, {', '.join(pipeline.checkpoint.input_spec.labels)}. "
            "Images of these were expected, to see what INT8 loses. Pass them as --data."
        )
    rivals = [
        pipeline.export(name)
        for name in FILES
        if (row := TARGETS[name]).portable and row.kind == TARGETS[target].kind and row.precision != "int8"
    ]
    reference = _logits(pipeline.checkpoint, images)
    with artifacts.staged(pipeline.out) as staging:
        trial = _within(pipeline, target, budget, images, reference, staging)
        compared = [*rivals, *([] if trial.artifact is None else [trial.artifact])]
        latencies_ms = interleaved_ms(compared, images)
        medians_ms = [median(samples) for samples in latencies_ms]
        best = min(range(len(rivals)), key=medians_ms.__getitem__)
        found: dict[str, Any] = {
            "target": target,
            "max_drop": budget.max_drop,
            "min_speedup": budget.min_speedup,
            "images": len(images),
            "images_fingerprint": images.fingerprint,
            "parent_accuracy": metrics.accuracy(images.labels, metrics.predictions(reference)),
            "drop": trial.drop,
            "kept": list(trial.kept),
            "rival": rivals[best].target,
            "rival_latency_ms": medians_ms[best],
            "latency_ms": None,
            "speedup": None,
        }
        if trial.artifact is not None:
            speedup = median(rival / own for rival, own in zip(latencies_ms[best], latencies_ms[-1]))
            found |= {"latency_ms": medians_ms[-1], "speedup": speedup}
        reason = _reason(trial, found, rivals[best])
        found |= {"verdict": "kept" if reason is None else "refused", "reason": reason}
        if reason is None:
            assert trial.artifact is not None
            made = artifacts.publish(replace(trial.artifact, budget=found), pipeline.out)
            pipeline.say(
                f"{made.path.name}: {_change(trial.drop)} on {len(images)} validation images, "
                f"{found['speedup']:.2f} times as fast as {rivals[best].name}, "
                f"{_kept(trial.kept)}"
            )
            return made
    pipeline.say(reason)
    made = replace(rivals[best], budget=found)
    artifacts.write(made.manifest_path, made.to_json())
    return made


def interleaved_ms(compared: Sequence[Artifact], images: CalibrationSet) -> list[list[float]]:
    """For each artifact the median latency of one image in each round, ms; a round runs them in turn."""
    inputs = [images.batch(place, place + 1) for place in range(min(_RUNS, len(images)))]
    found: list[list[float]] = [[] for _ in compared]
    with ExitStack() as stack:
        sessions = [stack.enter_context(open_session(artifact)) for artifact in compared]
        for session in sessions:
            for run in range(_WARM_UP_RUNS):
                session.run(inputs[run % len(inputs)])
        for _ in range(_ROUNDS):
            for session, medians_ms in zip(sessions, found):
                samples_ns = []
                for image in inputs:
                    start_ns = time.perf_counter_ns()
                    session.run(image)
                    samples_ns.append(time.perf_counter_ns() - start_ns)
                medians_ms.append(median(samples_ns) / 1e6)
    return found


def _within(
    pipeline: Pipeline,
    target: str,
    budget: Budget,
    images: CalibrationSet,
    reference: NDArray[np.float32],
    staging: Path,
) -> _Trial:
    """The first artifact that loses no more than the budget: without kept layers, then with ever more.

    How many to keep is first found on graphs that ONNX Runtime simulates; a real artifact of that many decides.
    """
    trial = _try(pipeline, target, (), images, reference, staging)
    if trial.drop <= budget.max_drop:
        return trial
    wanted = pipeline.wanted(target)
    assert wanted.recipe is not None
    calibration = pipeline.calibration(wanted.recipe)
    assert calibration is not None
    simulation = Simulation(pipeline.checkpoint, wanted.recipe, calibration, images.first(RANKING_IMAGES))
    worst = [damage.layer for damage in simulation.ranking()]
    simulation.images = images
    for count in range(1, len(worst)):
        if _drop(images, reference, simulation.logits(worst[:count])) > budget.max_drop:
            continue
        trial = _try(pipeline, target, tuple(worst[:count]), images, reference, staging)
        pipeline.say(f"{wanted.path.stem}: {_kept(trial.kept)}: {_change(trial.drop)}")
        if trial.drop <= budget.max_drop:
            return trial
    return replace(trial, artifact=None)


def _try(
    pipeline: Pipeline,
    target: str,
    kept: tuple[str, ...],
    images: CalibrationSet,
    reference: NDArray[np.float32],
    staging: Path,
) -> _Trial:
    """The artifact with those layers kept; nothing is published."""
    try:
        made = pipeline.build(pipeline.wanted(target, kept), staging)
    except ParityError:
        return _Trial(None, _ALL, kept)
    return _Trial(made, _drop(images, reference, _logits(made, images)), kept)


def _drop(images: CalibrationSet, reference: NDArray[np.float32], logits: NDArray[np.float32]) -> float:
    """Share of the images that is lost: the parent's accuracy less this one's; below 0 for a gain."""
    worse, better = metrics.flips(images.labels, metrics.predictions(reference), metrics.predictions(logits))
    return (worse - better) / len(images)


def _logits(artifact: Artifact, images: CalibrationSet) -> NDArray[np.float32]:
    with open_session(artifact) as session:
        starts = range(0, len(images), _CHUNK)
        return np.concatenate([session.run(images.batch(start, min(start + _CHUNK, len(images)))) for start in starts])


def _reason(trial: _Trial, found: dict[str, Any], rival: Artifact) -> str | None:
    """Why INT8 is refused, or None."""
    name = f"{rival.variant}-{found['target']}"
    allowed = f"(at most {100 * found['max_drop']:.2f} may be lost)"
    change = f"{_change(trial.drop)} on {found['images']} validation images {allowed}"
    if trial.artifact is None:
        return (
            f"{name} was refused: with {_kept(trial.kept)} it still {change}. An INT8 artifact within the budget "
            f"was expected. {rival.name} is delivered instead; raise --max-drop, or train the network for INT8."
        )
    if found["speedup"] < found["min_speedup"]:
        return (
            f"{name} was refused: it is {found['speedup']:.2f} times as fast as {rival.name} "
            f"({found['latency_ms']:.2f} against {found['rival_latency_ms']:.2f} ms) and {change}, "
            f"{_kept(trial.kept)}. At least {found['min_speedup']:.2f} times was expected. "
            f"{rival.name} is delivered instead; lower --min-speedup, or measure on another machine."
        )
    return None


def _change(drop: float) -> str:
    if drop == _ALL:
        return "loses its agreement with the trained network"
    return f"{'gains' if drop < 0 else 'loses'} {100 * abs(drop):.2f} points"


def _kept(layers: Sequence[str]) -> str:
    return f"{', '.join(layers)} kept in float" if layers else "no layer kept in float"

"""Key figures of a report's rows, computed from its raw samples and answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lc2fer import metrics

from ..report.answers import Outputs
from ..report.document import Launch, Parent, Report, Row
from . import spread
from .spread import Spread
from .validity import Validity, judge


@dataclass(frozen=True)
class Scores:
    """What is read off a model's answers to images. Shares are fractions; None: there is no parent."""

    accuracy: float
    interval: metrics.Interval  # 95 %, of the accuracy
    mean_class_accuracy: float
    nll: float
    calibration_error: float
    agreement: float | None
    flips: metrics.Flips | None
    sqnr_db: float | None
    max_abs: float | None  # largest difference of a logit from the parent's


def scores(labels: Sequence[int], outputs: Outputs, parent: Outputs | None) -> Scores:
    """Of the answers to the first of the labelled images, and of a parent's to the same ones."""
    predicted = outputs.predictions
    known = labels[: len(predicted)]
    correct = sum(label == guess for label, guess in zip(known, predicted))
    return Scores(
        accuracy=metrics.accuracy(known, predicted),
        interval=metrics.wilson_interval(correct, len(known)),
        mean_class_accuracy=metrics.mean_class_accuracy(known, predicted, outputs.logits.shape[1]),
        nll=metrics.nll(known, outputs.logits),
        calibration_error=metrics.calibration_error(known, outputs.logits),
        agreement=None if parent is None else metrics.agreement(parent.predictions, predicted),
        flips=None if parent is None else metrics.flips(known, parent.predictions, predicted),
        sqnr_db=None if parent is None else metrics.sqnr_db(parent.logits, outputs.logits),
        max_abs=None if parent is None else metrics.max_abs(parent.logits, outputs.logits),
    )


@dataclass(frozen=True)
class Figures(Scores):
    """What is read off a row. None: there is no sample or no reading."""

    p50_ms: Spread
    p90_ms: metrics.Percentile | None
    p95_ms: metrics.Percentile | None
    p99_ms: metrics.Percentile | None  # None: too few samples
    compute_ms: float | None
    frame_ms: float | None
    throughput_hz: float | None
    energy_mj: float | None  # an inference, of the whole package or board
    energy_above_idle_mj: float | None
    size_bytes: int
    memory_bytes: int | None  # growth over an interpreter with numpy, at its highest
    validity: Validity


def figures(report: Report, row: Row) -> Figures:
    """The key figures of one of the report's rows."""
    parent = parent_of(report, row)
    memory = [launch.memory.growth_bytes("steady") for launch in row.launches]
    energy = [launch.energy_mj for launch in row.launches if launch.energy_mj is not None]
    return Figures(
        **vars(scores(report.data.labels, row.outputs, None if parent is None else parent.outputs)),
        p50_ms=spread.latency_ms(row.launches),
        p90_ms=spread.percentile_ms(row.launches, 90),
        p95_ms=spread.percentile_ms(row.launches, 95),
        p99_ms=spread.percentile_ms(row.launches, 99),
        compute_ms=spread.median_ms(row.launches, "compute"),
        frame_ms=spread.median_ms(row.launches, "frame"),
        throughput_hz=spread.throughput_hz(row.launches),
        energy_mj=sum(energy) / len(energy) if energy else None,
        energy_above_idle_mj=_above_idle(row.launches),
        size_bytes=row.size_bytes,
        memory_bytes=max((bytes_ for bytes_ in memory if bytes_ is not None), default=None),
        validity=judge(row.launches, report.machine),
    )


def _above_idle(launches: Sequence[Launch]) -> float | None:
    """Millijoules an inference over what the machine takes when nothing is timed; None where not measured."""
    found = [
        launch.energy_mj - launch.idle_watts * launch.throughput[1] / launch.throughput[0] / 1e6  # W x ns: 1e-6 mJ
        for launch in launches
        if launch.energy_mj is not None and launch.idle_watts is not None
    ]
    return sum(found) / len(found) if found else None


def parent_of(report: Report, row: Row) -> Parent | None:
    """The network that a row came from, if the report has its answers."""
    return next((parent for parent in report.parents if parent.variant == row.variant), None)


def share(part: float) -> str:
    """A percentage that says 100 only where not one image differs."""
    text = f"{100 * part:.2f}"
    return "<100.00" if text == "100.00" and part < 1 else text


def latency_text(found: Spread) -> str:
    """The value and, where there is an interval, its larger half."""
    if found.low is None or found.high is None:
        return f"{found.value:.3f}"
    return f"{found.value:.3f} ±{max(found.high - found.value, found.value - found.low):.3f}"

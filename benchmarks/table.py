"""What people read off a report: key figures and the table, pure functions of its raw data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lc2fer import metrics

from .report import PARENT, Failure, Report, Row

_HEADINGS = (
    "model",
    "target",
    "accuracy %",
    "agreement %",
    "flips -/+",
    "SQNR dB",
    "p50 ms",
    "p90 ms",
    "size MB",
    "memory MB",
    "state",
)


@dataclass(frozen=True)
class Figures:
    """What is read off a row. Shares are fractions; None: there is no parent, no sample or no reading."""

    accuracy: float
    interval: metrics.Interval  # 95 %, of the accuracy
    mean_class_accuracy: float
    agreement: float | None
    flips: metrics.Flips | None
    sqnr_db: float | None
    p50_ms: metrics.Percentile
    p90_ms: metrics.Percentile
    size_bytes: int
    memory_bytes: int | None  # growth over an interpreter with numpy, at its highest


def figures(report: Report, row: Row) -> Figures:
    """The key figures of one of the report's rows."""
    labels, predicted = report.data.labels, row.outputs.predictions
    parent = next((parent.outputs for parent in report.parents if parent.variant == row.variant), None)
    samples_ms = np.asarray(row.measurement.samples_ns, dtype=np.float64) / 1e6
    correct = sum(label == found for label, found in zip(labels, predicted))
    return Figures(
        accuracy=metrics.accuracy(labels, predicted),
        interval=metrics.wilson_interval(correct, len(labels)),
        mean_class_accuracy=metrics.mean_class_accuracy(labels, predicted, len(report.data.label_names)),
        agreement=None if parent is None else metrics.agreement(parent.predictions, predicted),
        flips=None if parent is None else metrics.flips(labels, parent.predictions, predicted),
        sqnr_db=None if parent is None else metrics.sqnr_db(parent.logits, row.outputs.logits),
        p50_ms=metrics.percentile(samples_ms, 50),
        p90_ms=metrics.percentile(samples_ms, 90),
        size_bytes=row.size_bytes,
        memory_bytes=row.measurement.memory.growth_bytes("steady"),
    )


def table(report: Report) -> str:
    """The report for people: a heading, a line a row, and what must be known about them."""
    from tabulate import tabulate  # type: ignore[import-untyped]

    lines = [_heading(report), ""]
    if report.rows:
        cells = [_cells(row, figures(report, row)) for row in report.rows]
        sides = ("left", "left", *["right"] * (len(_HEADINGS) - 3), "left")
        lines.append(tabulate(cells, _HEADINGS, disable_numparse=True, colalign=sides))
    lines += _notes(report.rows)
    lines += _failures(report.failures)
    return "\n".join(lines)


def _heading(report: Report) -> str:
    machine, data = report.machine, report.data
    threads = sorted({row.measurement.threads for row in report.rows})
    whole = "" if len(data.labels) == data.available else f" of {data.available:,}"
    return (
        f"{machine.cpu}, {machine.usable_cores} of {machine.logical_cores} cores, {machine.system}; "
        f"{', '.join(map(str, threads)) or 'no'} threads, batch 1; {len(data.labels):,}{whole} test images of "
        f"{data.name}"
    )


def _cells(row: Row, found: Figures) -> list[str]:
    half = (found.interval.high - found.interval.low) / 2
    model = row.variant + ("" if row.weights == "trained" else "*")
    memory = "-" if found.memory_bytes is None else f"{found.memory_bytes / 1e6:.1f}"
    cells = [model, row.target, f"{100 * found.accuracy:.2f} ±{100 * half:.2f}"]
    if row.target == PARENT:
        cells += ["parent", "", ""]
    elif found.agreement is None or found.flips is None or found.sqnr_db is None:
        cells += ["-", "-", "-"]
    else:
        cells += [_share(found.agreement), f"{found.flips.worse}/{found.flips.better}", f"{found.sqnr_db:.1f}"]
    times = [f"{found.p50_ms.value:.3f}", f"{found.p90_ms.value:.3f}"]
    return [*cells, *times, f"{found.size_bytes / 1e6:.2f}", memory, row.measurement.state]


def _share(share: float) -> str:
    """A percentage that says 100 only where not one image differs."""
    text = f"{100 * share:.2f}"
    return "<100.00" if text == "100.00" and share < 1 else text


def _notes(rows: Sequence[Row]) -> list[str]:
    notes = [
        f"{row.variant} {row.target} is DEGRADED: {'; '.join(row.measurement.degraded)}."
        for row in rows
        if row.measurement.degraded
    ]
    if any(row.weights == "random" for row in rows):
        notes.append("* random weights: times, sizes and memory hold; accuracy and agreement prove nothing.")
    if any(row.weights == "unknown" for row in rows):
        notes.append("* weights of unknown origin: their checkpoint could not be read here.")
    kinds = {row.measurement.memory.kind for row in rows}
    if "rss" in kinds:
        notes.append("Memory is RSS, which counts shared pages in full: this system does not tell PSS.")
    if None in kinds:
        notes.append("Memory could not be read on this system.")
    return ["", *notes] if notes else []


def _failures(failures: Sequence[Failure]) -> list[str]:
    """A line for each reason, with all rows that it kept from being made."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for failure in failures:
        reasons.setdefault((failure.variant, failure.error, failure.text), []).append(failure.target)
    lines = [
        f"{variant} {', '.join(targets)} {'not available here' if error == 'TargetUnavailable' else 'failed'}: "
        f"{text if error == 'TargetUnavailable' else f'{error}: {text}'}"
        for (variant, error, text), targets in reasons.items()
    ]
    return ["", *lines] if lines else []

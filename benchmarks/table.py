"""What people read off a report: key figures and the table, pure functions of its raw data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lc2fer import metrics

from . import spread
from .peers import fraction_of_rate, macs_per_ms, pairs
from .report import PARENT, Failure, Launch, Parent, Report, Row
from .spread import Spread
from .validity import Validity, judge

_HEADINGS = (
    "model",
    "target",
    "ran in",
    "accuracy %",
    "agreement %",
    "flips -/+",
    "SQNR dB",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "frame ms",
    "images/s",
    "size MB",
    "memory MB",
    "state",
)
_RATE = "of rate %"


@dataclass(frozen=True)
class Figures:
    """What is read off a row. Shares are fractions; None: there is no parent, no sample or no reading."""

    accuracy: float
    interval: metrics.Interval  # 95 %, of the accuracy
    mean_class_accuracy: float
    agreement: float | None
    flips: metrics.Flips | None
    sqnr_db: float | None
    max_abs: float | None  # largest difference of a logit from the parent's
    nll: float
    calibration_error: float
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
    labels, predicted = report.data.labels, row.outputs.predictions
    found = parent_of(report, row)
    parent = None if found is None else found.outputs
    correct = sum(label == guess for label, guess in zip(labels, predicted))
    memory = [launch.memory.growth_bytes("steady") for launch in row.launches]
    energy = [launch.energy_mj for launch in row.launches if launch.energy_mj is not None]
    return Figures(
        accuracy=metrics.accuracy(labels, predicted),
        interval=metrics.wilson_interval(correct, len(labels)),
        mean_class_accuracy=metrics.mean_class_accuracy(labels, predicted, len(report.data.label_names)),
        agreement=None if parent is None else metrics.agreement(parent.predictions, predicted),
        flips=None if parent is None else metrics.flips(labels, parent.predictions, predicted),
        sqnr_db=None if parent is None else metrics.sqnr_db(parent.logits, row.outputs.logits),
        max_abs=None if parent is None else metrics.max_abs(parent.logits, row.outputs.logits),
        nll=metrics.nll(labels, row.outputs.logits),
        calibration_error=metrics.calibration_error(labels, row.outputs.logits),
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


def table(report: Report) -> str:
    """The report for people: a heading, a line a row, and what must be known about them."""
    from tabulate import tabulate  # type: ignore[import-untyped]

    lines = [heading(report), ""]
    if report.rows or report.failures:
        headings, cells = cells_of(report)
        sides = ("left", "left", "left", *["right"] * (len(headings) - 4), "left")
        lines.append(tabulate(cells, headings, disable_numparse=True, colalign=sides))
    lines += _against_stock(report)
    lines += notes(report)
    return "\n".join(lines)


def heading(report: Report) -> str:
    """Machine, threads and data in one line."""
    machine, data = report.machine, report.data
    launches = [launch for row in report.rows for launch in row.launches]
    threads = sorted({launch.threads for launch in launches})
    rounds = max((len(row.launches) for row in report.rows), default=0)
    whole = "" if len(data.labels) == data.available else f" of {data.available:,}"
    return (
        f"{machine.cpu}, {machine.usable_cores} of {machine.logical_cores} cores, {machine.system}; "
        f"{', '.join(map(str, threads)) or 'no'} threads, batch 1, {rounds} launches; "
        f"{len(data.labels):,}{whole} test images of {data.name}"
    )


def cells_of(report: Report) -> tuple[list[str], list[list[str]]]:
    """Headings and, for each row and then each row that could not be made, its cells."""
    headings = list(_HEADINGS)
    if report.rate is not None:
        headings.insert(-1, _RATE)
    cells = [_cells(report, row) for row in report.rows]
    for failure in report.failures:
        state = "not available here" if failure.error == "TargetUnavailable" else "failed"
        cells.append([failure.variant, failure.target, *["-"] * (len(headings) - 3), state])
    return headings, cells


def notes(report: Report) -> list[str]:
    """What must be known to read the table, an empty line before each kind."""
    return [*_notes(report), *_failures(report.failures)]


def ran_in(row: Row) -> str:
    """The precisions that most layers ran in, as the engine tells: "bf16 41, u8 12"."""
    executed = next((launch.executed for launch in row.launches if launch.executed), {})
    common = sorted(executed.items(), key=lambda item: -item[1])[:2]
    return ", ".join(f"{precision} {layers}" for precision, layers in common) or "-"


def _cells(report: Report, row: Row) -> list[str]:
    found = figures(report, row)
    half = (found.interval.high - found.interval.low) / 2
    model = row.variant + ("" if row.weights == "trained" else "*")
    cells = [model, row.target, ran_in(row), f"{100 * found.accuracy:.2f} ±{100 * half:.2f}"]
    if row.target == PARENT:
        cells += ["parent", "", ""]
    elif found.agreement is None or found.flips is None or found.sqnr_db is None:
        cells += ["-", "-", "-"]
    else:
        cells += [_share(found.agreement), f"{found.flips.worse}/{found.flips.better}", f"{found.sqnr_db:.1f}"]
    cells += [
        latency(found.p50_ms),
        _number(None if found.p90_ms is None else found.p90_ms.value, 3),
        _number(None if found.p99_ms is None else found.p99_ms.value, 3),
        _number(found.frame_ms, 3),
        _number(found.throughput_hz, 0),
        f"{found.size_bytes / 1e6:.2f}",
        _number(None if found.memory_bytes is None else found.memory_bytes / 1e6, 1),
    ]
    if report.rate is not None:
        cells.append(f"{100 * fraction_of_rate(row, report.rate):.1f}")
    return [*cells, found.validity.state]


def latency(found: Spread) -> str:
    """The value and, where there is an interval, its larger half."""
    if found.low is None or found.high is None:
        return f"{found.value:.3f}"
    return f"{found.value:.3f} ±{max(found.high - found.value, found.value - found.low):.3f}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _share(share: float) -> str:
    """A percentage that says 100 only where not one image differs."""
    text = f"{100 * share:.2f}"
    return "<100.00" if text == "100.00" and share < 1 else text


def stock_headings() -> tuple[str, ...]:
    """Of the ratios against stock routes."""
    return ("model", "ours", "stock", "ours/stock", "95 %", "over launches")


def stock_cells(report: Report) -> list[list[str]]:
    """For each of our rows and its stock counterpart, the ratio of medians and how it spreads."""
    return [
        [
            pair.model,
            pair.ours,
            pair.stock,
            f"{pair.ratio.value:.3f}",
            "-" if pair.ratio.low is None else f"{pair.ratio.low:.3f} to {pair.ratio.high:.3f}",
            f"{min(pair.ratio.launches):.3f} to {max(pair.ratio.launches):.3f}",
        ]
        for pair in pairs(report)
    ]


def _against_stock(report: Report) -> list[str]:
    """A line for each of our rows and its stock counterpart, and the machine's own rate."""
    from tabulate import tabulate

    lines = []
    cells = stock_cells(report)
    if cells:
        sides = ("left", "left", "left", "right", "right", "right")
        lines += ["", tabulate(cells, stock_headings(), disable_numparse=True, colalign=sides)]
    return lines


def _notes(report: Report) -> list[str]:
    rows = report.rows
    notes = []
    if report.rate is not None:
        notes.append(f"Machine rate: {macs_per_ms(report.rate) / 1e6:,.0f} GMAC/s, an 8-bit matrix product.")
    for row in rows:
        validity = judge(row.launches, report.machine)
        if validity.doubts:
            notes.append(f"{row.variant} {row.target} is {validity.state}: {validity.text}")
    if any(row.weights == "random" for row in rows):
        notes.append("* random weights: times, sizes and memory hold; accuracy and agreement prove nothing.")
    if any(row.weights == "unknown" for row in rows):
        notes.append("* weights of unknown origin: their checkpoint could not be read here.")
    kinds = {launch.memory.kind for row in rows for launch in row.launches}
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

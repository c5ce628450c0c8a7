"""A report as a table for people, and what must be known to read it."""

from __future__ import annotations

from collections.abc import Sequence

from ..judging.figures import figures, latency_text, share
from ..judging.peers import fraction_of_rate, macs_per_ms, pairs
from ..judging.validity import judge
from ..report.document import PARENT, Failure, Report, Row
from . import robustness

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
    "compute ms",
    "frame ms",
    "images/s",
    "size MB",
    "memory MB",
    "state",
)
_RATE = "of rate %"
# What a terminal of usual width shows; --wide, report.md and report.html have all.
_NARROW = ("model", "target", "accuracy %", "agreement %", "p50 ms", "p90 ms", "size MB", "memory MB", "state")


def table(report: Report, *, wide: bool = True) -> str:
    """The report for people: a heading, a line a row, and what must be known about them.

    Narrow, it has the columns that most people read, and one line instead of each row's doubts.
    """
    from tabulate import tabulate  # type: ignore[import-untyped]

    lines = [heading(report), ""]
    if report.rows or report.failures:
        headings, cells = cells_of(report)
        if not wide:
            kept = [place for place, name in enumerate(headings) if name in _NARROW]
            headings, cells = [headings[at] for at in kept], [[line[at] for at in kept] for line in cells]
        sides = ["left" if name in ("model", "target", "ran in", "state") else "right" for name in headings]
        lines.append(tabulate(cells, headings, disable_numparse=True, colalign=sides))
    lines += _against_stock(report)
    lines += _off_the_clean_set(report)
    lines += notes(report) if wide else ["", *_in_short(report), *_failures(report.failures)]
    return "\n".join(lines)


def _in_short(report: Report) -> list[str]:
    """Whether a newcomer has to worry about the rows' states; their reasons stand in the page."""
    doubted = [row for row in report.rows if judge(row.launches, report.machine).doubts]
    lines = []
    if doubted:
        lines.append(
            f"The times of {len(doubted)} of {len(report.rows)} rows are rough here: mostly, other work was running. "
            "Accuracy, agreement and size are not touched by it. DEGRADED: an order of magnitude. INVALID: no "
            "measurement. --wide and report.html give each row's reason, and what to do."
        )
    if any(row.weights == "random" for row in report.rows):
        lines.append("* random weights: accuracy and agreement prove nothing.")
    return lines


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
    """Precisions that layers ran in, as the engine tells, 8 bits first; our kernels' variant: "i8 6, f32 3: amx"."""
    executed = next((launch.executed for launch in row.launches if launch.executed), {})
    common = sorted(executed.items(), key=lambda item: ("8" not in item[0], -item[1]))
    return (", ".join(f"{precision} {layers}" for precision, layers in common) or "-") + by_kernels(row)


def by_kernels(row: Row) -> str:
    """The variants of lc2fer/kernels that the row's launches ran, behind a colon; nothing where it has none."""
    found = dict.fromkeys(launch.kernels for launch in row.launches if launch.kernels is not None)
    return f": {', '.join(found)}" if found else ""


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
        cells += [share(found.agreement), f"{found.flips.worse}/{found.flips.better}", f"{found.sqnr_db:.1f}"]
    cells += [
        latency_text(found.p50_ms),
        _number(None if found.p90_ms is None else found.p90_ms.value, 3),
        _number(None if found.p99_ms is None else found.p99_ms.value, 3),
        _number(found.compute_ms, 3),
        _number(found.frame_ms, 3),
        _number(found.throughput_hz, 0),
        f"{found.size_bytes / 1e6:.2f}",
        _number(None if found.memory_bytes is None else found.memory_bytes / 1e6, 1),
    ]
    if report.rate is not None:
        cells.append(f"{100 * fraction_of_rate(row, report.rate):.1f}")
    return [*cells, found.validity.state]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


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


def _off_the_clean_set(report: Report) -> list[str]:
    from tabulate import tabulate

    headings, cells = robustness.cells_of(report)
    if not cells:
        return []
    sides = ("left", "left", *["right"] * (len(headings) - 2))
    return ["", tabulate(cells, headings, disable_numparse=True, colalign=sides), robustness.note(report)]


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

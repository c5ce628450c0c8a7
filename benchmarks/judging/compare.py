"""lc2fer-bench compare: two reports row by row, answers pair by pair, latencies on equal machines only."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lc2fer import metrics
from lc2fer.arguments import a_path
from lc2fer.errors import UsageError

from ..report import document as reports
from ..report.document import PARENT, Report
from . import paired
from .gate import slowdown
from .paired import Drop
from .spread import Spread

_HEADINGS = ("model", "target", "accuracy %", "flips -/+", "lost, points", "McNemar p", "verdict", "latency", "95 %")


@dataclass(frozen=True)
class Comparison:
    """One row in two reports."""

    model: str
    target: str
    drop: Drop
    accuracies: tuple[float, ...]  # first, second
    p_value: float  # McNemar's, adjusted over all rows
    verdict: str
    latency: Spread | None  # second over first; None: not compared
    relative: str  # what the latencies were taken relative to


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command; raises UsageError where the reports cannot be compared as asked."""
    chosen = _parse(arguments)
    first, second = reports.read(chosen.first), reports.read(chosen.second)
    found = compare(first, second, margin=chosen.margin, latency=not chosen.accuracy_only)
    print(table(found, chosen.margin))
    return {
        "first": str(chosen.first),
        "second": str(chosen.second),
        "rows": [
            {
                "model": one.model,
                "target": one.target,
                "lost": one.drop.value,
                "lost_at_most": one.drop.high,
                "p": one.p_value,
                "verdict": one.verdict,
                "latency_ratio": None if one.latency is None else one.latency.value,
            }
            for one in found
        ],
    }


def compare(first: Report, second: Report, *, margin: float, latency: bool = True) -> list[Comparison]:
    """The second report's rows against the first's of the same name.

    Raises UsageError for other images, for another machine where latencies are to be compared, and for no common row.
    """
    if first.data.fingerprint != second.data.fingerprint:
        raise UsageError(
            f"The reports were scored on {len(first.data.labels):,} images of {first.data.name} "
            f"({first.data.fingerprint[:12]}) and {len(second.data.labels):,} of {second.data.name} "
            f"({second.data.fingerprint[:12]}). Expected the same images, for answers are compared one by one. "
            "Score both on the same data."
        )
    if latency and first.machine.identity != second.machine.identity:
        differences = ", ".join(first.machine.differences(second.machine))
        raise UsageError(
            f"The reports are of two machines: {differences} differ. Expected one, for latencies of two machines tell "
            "nothing about the models. Measure both on one machine, or pass --accuracy-only."
        )
    rows = {(row.variant, row.target): row for row in first.rows}
    both = [(rows[key], row) for row in second.rows if (key := (row.variant, row.target)) in rows]
    if not both:
        raise UsageError("The reports have no row in common. Expected the same models and targets. Measure them again.")
    labels = first.data.labels
    drops = [paired.drop(labels, before.outputs.predictions, after.outputs.predictions) for before, after in both]
    p_values = paired.holm([paired.mcnemar(one.worse, one.better) for one in drops])
    found = []
    for (before, after), one, p_value, verdict in zip(both, drops, p_values, paired.verdicts(drops, margin)):
        ratio, relative = slowdown(after, before, second, first, PARENT) if latency else (None, "")
        found.append(
            Comparison(
                after.variant,
                after.target,
                one,
                tuple(metrics.accuracy(labels, row.outputs.predictions) for row in (before, after)),
                p_value,
                verdict,
                ratio,
                relative,
            )
        )
    return found


def table(found: Sequence[Comparison], margin: float) -> str:
    """The comparison for people."""
    from tabulate import tabulate  # type: ignore[import-untyped]

    lines = [tabulate([_cells(one) for one in found], _HEADINGS, disable_numparse=True), ""]
    lines.append(
        f"Verdict: whether the second is not worse by {100 * margin:g} points or more, with 95 %, over "
        f"{found[0].drop.images:,} images; p values are adjusted over all rows (Holm)."
    )
    relative = {one.relative for one in found if one.relative}
    if any(one.latency is not None for one in found):
        lines.append(f"Latency: medians of the second over the first{''.join(sorted(relative))}.")
    for one in found:
        needed = one.drop.images_needed(margin)
        if one.verdict == paired.INCONCLUSIVE and needed is not None:
            lines.append(f"{one.model} {one.target}: {needed:,} images decide, if answers flip as often as here.")
    return "\n".join(lines)


def _cells(one: Comparison) -> list[str]:
    interval = paired.bootstrap(one.drop)
    latency = ["-", "-"]
    if one.latency is not None:
        low, high = one.latency.low, one.latency.high
        latency = [f"{one.latency.value:.3f}", "-" if low is None else f"{low:.3f} to {high:.3f}"]
    return [
        one.model,
        one.target,
        f"{100 * one.accuracies[0]:.2f} -> {100 * one.accuracies[1]:.2f}",
        f"{one.drop.worse}/{one.drop.better}",
        f"{100 * one.drop.value:+.2f} ({100 * interval.low:+.2f} to {100 * interval.high:+.2f})",
        f"{one.p_value:.3g}",
        one.verdict,
        *latency,
    ]


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(
        prog="lc2fer-bench compare", description="Compare two reports: answers image by image, latencies as ratios."
    )
    parser.add_argument("first", type=a_path, metavar="A.json", help="the reference")
    parser.add_argument("second", type=a_path, metavar="B.json", help="the report that is judged")
    parser.add_argument(
        "--margin", type=float, default=0.01, metavar="SHARE", help="largest tolerable drop of accuracy (default: 0.01)"
    )
    parser.add_argument("--accuracy-only", action="store_true", help="for reports of two machines")
    return parser


def _parse(arguments: list[str]) -> argparse.Namespace:
    chosen = parser().parse_args(arguments)
    if not 0 < chosen.margin < 1:
        raise UsageError(f"--margin is {chosen.margin}. Expected a share between 0 and 1. Pass 0.01 for one point.")
    return chosen

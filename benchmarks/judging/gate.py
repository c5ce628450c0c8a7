"""Judging a report by rules, alone or against a baseline: pure functions from reports to verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from lc2fer import metrics
from lc2fer.errors import UsageError
from lc2fer.targets import is_stock

from ..report.document import PARENT, Report, Row
from ..report.graph import quantizers
from . import paired, ratios, spread
from .figures import figures, parent_of
from .paired import FAIL, INCONCLUSIVE, PASS, Drop
from .rules import Accuracy, Latency, Rules, fits
from .spread import Spread

SKIPPED = "skipped"
_NO_PARENT = "there is no parent in the report"


@dataclass(frozen=True)
class Verdict:
    """One rule applied to one row."""

    rule: str
    model: str
    target: str
    state: str  # pass | fail | inconclusive | skipped
    text: str
    counts: bool = False  # as a failure
    undecided: bool = False  # what it found leaves the gate open, if nothing fails


def judge(report: Report, rules: Rules, baseline: Report | None = None) -> list[Verdict]:
    """All rules on all rows that they are about, but stock routes. A rule that cannot be applied is skipped, says why.

    Raises UsageError where not one rule could be applied: nothing was looked at, and nothing is known.
    """
    report = replace(
        report,
        rows=tuple(row for row in report.rows if not is_stock(row.target)),
        failures=tuple(one for one in report.failures if not is_stock(one.target)),
    )
    found = [Verdict("made", one.variant, one.target, *_missing(one.error, one.text)) for one in report.failures]
    if rules.accuracy is not None:
        found += _against(report, rules.accuracy, "parent", _parents(report))
        found += [
            Verdict("accuracy against parent", row.variant, row.target, SKIPPED, _NO_PARENT)
            for row in report.rows
            if row.target != PARENT and parent_of(report, row) is None
        ]
    for floor in rules.floors:
        found += [_floor(report, row, floor.figure, floor.at_least) for row in report.rows if fits(floor, row)]
    for reference in rules.references:
        for row in report.rows:
            if fits(reference, row):
                known = report.data.fingerprint.startswith(reference.data)
                found.append(_reference(report, row, reference.accuracy, reference.tolerance, known))
    for ratio in rules.ratios:
        found += [_ratio(report, row, ratio.to, ratio.at_most) for row in report.rows if fits(ratio, row)]
    if baseline is not None:
        found += _since(report, rules, baseline)
    if all(one.state == SKIPPED for one in found):
        raise UsageError(
            f"No rule applied to the report's {len(report.rows)} rows. Expected at least one that could be checked, "
            "for a gate that checks nothing cannot pass. Measure other targets, or correct the rules."
        )
    return [replace(one, counts=one.state == FAIL or one.counts) for one in found]


def drops(report: Report, references: Sequence[tuple[Row, Sequence[int]]], confidence: float) -> list[Drop]:
    """The drop of each row from the predictions beside it."""
    labels = report.data.labels
    return [paired.drop(labels, before, row.outputs.predictions, confidence) for row, before in references]


def slowdown(row: Row, before: Row, report: Report, baseline: Report, relative_to: str) -> tuple[Spread, str]:
    """How much slower a row is than in a baseline, and what it was taken relative to.

    Two runs were not interleaved, so each row is first divided by a row of its own run that took turns with it.
    """
    own, theirs = (_row(one, row.variant, relative_to) for one in (report, baseline))
    if own is None or theirs is None or row.target == relative_to:
        return spread.quotient(spread.latency_ms(row.launches), spread.latency_ms(before.launches)), ""
    now, then = ratios.ratio(report, row, own), ratios.ratio(baseline, before, theirs)
    return spread.quotient(now, then), f" relative to {relative_to}"


def _missing(error: str, text: str) -> tuple[str, str]:
    return (SKIPPED, f"not available here: {text}") if error == "TargetUnavailable" else (FAIL, f"{error}: {text}")


def _parents(report: Report) -> list[tuple[Row, Sequence[int]]]:
    found = [(row, parent_of(report, row)) for row in report.rows if row.target != PARENT]
    return [(row, parent.outputs.predictions) for row, parent in found if parent is not None]


def _against(
    report: Report, rule: Accuracy, what: str, references: Sequence[tuple[Row, Sequence[int]]]
) -> Iterator[Verdict]:
    found = drops(report, references, rule.confidence)
    gains = paired.holm([1 - one.p_beyond(-rule.gain) for one in found])
    for (row, _), one, state, gain in zip(references, found, paired.verdicts(found, rule.margin), gains):
        text = (
            f"{_points(one.value)} points lost against the {what} ({one.worse} worse, {one.better} better of "
            f"{one.images:,}; at most {_points(one.high)} with {rule.confidence:.0%}; margin {_points(rule.margin)})"
        )
        if what == "baseline" and gain < 1 - rule.confidence:
            state, text = FAIL, f"{text}: an unexplained gain. Find its cause, then renew the baseline"
        elif state == INCONCLUSIVE:
            needed = one.images_needed(rule.margin)
            many = "No number of images decides a drop at the margin" if needed is None else f"{needed:,} images decide"
            text = f"{text}. {many}, if answers flip as often as here"
        beyond = rule.inconclusive == "undecided" and one.value > rule.margin
        strict = state == INCONCLUSIVE and (beyond or rule.inconclusive == "fail")
        open_ = state == INCONCLUSIVE and rule.inconclusive == "undecided"
        yield Verdict(f"accuracy against {what}", row.variant, row.target, state, text, strict, open_)


def _floor(report: Report, row: Row, figure: str, at_least: float) -> Verdict:
    found = figures(report, row)
    classes = len(report.data.label_names)
    known = [one for one in metrics.recalls(report.data.labels, row.outputs.predictions, classes) if one is not None]
    value = min(known) if figure == "worst_recall" else getattr(found, figure)
    if value is None:
        return Verdict(figure, row.variant, row.target, SKIPPED, _NO_PARENT)
    state = PASS if value >= at_least else FAIL
    return Verdict(figure, row.variant, row.target, state, f"{value:.4g}, at least {at_least:.4g} expected")


def _reference(report: Report, row: Row, accuracy: float, tolerance: float, known: bool) -> Verdict:
    if not known:
        return Verdict("reference", row.variant, row.target, SKIPPED, "it is of other images")
    value = figures(report, row).accuracy
    text = f"accuracy {value:.4f}, {accuracy:.4f} ±{tolerance:.4f} expected"
    if value > accuracy + tolerance:
        text += ": an unexplained gain. Find its cause, then renew the reference"
    state = PASS if abs(value - accuracy) <= tolerance else FAIL
    return Verdict("reference", row.variant, row.target, state, text)


def _ratio(report: Report, row: Row, to: str, at_most: float) -> Verdict:
    other = _row(report, row.variant, to)
    rule = f"latency against {to}"
    if other is None:
        return Verdict(rule, row.variant, row.target, SKIPPED, f"there is no row {to}")
    return _bounded(rule, row, ratios.ratio(report, row, other), at_most, "")


def _bounded(rule: str, row: Row, found: Spread, at_most: float, relative: str) -> Verdict:
    """Pass or fail where the whole interval is on one side."""
    text = f"ratio {found.value:.3f}{relative}"
    if found.low is None or found.high is None:
        return Verdict(rule, row.variant, row.target, INCONCLUSIVE, f"{text} from one launch. Raise --launches")
    text = f"{text} ({found.low:.3f} to {found.high:.3f}), at most {at_most:.3g} expected"
    state = PASS if found.high <= at_most else FAIL if found.low > at_most else INCONCLUSIVE
    return Verdict(rule, row.variant, row.target, state, text)


def _since(report: Report, rules: Rules, baseline: Report) -> Iterator[Verdict]:
    couples = [(row, _row(baseline, row.variant, row.target)) for row in report.rows]
    both = [(row, before) for row, before in couples if before is not None]
    for row, before in couples:
        if before is None:
            yield Verdict("baseline", row.variant, row.target, SKIPPED, "the baseline has no such row")
    for before in baseline.rows:
        if not is_stock(before.target) and _row(report, before.variant, before.target) is None:
            yield Verdict("baseline", before.variant, before.target, SKIPPED, "the report has no such row")
    if rules.accuracy is not None:
        if report.data.fingerprint == baseline.data.fingerprint:
            references = [(row, before.outputs.predictions) for row, before in both]
            yield from _against(report, rules.accuracy, "baseline", references)
        else:
            yield Verdict("accuracy against baseline", "*", "*", SKIPPED, "the baseline was scored on other images")
    if rules.latency is not None:
        yield from _latency(report, baseline, rules.latency, both)
    for figure in rules.exact:
        for row, before in both:
            now, then = _EXACT[figure](row), _EXACT[figure](before)
            if now is not None or then is not None:
                text = f"{now}, {then} expected" if now != then else str(now)
                yield Verdict(figure, row.variant, row.target, PASS if now == then else FAIL, text)


def _latency(report: Report, baseline: Report, rule: Latency, both: list[tuple[Row, Row]]) -> Iterator[Verdict]:
    if report.machine.identity != baseline.machine.identity:
        differences = ", ".join(report.machine.differences(baseline.machine))
        text = f"the baseline is of another machine ({differences})"
        yield Verdict("latency against baseline", "*", "*", SKIPPED, text)
        return
    for row, before in both:
        found, relative = slowdown(row, before, report, baseline, rule.relative_to)
        yield _bounded("latency against baseline", row, found, rule.tripwire, relative)


def _nodes(row: Row) -> int | None:
    return None if row.graph is None else sum(row.graph.values())


def _quantizers(row: Row) -> int | None:
    return None if row.graph is None else quantizers(row.graph)


_EXACT: dict[str, Callable[[Row], int | None]] = {
    "nodes": _nodes,
    "quantizers": _quantizers,
    "size_bytes": lambda row: row.size_bytes,
}


def _row(report: Report, model: str, target: str) -> Row | None:
    return next((row for row in report.rows if (row.variant, row.target) == (model, target)), None)


def _points(share: float) -> str:
    return f"{100 * share:.2f}"

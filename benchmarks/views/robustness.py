"""What a model keeps where its images are covered, blurred, too dark or too bright, or tilted.

All columns are of the same first images of D^e, undisturbed and under each factor, so that what a factor costs a model
and what it costs the model's parent can be read off one line each.
"""

from __future__ import annotations

from ..judging.figures import Scores, parent_of, scores, share
from ..report.answers import Outputs
from ..report.document import PARENT, Report, Row

NOTE = (
    "Accuracy in %, on the first {images:,} images of D^e as they are and under each factor; in brackets the share of "
    "answers that are the parent's to the same pictures."
)
_CLEAN = "clean"


def disturbed(report: Report, row: Row) -> dict[str, Scores]:
    """Condition -> what is read off a row's answers under it, the undisturbed images first; empty: none were scored."""
    if not row.perturbed:
        return {}
    count = max(len(outputs.predictions) for outputs in row.perturbed.values())
    parent = parent_of(report, row)
    own = {_CLEAN: _first(row.outputs, count), **row.perturbed}
    theirs = {} if parent is None else {_CLEAN: _first(parent.outputs, count), **parent.perturbed}
    return {factor: scores(report.data.labels, outputs, theirs.get(factor)) for factor, outputs in own.items()}


def cells_of(report: Report) -> tuple[list[str], list[list[str]]]:
    """Headings and a line for each row that has answers to disturbed images; no lines where none were scored."""
    found = [(row, disturbed(report, row)) for row in report.rows if row.perturbed]
    factors = list(dict.fromkeys(factor for _, scored in found for factor in scored))
    return ["model", "target", *factors], [
        [row.variant, row.target, *(_cell(row, scored.get(factor)) for factor in factors)] for row, scored in found
    ]


def note(report: Report) -> str:
    """What the cells are."""
    counts = [len(outputs.predictions) for row in report.rows for outputs in row.perturbed.values()]
    return NOTE.format(images=max(counts, default=0))


def _cell(row: Row, found: Scores | None) -> str:
    if found is None:
        return "-"
    same = "" if row.target == PARENT or found.agreement is None else f" ({share(found.agreement)})"
    return f"{100 * found.accuracy:.2f}{same}"


def _first(outputs: Outputs, count: int) -> Outputs:
    return Outputs(outputs.predictions[:count], outputs.logits[:count])

"""A report as Markdown: for a job's summary page, a pull request, a README."""

from __future__ import annotations

from collections.abc import Sequence

from ..report.document import Report
from . import robustness
from .table import cells_of, heading, notes, stock_cells, stock_headings


def markdown(report: Report) -> str:
    """Machine, rows, ratios against stock, disturbed images, and what must be known about them."""
    headings, rows = cells_of(report)
    parts = [heading(report), tabulated(headings, rows)]
    stock = stock_cells(report)
    if stock:
        parts.append(tabulated(stock_headings(), stock))
    headings, rows = robustness.cells_of(report)
    if rows:
        parts += [tabulated(headings, rows), robustness.note(report)]
    return "\n\n".join([*parts, *(line for line in notes(report) if line)]) + "\n"


def tabulated(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells end no cell early."""
    from tabulate import tabulate  # type: ignore[import-untyped]

    safe = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return str(tabulate(safe, headings, tablefmt="github", disable_numparse=True))

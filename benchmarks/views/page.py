"""A report as one HTML file that loads nothing: table, pictures, and each row with its confusions and its flips."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from itertools import islice

from lc2fer import metrics

from ..judging.figures import Figures, Scores, figures, parent_of, share
from ..report.document import PARENT, Parent, Report, Row
from ..report.graph import quantizers
from . import robustness
from .charts import distributions, pareto, standing_alone
from .table import by_kernels, cells_of, heading, notes, stock_cells, stock_headings
from .thumbnails import MOST_A_ROW, disagreements

_DASH = "-"
_DISTURBED = (
    "",
    "accuracy %",
    "mean class %",
    "NLL",
    "calibration error",
    "agreement %",
    "flips -/+",
    "SQNR dB",
)
_OF_PICTURES = re.compile(r":root|@media \(prefers|  :root|}|svg (text|\.|circle)|\.e0")  # lines of page.css
_RIGHT, _WRONG = "26 127 75", "179 38 30"  # red, green, blue


def page(report: Report) -> str:
    """The whole file."""
    found = [(row, figures(report, row)) for row in report.rows]
    headings, cells = cells_of(report)
    stock = stock_cells(report)
    parts = [
        "<h1>LC2FER measurements</h1>",
        f"<p>{escape(heading(report))}</p>",
        f"<p class=quiet>{escape(_machine(report))}</p>",
        f"<p><code>lc2fer-bench {escape(' '.join(report.command))}</code></p>",
        "<h2>Rows</h2>",
        _table(headings, cells, "sortable three"),
        *([f"<h2>Against stock routes</h2>{_table(stock_headings(), stock, 'three')}"] if stock else []),
        "<h2>Accuracy against latency</h2>",
        *_pareto(found),
        "<h2>Latency</h2>",
        distributions(report.rows),
        *_robustness(report),
        "<h2>Row by row</h2>",
        *(_details(report, row, one, first=place == _first_flipped(report)) for place, (row, one) in enumerate(found)),
        "<h2>To be known</h2>",
        *(f"<p>{escape(line)}</p>" for line in notes(report) if line),
    ]
    style, script = (_resource(name) for name in ("page.css", "page.js"))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,"><title>LC2FER measurements</title>'
        f"<style>\n{style}</style></head>\n<body>\n"
        + "\n".join(parts)
        + f"\n<script>\n{script}</script></body></html>\n"
    )


def picture(report: Report) -> str:
    """Accuracy against latency alone, as an SVG file that follows the reader's light or dark setting."""
    colours = "".join(line + "\n" for line in _resource("page.css").splitlines() if _OF_PICTURES.match(line))
    return standing_alone(pareto(_meant([(row, figures(report, row)) for row in report.rows])), colours)


def _machine(report: Report) -> str:
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.engines.items())
    isa = " ".join(machine.isa) or "no known extensions"
    governor = machine.governor or "not readable"
    return (
        f"{isa}; kernel {machine.kernel}, Python {machine.python}; governor {governor}; {versions}; "
        f"identity {machine.identity[:12]}, images {report.data.fingerprint[:12]}"
    )


def _pareto(found: Sequence[tuple[Row, Figures]]) -> list[str]:
    meant = _meant(found)
    without = " Rows with random weights are left out." if len(meant) < len(found) else ""
    return [
        f"<p class=quiet>Area: size of the file. Dashed: rows that none beats in both.{without}</p>",
        pareto(meant),
    ]


def _meant(found: Sequence[tuple[Row, Figures]]) -> Sequence[tuple[Row, Figures]]:
    """The rows whose accuracy means something, or else all."""
    return [(row, one) for row, one in found if row.weights != "random"] or found


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], kind: str) -> str:
    """`kind` holds CSS classes: "sortable", whose last column is the rows' state, and how many columns are names."""
    sortable = "sortable" in kind
    tops = "".join(f"<th>{f'<button>{escape(one)}</button>' if sortable else escape(one)}</th>" for one in headings)
    lines = "".join(
        f"<tr>{''.join(_cell(cell, state=sortable and place == len(row) - 1) for place, cell in enumerate(row))}</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{tops}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def _cell(text: str, *, state: bool) -> str:
    return f'<td class="{escape(text)}">{escape(text)}</td>' if state else f"<td>{escape(text)}</td>"


def _robustness(report: Report) -> list[str]:
    headings, cells = robustness.cells_of(report)
    if not cells:
        return []
    note = f"<p class=quiet>{escape(robustness.note(report))}</p>"
    return ["<h2>Off the clean set</h2>", note, _table(headings, cells, "two")]


def _first_flipped(report: Report) -> int:
    """The row that is open at first: one that shows something."""
    flipped = [place for place, row in enumerate(report.rows) if disagreements(row, report.parents)]
    return flipped[0] if flipped else -1


def _details(report: Report, row: Row, found: Figures, *, first: bool) -> str:
    parent = parent_of(report, row)
    facts = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in _facts(report, row, found)
    )
    parts = [f'<div class="scroll"><table class="facts"><tbody>{facts}</tbody></table></div>']
    matrices = [] if parent is None or row.target == PARENT else [("parent", parent.outputs.predictions)]
    matrices.append((row.target, row.outputs.predictions))
    parts.append('<div class="pair">')
    parts += [_matrix(report, name, predicted) for name, predicted in matrices]
    parts.append("</div>")
    parts += _disturbed(robustness.disturbed(report, row))
    if parent is not None and row.target != PARENT:
        parts.append(_flips(report, row, parent))
    mark = " open" if first else ""
    return f"<details{mark}><summary>{escape(f'{row.variant} {row.target}')}</summary>{''.join(parts)}</details>"


def _facts(report: Report, row: Row, found: Figures) -> list[tuple[str, str]]:
    launches = row.launches
    mean = {
        name: sum(getattr(launch, name) for launch in launches) / len(launches)
        for name in ("import_s", "load_s", "compile_s", "first_s")
    }
    phases = {name: [one.memory.growth_bytes(name) for one in launches] for name in launches[0].memory.phases}
    growth = {name: [one for one in values if one is not None] for name, values in phases.items() if name != "baseline"}
    executed = next((launch.executed for launch in launches if launch.executed), None)
    names = report.data.label_names
    recalls = zip(names, metrics.recalls(report.data.labels, row.outputs.predictions, len(names)))
    facts = [
        ("asked for, ran in", f"{row.precision}; {_counts(executed)}{by_kernels(row)}"),
        ("p50, p90, p95, p99, ms", ", ".join(_percentile(found, name) for name in ("p50", "p90", "p95", "p99"))),
        ("compute, frame, ms", f"{_number(found.compute_ms)}, {_number(found.frame_ms)}"),
        ("import, load, compile, first inference, s", ", ".join(f"{value:.3f}" for value in mean.values())),
        (
            "memory grown by, MB",
            ", ".join(f"{name} {max(one) / 1e6:.1f}" for name, one in growth.items() if one) or _DASH,
        ),
        ("memory of the GPU grown by, MB", _device(row)),
        ("energy an inference, mJ", _number(found.energy_mj)),
        ("of it above idle, mJ", _number(found.energy_above_idle_mj)),
        ("threads, pinned to cores", f"{launches[0].threads}, {' '.join(map(str, launches[0].cores)) or 'none'}"),
        ("mean class accuracy", f"{found.mean_class_accuracy:.4f}"),
        ("recall", ", ".join(f"{name} {_DASH if one is None else f'{one:.3f}'}" for name, one in recalls)),
        ("NLL, calibration error", f"{found.nll:.4f}, {found.calibration_error:.4f}"),
    ]
    if found.sqnr_db is not None and found.max_abs is not None and row.target != PARENT:
        facts.append(("SQNR, dB; largest difference of a logit", f"{found.sqnr_db:.1f}; {found.max_abs:.3g}"))
    if row.graph is not None:
        facts.append(("operators, of them quantizers", f"{sum(row.graph.values())}, {quantizers(row.graph)}"))
    if found.validity.doubts:
        facts.append((found.validity.state, found.validity.text))
    return facts


def _disturbed(found: Mapping[str, Scores]) -> list[str]:
    """All that is read off a row's answers, under each factor."""
    if not found:
        return []
    cells = []
    for factor, one in found.items():
        line = [factor, f"{100 * one.accuracy:.2f}", f"{100 * one.mean_class_accuracy:.2f}"]
        line += [f"{one.nll:.4f}", f"{one.calibration_error:.4f}"]
        if one.agreement is None or one.flips is None or one.sqnr_db is None:
            line += [_DASH] * 3
        else:
            line += [share(one.agreement), f"{one.flips.worse}/{one.flips.better}", f"{one.sqnr_db:.1f}"]
        cells.append(line)
    return ["<h3>Disturbed images</h3>", _table(_DISTURBED, cells, "")]


def _device(row: Row) -> str:
    grown = [one for launch in row.launches if (one := launch.memory.device_growth_bytes("steady")) is not None]
    kind = next((launch.memory.device_kind for launch in row.launches if launch.memory.device_kind), None)
    return f"{max(grown) / 1e6:.1f} ({kind})" if grown else _DASH


def _percentile(found: Figures, name: str) -> str:
    if name == "p50":
        low, high, value = found.p50_ms.low, found.p50_ms.high, found.p50_ms.value
    else:
        one: metrics.Percentile | None = getattr(found, f"{name}_ms")
        if one is None:
            return "too few samples"
        low, high, value = one.low, one.high, one.value
    return f"{value:.3f} ({_number(low)} to {_number(high)})"


def _matrix(report: Report, name: str, predicted: Sequence[int]) -> str:
    """Targets down, predictions across; the colour is the share of the row."""
    names = report.data.label_names
    counts = metrics.confusion(report.data.labels, predicted, len(names))
    tops = "".join(f'<th title="{escape(one)}">{escape(one[:3])}</th>' for one in names)
    lines = []
    for label, line in enumerate(counts):
        total = max(1, int(line.sum()))
        cells = "".join(
            f'<td style="background: rgb({_RIGHT if place == label else _WRONG} / {count / total:.2f})">{count}</td>'
            for place, count in enumerate(line.tolist())
        )
        lines.append(f"<tr><th>{escape(names[label])}</th>{cells}</tr>")
    return (
        f'<div class="scroll"><h3>{escape(name)}</h3><table class="matrix"><thead><tr><th></th>{tops}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _flips(report: Report, row: Row, parent: Parent) -> str:
    places = disagreements(row, report.parents)
    if not places:
        return "<p>Every answer is the parent's.</p>"
    names, labels, pictures = report.data.label_names, report.data.labels, report.data.thumbnails
    items = []
    for place in islice(places, MOST_A_ROW):
        before, after = parent.outputs.predictions[place], row.outputs.predictions[place]
        kind = "better" if after == labels[place] else "worse" if before == labels[place] else "quiet"
        picture = pictures.get(str(place))
        image = "" if picture is None else f'<img alt="" src="data:image/jpeg;base64,{escape(picture)}">'
        items.append(
            f'<li title="{escape(report.data.images[place])}">{image}{escape(names[labels[place]])}: '
            f'<span class="{kind}">{escape(names[before])} &rarr; {escape(names[after])}</span></li>'
        )
    answers = "1 answer that is" if len(places) == 1 else f"{len(places):,} answers that are"
    kept = "" if pictures else " The report holds no pictures: --thumbnails keeps them."
    return (
        f"<h3>{answers} not the parent's</h3><p class=quiet>Right answer: the parent's "
        f"&rarr; this row's.{kept}</p><ul class=faces>{''.join(items)}</ul>"
    )


def _counts(executed: object) -> str:
    if not isinstance(executed, dict):
        return "the engine does not tell"
    return ", ".join(f"{precision} {layers}" for precision, layers in executed.items())


def _number(value: float | None) -> str:
    return _DASH if value is None else f"{value:.3f}"


def _resource(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")

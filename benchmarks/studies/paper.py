"""lc2fer-bench paper: training runs side by side as the paper compares them, beside the paper's own figures.

Long et al. (HOUJS 2024): parameters, seconds an epoch, accuracy of C1 to C8, and a picture in which a circle's area is
a model's size. The paper's accuracies are of RAF-DB's test images; runs on other faces stand beside them to compare
orders, never values.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from importlib import resources
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from lc2fer import artifact as artifacts
from lc2fer import metrics
from lc2fer.arguments import Joined, a_path
from lc2fer.errors import UsageError
from lc2fer.settings import RECIPES
from lc2fer.variants import VARIANTS

from ..report import document as reports
from ..report.document import Report
from ..views.charts import Circle, legend, scatter
from ..views.markdown import tabulated
from . import runs as training
from .runs import Training

# Accuracy in % without augmentation, as printed: train, test.
PAPER = MappingProxyType(
    {
        "C1": (99.03, 69.17),
        "C2": (100.0, 70.99),
        "C3": (99.81, 69.69),
        "C4": (100.0, 72.97),
        "C5": (100.0, 73.47),
        "C6": (100.0, 73.27),
        "C7": (100.0, 73.08),
        "C8": (100.0, 71.87),
    }
)
INCONSISTENT = (
    'With augmentation the paper\'s C5 reaches 79.56 %. Its conclusion gives "0.9 M parameters" beside that figure; C5 '
    "has 1.65 M and C6 0.93 M, so the paper is inconsistent there."
)
_HEADINGS = (
    "recipe",
    "config",
    "parameters",
    "MMACs",
    "s an epoch",
    "epochs (best)",
    "train %",
    "D^v %",
    "D^e % (95 %)",
    "the paper's D^e %, RAF-DB",
)


@dataclass(frozen=True)
class Line:
    """One configuration by one recipe: its runs (seeds), and what they reach in the mean."""

    recipe: str
    name: str
    runs: tuple[Training, ...]
    test: tuple[int, int] | None  # right answers and images of D^e, over its runs; None: not scored
    by_test: bool = False  # whether lines are compared by D^e: all of them were scored

    @property
    def accuracy(self) -> float:
        """On D^v, the mean over seeds."""
        return training.accuracy(self.runs)

    @property
    def judged(self) -> float:
        """On D^e where all lines were scored on it, else on D^v."""
        return self.test[0] / self.test[1] if self.by_test and self.test is not None else self.accuracy

    @property
    def epoch_seconds(self) -> float:
        return training.epoch_seconds(self.runs)


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command: the table goes to standard output, paper.md and paper.html to --out."""
    chosen = _parse(arguments)
    lines = compare(training.read_all(chosen.runs), [reports.read(path) for path in chosen.report])
    text = markdown(lines)
    chosen.out.mkdir(parents=True, exist_ok=True)
    artifacts.write_text(chosen.out / "paper.md", text)
    artifacts.write_text(chosen.out / "paper.html", page(lines))
    print(text, end="")
    return {
        "report": str(chosen.out / "paper.md"),
        "page": str(chosen.out / "paper.html"),
        "runs": [
            {
                "recipe": line.recipe,
                "config": line.name,
                "seeds": len(line.runs),
                "validation_accuracy": round(line.accuracy, 6),
                "test_accuracy": None if line.test is None else round(line.test[0] / line.test[1], 6),
                "epoch_seconds": round(line.epoch_seconds, 3),
            }
            for line in lines
        ],
        "order_agreement": {recipe: order_agreement(own) for recipe, own in by_recipe(lines).items()},
    }


def compare(runs: Sequence[Training], scored: Sequence[Report] = ()) -> list[Line]:
    """The runs by recipe and configuration, with the answers that reports hold for their checkpoints.

    Raises UsageError where the runs were not judged on the same D^v, or the reports not on the same D^e.
    """
    training.check_same_images(runs)
    if len({report.data.fingerprint for report in scored}) > 1:
        counts = " and ".join(f"{len(report.data.labels):,} images of {report.data.name}" for report in scored)
        raise UsageError(
            f"The reports were scored on different images: {counts}. One D^e was expected, for their accuracies stand "
            "in one column. Score the checkpoints on the same data."
        )
    answers: dict[str, tuple[int, int]] = {}
    for report in scored:
        labels = np.asarray(report.data.labels)
        outputs = {row.sha256: row.outputs for row in report.rows} | {one.sha256: one.outputs for one in report.parents}
        for sha256, found in outputs.items():
            answers[sha256] = (int((np.asarray(found.predictions) == labels).sum()), len(labels))
    groups: dict[tuple[str, str], list[Training]] = defaultdict(list)
    for run in runs:
        groups[run.recipe, run.variant.name].append(run)
    lines = []
    for recipe, name in product((training.OTHER, *RECIPES), VARIANTS):
        if (recipe, name) not in groups:
            continue
        own = tuple(groups[recipe, name])
        scores = [answers[run.sha256] for run in own if run.sha256 in answers]
        test = None if not scores else (sum(right for right, _ in scores), sum(count for _, count in scores))
        lines.append(Line(recipe, name, own, test))
    return [replace(line, by_test=all(one.test is not None for one in lines)) for line in lines]


def by_recipe(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Recipe -> its lines."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(line.recipe, []).append(line)
    return found


def gains(lines: Sequence[Line]) -> dict[str, float]:
    """Config -> by how much recipe best is above recipe paper, a share, where both were run."""
    recipes = {recipe: {line.name: line.judged for line in own} for recipe, own in by_recipe(lines).items()}
    paper, best = recipes.get("paper", {}), recipes.get("best", {})
    return {name: best[name] - paper[name] for name in paper if name in best}


def order_agreement(lines: Sequence[Line]) -> float | None:
    """Kendall's tau between the order of the runs and the paper's order of the same configurations.

    1 is the same order, -1 the reverse; None for fewer than three configurations.
    """
    if len(lines) < 3:
        return None
    from scipy import stats  # type: ignore[import-untyped]

    tau = stats.kendalltau([line.judged for line in lines], [PAPER[line.name][1] for line in lines]).statistic
    return None if math.isnan(tau) else round(float(tau), 3)


def markdown(lines: Sequence[Line]) -> str:
    """The comparison for people: table, orders, and what must be known."""
    return (
        "\n\n".join(["# The eight, as the paper compares them", tabulated(_HEADINGS, _cells(lines)), *notes(lines)])
        + "\n"
    )


def notes(lines: Sequence[Line]) -> list[str]:
    """What the table does not say by itself."""
    runs = [run for line in lines for run in line.runs]
    found = [
        f"Runs: trained and judged on {runs[0].names}. The last column is the paper's, on RAF-DB, without "
        "augmentation; compare orders, not values, unless the runs are of RAF-DB and of --recipe paper."
    ]
    for recipe, own in by_recipe(lines).items():
        ours = sorted(own, key=lambda line: line.judged, reverse=True)
        theirs = sorted(own, key=lambda line: PAPER[line.name][1], reverse=True)
        tau = order_agreement(own)
        found.append(
            f"Order of the runs, recipe {recipe}: {' '.join(line.name for line in ours)}. The paper's: "
            f"{' '.join(line.name for line in theirs)}." + ("" if tau is None else f" Kendall's tau: {tau:.2f}.")
        )
    gained = gains(lines)
    if gained:
        found.append(
            "Recipe best over recipe paper, points: "
            + ", ".join(f"{name} {100 * gain:+.2f}" for name, gain in gained.items())
            + f"; in the mean {100 * float(np.mean(list(gained.values()))):+.2f}."
        )
    if any(line.test is None for line in lines):
        found.append(
            "D^e is scored once, by lc2fer-bench on the checkpoints; pass its report.json as --report to see it here."
        )
    for recipe, own in by_recipe(lines).items():
        differing = training.differences([run for line in own for run in line.runs])
        if differing:
            found.append(
                f"The runs of recipe {recipe} differ in more than their configuration: "
                + "; ".join(
                    f"{name} {', '.join(sorted({str(value) for value in values}))}"
                    for name, values in differing.items()
                )
                + "."
            )
    return [*found, INCONSISTENT]


def page(lines: Sequence[Line]) -> str:
    """One HTML file that loads nothing: the table and both pictures."""
    runs = [run for line in lines for run in line.runs]
    styles = {recipe: f"e{place}" for place, recipe in enumerate(by_recipe(lines), 1)}
    ours = [
        _circle(
            line.name, line.epoch_seconds, "s an epoch", line.judged, styles[line.recipe], f", recipe {line.recipe}"
        )
        for line in lines
    ]
    theirs = [
        _circle(name, one.mac_count() / 1e6, "MMACs at 100x100", PAPER[name][1] / 100, "e1")
        for name, one in VARIANTS.items()
    ]
    which = "D^e" if all(line.test is not None for line in lines) else "D^v"
    head = "".join(f"<th>{escape(name)}</th>" for name in _HEADINGS)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in _cells(lines))
    style = resources.files("lc2fer.benchmarks.views").joinpath("page.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<link rel="icon" href="data:,"><title>LC2FER: the eight, as the paper compares them</title>'
            f"<style>\n{style}</style></head><body>",
            "<h1>The eight, as the paper compares them</h1>",
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>',
            f"<h2>Runs here: {escape(runs[0].names)}</h2>",
            scatter(ours, "seconds an epoch", f"accuracy on {which}, %", "Runs here", above=legend(styles)),
            "<h2>The paper: RAF-DB, without augmentation</h2>",
            scatter(
                theirs,
                "MMACs at 100x100 (the paper's seconds are of its own machine)",
                "accuracy on D^e, %",
                "The paper",
            ),
            "<p>A circle's area is the number of parameters.</p>",
            *(f"<p>{escape(note)}</p>" for note in notes(lines)),
            "</body></html>\n",
        ]
    )


def _circle(name: str, x: float, unit: str, accuracy: float, style: str, more: str = "") -> Circle:
    parameters = VARIANTS[name].parameter_count()
    title = f"{name}{more}: {100 * accuracy:.2f} %, {x:.4g} {unit}, {parameters:,} parameters"
    return Circle(name, title, x, 100 * accuracy, parameters, style)


def _cells(lines: Sequence[Line]) -> list[list[str]]:
    rows = []
    for line in lines:
        seeds = [100 * run.accuracy for run in line.runs]
        spread = f" ({len(seeds)} seeds: {min(seeds):.2f} to {max(seeds):.2f})" if len(seeds) > 1 else ""
        test = "not scored"
        if line.test is not None:
            interval = metrics.wilson_interval(*line.test)
            right, count = line.test
            test = f"{100 * right / count:.2f} ({100 * interval.low:.2f} to {100 * interval.high:.2f})"
        rows.append(
            [
                line.recipe,
                line.name,
                f"{line.runs[0].variant.parameter_count():,}",
                f"{line.runs[0].variant.mac_count(int(line.runs[0].settings['size'])) / 1e6:.0f}",
                f"{line.epoch_seconds:.1f}",
                ", ".join(f"{run.epochs} ({run.best_epoch})" for run in line.runs),
                f"{100 * float(np.mean([run.train_accuracy for run in line.runs])):.2f}",
                f"{100 * line.accuracy:.2f}{spread}",
                test,
                f"{PAPER[line.name][1]:.2f}",
            ]
        )
    return rows


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(
        prog="lc2fer-bench paper",
        description="Compare training runs as the paper does, beside the paper's own figures.",
    )
    parser.add_argument("runs", type=a_path, nargs="+", metavar="RUN", help="folders that lc2fer-train --out wrote")
    parser.add_argument(
        "--report",
        type=a_path,
        nargs="+",
        action=Joined,
        default=[],
        metavar="FILE",
        help="reports that scored their checkpoints on D^e",
    )
    parser.add_argument("--out", type=a_path, default=Path("out"), metavar="DIR", help="default: out")
    return parser


def _parse(arguments: list[str]) -> argparse.Namespace:
    return parser().parse_args(arguments)

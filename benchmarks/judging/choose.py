"""lc2fer-bench choose: which of a report's models to ship, given limits on latency, accuracy and memory."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lc2fer import artifact as artifacts
from lc2fer import reading
from lc2fer.arguments import Joined, a_path
from lc2fer.errors import Lc2ferError, UsageError
from lc2fer.targets import is_stock

from ..report import document as reports
from ..report.document import PARENT, Report, Row
from . import paired
from .figures import Figures, figures, latency_text
from .spread import Spread
from .validity import INVALID

_TIMES = {"us": 1e-3, "ms": 1.0, "s": 1e3}  # in ms
_SIZES = {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
SAME_MEMORY = 1.05  # two processes of one model differ by some percent
_HEADINGS = ("", "model", "target", "accuracy %", "p50 ms", "memory MB", "size MB", "state")


class NoChoice(Lc2ferError):
    """No model of the report keeps all limits."""

    exit_code = 1


@dataclass(frozen=True)
class Limits:
    """What a model has to keep; None: anything goes."""

    latency_ms: float | None = None
    accuracy: float | None = None
    memory_bytes: float | None = None


@dataclass(frozen=True)
class Candidate:
    """A row that can be shipped."""

    row: Row
    figures: Figures

    @property
    def name(self) -> str:
        return f"{self.row.variant} {self.row.target}"

    @property
    def least(self) -> tuple[float, float, float]:
        """What is better where it is smaller: latency, error, memory."""
        memory = self.figures.memory_bytes
        return self.figures.p50_ms.value, 1 - self.figures.accuracy, float("inf") if memory is None else float(memory)


@dataclass(frozen=True)
class Choice:
    """The model to ship, those that are no worse as far as the measurements tell, and the ones worth looking at."""

    best: Candidate
    ties: tuple[Candidate, ...]
    front: tuple[Candidate, ...]  # Pareto: nothing kept is better in all of latency, accuracy and memory


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command: the front and the choice go to standard output; raises NoChoice where nothing fits."""
    chosen = _parse(arguments)
    report = reports.read(chosen.report)
    choice = choose(report, Limits(chosen.max_latency, chosen.min_accuracy, chosen.max_memory), force=chosen.force)
    file = measured_file(report, choice.best.row)
    command = None if file else export_command(report, choice.best.row, chosen.report.parent)
    print(table(choice))
    print(f"\nShip {choice.best.name}. " + (f"Its file: {file}" if file else f"Its command: {command}"))
    return {
        "model": choice.best.row.variant,
        "target": choice.best.row.target,
        "ties": [one.name for one in choice.ties],
        "front": [one.name for one in choice.front],
        "command": command,
        "file": file,
    }


def choose(report: Report, limits: Limits, *, force: bool = False) -> Choice:
    """The most accurate of the rows that keep the limits; of those that cannot be told from it, the fastest.

    Accuracies of two rows are told apart by McNemar's test on their answers, adjusted for the number of rows, latencies
    by their intervals; of rows that are alike in both and within 5 % of the least memory, the smallest file. A latency
    keeps its limit if its interval does, and of one launch, which has none, nothing is told apart but what is faster.
    INVALID rows are left out but with `force`. Raises NoChoice, naming the nearest row, and UsageError where there is
    no row.
    """
    candidates = [Candidate(row, figures(report, row)) for row in report.rows if not is_stock(row.target)]
    if not candidates:
        raise UsageError("The report has no row. Expected measured models. Run lc2fer-bench first.")
    if not force:
        valid = [one for one in candidates if one.figures.validity.state != INVALID]
        if not valid:
            raise NoChoice(
                f"All {len(candidates)} models of the report are INVALID: {candidates[0].name}, "
                f"{candidates[0].figures.validity.text} Rows that can be believed were expected. "
                "Measure them again, or pass --force."
            )
        candidates = valid
    kept = [one for one in candidates if not _broken(one, limits)]
    if not kept:
        nearest = min(candidates, key=lambda one: (len(_broken(one, limits)), one.least))
        raise NoChoice(
            "No model of the report keeps all limits. "
            f"{nearest.name} is nearest: {', '.join(_broken(nearest, limits))}. "
            "Relax a limit, or measure other variants and targets."
        )
    top = max(kept, key=lambda one: (one.figures.accuracy, -one.figures.p50_ms.value))
    others = [one for one in kept if one is not top]
    p_values = paired.holm([_different(report, top, one) for one in others])
    accurate = [top, *(one for one, p_value in zip(others, p_values) if p_value >= 0.05)]
    fastest = min(accurate, key=lambda one: one.figures.p50_ms.value)
    alike = [one for one in accurate if one is fastest or _tied(one.figures.p50_ms, fastest.figures.p50_ms)]
    sparing = SAME_MEMORY * min(one.least[2] for one in alike)
    best = min((one for one in alike if one.least[2] <= sparing), key=lambda one: one.row.size_bytes)
    front = [one for one in kept if not any(_dominates(other, one) for other in kept)]
    front.sort(key=lambda one: one.figures.p50_ms.value)
    return Choice(best, tuple(one for one in alike if one is not best), tuple(front))


def table(choice: Choice) -> str:
    """The Pareto front, the chosen row and its ties marked."""
    from tabulate import tabulate  # type: ignore[import-untyped]

    shown = [choice.best, *(one for one in (*choice.ties, *choice.front) if one is not choice.best)]
    cells = []
    for one in sorted(dict.fromkeys(shown), key=lambda one: one.figures.p50_ms.value):
        mark = "->" if one is choice.best else "=" if one in choice.ties else ""
        found = one.figures
        memory = "-" if found.memory_bytes is None else f"{found.memory_bytes / 1e6:.1f}"
        accuracy = f"{100 * found.accuracy:.2f}" + ("" if one.row.weights == "trained" else "*")
        size, state = f"{found.size_bytes / 1e6:.2f}", found.validity.state
        cells.append([mark, one.row.variant, one.row.target, accuracy, latency_text(found.p50_ms), memory, size, state])
    lines = [tabulate(cells, _HEADINGS, disable_numparse=True)]
    if choice.ties:
        names = ", ".join(one.name for one in choice.ties)
        lines.append(
            f"= cannot be told from it in accuracy nor in latency: {names}. "
            "It takes the least memory of them, or as little in a smaller file."
        )
    if any(one.row.weights != "trained" for one in shown):
        lines.append("* weights that are random or of unknown origin: the accuracy proves nothing.")
    if any(one.figures.validity.doubts for one in shown):
        lines.append("Rows that are not VALID may change places on a quiet machine.")
    return "\n".join(lines)


def export_command(report: Report, row: Row, folder: Path) -> str:
    """What makes that model, from the weights and with the data of the run that measured it."""
    target = "onnx-fp32" if row.target == PARENT else row.target
    given, defaults = _given(report.command), _given(())
    words = ["lc2fer-export", "--config", row.variant, "--target", target]
    for name in ("weights", "data", "images"):
        words += [] if given[name] == defaults[name] else [f"--{name}", given[name]]
    return shlex.join([*words, *reading.again(report.command), "--out", str(folder)])


def measured_file(report: Report, row: Row) -> str | None:
    """The file among --models that a row was measured from; None where the run made its models itself.

    Raises ArtifactError where several are called so and one of them is no longer there.
    """
    named = [name for name in _given(report.command)["models"] if Path(name).stem == row.name]
    if len(named) > 1:
        named = [name for name in named if artifacts.load(Path(name)).sha256 == row.sha256]
    return str(named[0]) if named else None


def _given(command: Sequence[str]) -> dict[str, Any]:
    """What a command's arguments say of models and data, by whatever spelling of the options."""
    parser = argparse.ArgumentParser(add_help=False)
    for option in ("--weights", "--data", "--mode"):  # the last one's name is the beginning of --models
        parser.add_argument(option)
    parser.add_argument("--models", nargs="+", action=Joined, default=[])
    reading.add_images(parser)
    return vars(parser.parse_known_args(list(command))[0])


def _broken(one: Candidate, limits: Limits) -> list[str]:
    """The limits that a row does not keep, as phrases."""
    found = one.figures
    broken = []
    slowest = found.p50_ms.value if found.p50_ms.high is None else found.p50_ms.high
    if limits.latency_ms is not None and slowest > limits.latency_ms:
        broken.append(f"its latency may be {slowest:.3f} ms, {limits.latency_ms:g} at most")
    if limits.accuracy is not None and found.accuracy < limits.accuracy:
        broken.append(f"its accuracy is {found.accuracy:.4f}, {limits.accuracy:g} at least")
    if limits.memory_bytes is not None and (found.memory_bytes is None or found.memory_bytes > limits.memory_bytes):
        used = "not known" if found.memory_bytes is None else f"{found.memory_bytes / 1e6:.1f} MB"
        broken.append(f"its memory is {used}, {limits.memory_bytes / 1e6:.1f} MB at most")
    return broken


def _tied(first: Spread, second: Spread) -> bool:
    """Whether two latencies cannot be told apart; without an interval nothing says that they cannot."""
    return first.low is not None and second.low is not None and first.overlaps(second)


def _different(report: Report, first: Candidate, second: Candidate) -> float:
    answers = (first.row.outputs.predictions, second.row.outputs.predictions)
    found = paired.drop(report.data.labels, *answers)
    return paired.mcnemar(found.worse, found.better)


def _dominates(first: Candidate, second: Candidate) -> bool:
    return first.least != second.least and all(mine <= theirs for mine, theirs in zip(first.least, second.least))


def quantity(text: str, units: dict[str, float], what: str) -> float:
    """A number with a unit, in the unit that is 1; raises UsageError for anything else."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]+)\s*", text)
    if match is None or match[2].lower() not in units:
        raise UsageError(f"--{what} is {text!r}. Expected a number with a unit of {', '.join(units)}. Correct it.")
    return float(match[1]) * units[match[2].lower()]


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(
        prog="lc2fer-bench choose", description="Choose the model to ship from a report. Exit code 1 where none fits."
    )
    parser.add_argument("--force", action="store_true", help="take rows too whose times are INVALID")
    parser.add_argument("--max-latency", metavar="TIME", help="of the median round trip: 5ms")
    parser.add_argument("--min-accuracy", type=float, metavar="SHARE", help="0.8")
    parser.add_argument("--max-memory", metavar="SIZE", help="of the engine and the model: 200MB")
    parser.add_argument(
        "--report", type=a_path, default=Path("out/report.json"), metavar="FILE", help="default: out/report.json"
    )
    return parser


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    chosen = parser().parse_args(arguments)
    if chosen.max_latency is not None:
        chosen.max_latency = quantity(chosen.max_latency, _TIMES, "max-latency")
    if chosen.max_memory is not None:
        chosen.max_memory = quantity(chosen.max_memory, dict(_SIZES), "max-memory")
    if chosen.min_accuracy is not None and not 0 <= chosen.min_accuracy <= 1:
        raise UsageError(f"--min-accuracy is {chosen.min_accuracy}. Expected a share, 0 to 1. Pass 0.8 for 80 %.")
    return chosen

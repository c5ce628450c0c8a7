"""lc2fer-bench gate: a report against rules, and against a baseline.

Exit code 1 where a rule fails, 4 where none does and the images are too few to tell.
"""

from __future__ import annotations

import argparse
import codecs
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lc2fer.arguments import a_path
from lc2fer.errors import UsageError

from .judging import rules
from .judging.gate import SKIPPED, Verdict, judge
from .judging.paired import FAIL, INCONCLUSIVE, PASS
from .report import document as reports
from .views.markdown import markdown as rows_of
from .views.markdown import tabulated

_EXIT = {"passed": 0, "FAILED": 1, "is undecided": 4}
_ORDER = (FAIL, INCONCLUSIVE, SKIPPED, PASS)
_HEADINGS = ("state", "model", "target", "rule", "found")


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command: the verdicts go to standard output, worst first; the returned document has the exit code.

    Raises UsageError and ArtifactError for rules and reports that cannot be read.
    """
    chosen = _parse(arguments)
    if chosen.summary is not None:
        _check_summary(chosen.summary)
    report = reports.read(chosen.report)
    baseline = None if chosen.baseline is None else reports.read(chosen.baseline)
    verdicts = judge(report, rules.read(chosen.rules), baseline)
    print(text(verdicts))
    if chosen.summary is not None:
        with chosen.summary.open("a", encoding="utf-8") as file:
            file.write(markdown(report, verdicts))
    return {
        "report": str(chosen.report),
        "rules": str(chosen.rules),
        **{state: sum(verdict.state == state for verdict in verdicts) for state in _ORDER},
        "exit_code": _EXIT[_word(verdicts)],
    }


def _check_summary(path: Path) -> None:
    """Raise UsageError for a file that is no text, such as a picture: Markdown would be appended to it."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(4096)
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text or path.suffix == ".json":
        raise UsageError(
            f"--summary {path} is no page of Markdown. Expected a new file, or a text to append to. Name another one, "
            "as in --summary gate.md."
        )


def text(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as a table, worst first, and the sum."""
    from tabulate import tabulate  # type: ignore[import-untyped]

    cells = [[one.state, one.model, one.target, one.rule, one.text] for one in _sorted(verdicts)]
    return f"{tabulate(cells, _HEADINGS, disable_numparse=True)}\n\n{_sum(verdicts)}"


def markdown(report: reports.Report, verdicts: Sequence[Verdict]) -> str:
    """Verdicts and rows for a job's summary page."""
    cells = [[f"**{one.state}**", one.model, one.target, one.rule, one.text] for one in _sorted(verdicts)]
    return f"### lc2fer-bench: {_sum(verdicts)}\n\n{tabulated(_HEADINGS, cells)}\n\n{rows_of(report)}"


def _sorted(verdicts: Sequence[Verdict]) -> list[Verdict]:
    return sorted(verdicts, key=lambda one: (not one.counts, _ORDER.index(one.state)))


def _sum(verdicts: Sequence[Verdict]) -> str:
    counts = [f"{sum(one.state == state for one in verdicts)} {state}" for state in _ORDER]
    return f"The gate {_word(verdicts)}: {', '.join(counts)}."


def _word(verdicts: Sequence[Verdict]) -> str:
    """What the gate as a whole did, a key of _EXIT."""
    if any(one.counts for one in verdicts):
        return "FAILED"
    return "is undecided" if any(one.undecided for one in verdicts) else "passed"


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(
        prog="lc2fer-bench gate",
        description="Judge a report by rules. Exit code 1 where one fails, 4 where the images are too few to tell.",
    )
    parser.add_argument("report", type=a_path, metavar="REPORT", help="report.json of lc2fer-bench")
    parser.add_argument(
        "--rules",
        type=a_path,
        default=rules.DEFAULT,
        metavar="FILE",
        help="TOML (default: the ones that come with this)",
    )
    parser.add_argument("--baseline", type=a_path, metavar="REPORT", help="an earlier report to compare with")
    parser.add_argument("--summary", type=a_path, metavar="FILE", help="append the verdicts and the table as Markdown")
    return parser


def _parse(arguments: list[str]) -> argparse.Namespace:
    return parser().parse_args(arguments)

"""lc2fer-bench: configurations x targets, each row in processes of its own, into report.json and what is read off it.

Its other verbs, `compare`, `gate` and `choose`, read reports and measure nothing.
"""

from __future__ import annotations

import argparse
import importlib
import math
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lc2fer import artifact as artifacts
from lc2fer import kernels, reading, targets, threads
from lc2fer.arguments import Joined, a_path, check_counts
from lc2fer.data import SYNTHETIC
from lc2fer.errors import TargetUnavailable, UsageError
from lc2fer.spokes import installed
from lc2fer.storage import alone
from lc2fer.targets import OURS
from lc2fer.variants import VARIANTS

from . import accuracy, throughput
from .judging import peers
from .judging.figures import figures
from .measuring.child import MOST_SAMPLES
from .report.document import Report, Row, read, write
from .run import run
from .views.markdown import markdown
from .views.page import page, picture
from .views.table import ran_in, table

TARGETS = tuple(name for name in OURS if not name.startswith("rtx-"))  # which run on no machine that builds them
DEFAULT_TARGETS = tuple(name for name in TARGETS if targets.TARGETS[name].by_default)  # where they run
ALL = "all"
INSTALLED, EDGE = "stock", "edge"  # what --peers takes besides an engine's name
REPORT = "report.json"
# First argument -> the module whose main takes the rest.
VERBS = MappingProxyType(
    {
        "compare": "lc2fer.benchmarks.judging.compare",
        "gate": "lc2fer.benchmarks.gate_command",
        "choose": "lc2fer.benchmarks.judging.choose",
        "paper": "lc2fer.benchmarks.studies.paper",
        "ablation": "lc2fer.benchmarks.studies.ablation",
        "packages": "lc2fer.benchmarks.studies.packages",
    }
)
PERTURBED = 512  # images a factor, if no other number is given


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command: the table goes to standard output, progress to standard error, the summary is returned.

    A row that cannot be made is told below the table. Raises the first such error where there is no row at all, and
    UsageError or DataError for arguments or images that cannot be used.
    """
    if arguments and arguments[0] in VERBS:
        verb: Callable[[list[str]], dict[str, Any]] = importlib.import_module(VERBS[arguments[0]]).main
        return verb(arguments[1:])
    chosen = _parse(arguments)
    path = chosen.out / REPORT
    if chosen.report_only:
        return _publish(path, read(path), wide=chosen.wide)
    _check_packages(making=not chosen.models)
    if chosen.accuracy_only:
        with alone(chosen.out, "bench"):
            return accuracy.main(chosen)
    if chosen.mode == "throughput":
        with alone(chosen.out, "bench"):
            return throughput.main(chosen, arguments)
    with alone(chosen.out, "bench"), artifacts.staged(chosen.out) as work:  # gone at the next start, if this is killed
        report, journal = run(chosen, arguments, work)
        write(path, report)
        journal.remove()
    document = _publish(path, report, wide=chosen.wide)
    return document | {"exit_code": 1} if chosen.strict and report.failures else document


def _check_packages(*, making: bool) -> None:
    """Raise TargetUnavailable, once and before any row, where what every row needs is not installed."""
    needed = ("scipy", "psutil", *(("torch", "safetensors") if making else ()))
    missing = [name for name in needed if not installed(name)]
    if missing:
        extras = "export,openvino,bench" if making else "bench"
        raise TargetUnavailable(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed. "
            f"{'Making and measuring models' if making else 'Measuring'} needs the extras [{extras}]. "
            f"Run: pip install 'lc2fer[{extras}]'{', or measure models that are there: --models' if making else ''}."
        )


def _publish(path: Path, report: Report, *, wide: bool) -> dict[str, Any]:
    """Everything that people read, beside the JSON that it is computed from."""
    texts = {".md": markdown(report), ".html": page(report)} | ({".svg": picture(report)} if report.rows else {})
    for suffix, text in texts.items():
        artifacts.write_text(path.with_suffix(suffix), text)
    print(table(report, wide=wide))
    return summary(path, report)


def summary(path: Path, report: Report) -> dict[str, Any]:
    """What the command prints last."""
    document: dict[str, Any] = {"report": str(path), "rows": [_summary(report, row) for row in report.rows]}
    if report.failures:
        document["failures"] = [
            {"model": one.variant, "target": one.target, "error": f"{one.error}: {one.text}"} for one in report.failures
        ]
    if report.rate is not None:
        document["rate_gmacs"] = peers.macs_per_ms(report.rate) / 1e6
    against = peers.pairs(report)
    if against:
        document["against_stock"] = [
            {"model": pair.model, "ours": pair.ours, "stock": pair.stock, "ratio": pair.ratio.value} for pair in against
        ]
    return document


def _summary(report: Report, row: Row) -> dict[str, Any]:
    found = figures(report, row)
    return {
        "model": row.variant,
        "target": row.target,
        "accuracy": found.accuracy,
        "agreement": found.agreement,
        "ran_in": ran_in(row),
        "kernels": row.launches[0].kernels,
        "p50_ms": found.p50_ms.value,
        "p50_low_ms": found.p50_ms.low,
        "p50_high_ms": found.p50_ms.high,
        "p90_ms": None if found.p90_ms is None else found.p90_ms.value,
        "size_bytes": found.size_bytes,
        "memory_bytes": found.memory_bytes,
        "state": found.validity.state,
    }


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(
        prog="lc2fer-bench",
        description="Measure models: accuracy and agreement with the parent on the test images, latency at batch 1, "
        "file size, memory. Models that are missing are made first.",
        epilog="Other verbs: lc2fer-bench compare | gate | choose | paper | ablation | packages, each with its own "
        "--help.",
    )
    parser.add_argument(
        "--configs",
        nargs="+",
        action=Joined,
        choices=[*VARIANTS, ALL.upper()],
        type=str.upper,
        default=["C6"],
        metavar="CONFIG",
        help=f'of {", ".join(VARIANTS)}, or "all" (default: C6)',
    )
    parser.add_argument(
        "--targets",
        nargs="+",
        action=Joined,
        choices=[*TARGETS, ALL],
        metavar="TARGET",
        help=f'of {", ".join(TARGETS)}, or "all" (default: {" ".join(DEFAULT_TARGETS)}; where a fused one '
        "cannot run, what stands in for it)",
    )
    parser.add_argument(
        "--models",
        nargs="+",
        action=Joined,
        type=a_path,
        default=[],
        metavar="FILE",
        help="measure these models and make none; a checkpoint among them is the others' parent",
    )
    parser.add_argument(
        "--mode",
        choices=("latency", "throughput"),
        default="latency",
        help="throughput: images a second of models that are asked by many, beside the stock ways: docs/serving.md",
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        action=Joined,
        choices=[INSTALLED, EDGE, *targets.PEERS],
        metavar="PEER",
        help=f'also rows of stock routes and their ratios: "{INSTALLED}" (default), those of the engines that are '
        f'installed here, and the machine\'s own rate; {", ".join(targets.PEERS)}, or "{EDGE}" for these four, each '
        "installed into an environment of its own, once: docs/benchmarks.md",
    )
    parser.add_argument("--data", default=SYNTHETIC, metavar="DIR", help='a folder of faces, or "synthetic" (default)')
    reading.add_images(parser)
    reading.add_arguments(parser)
    parser.add_argument(
        "--out", type=a_path, default=Path("out"), metavar="DIR", help="models and report.json (default: out)"
    )
    parser.add_argument(
        "--weights", type=a_path, metavar="FILE", help="a checkpoint to measure, of the one configuration"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="of the engine (default: the cores it may use)")
    parser.add_argument(
        "--launches",
        type=int,
        default=3,
        metavar="N",
        help="fresh processes a row, in turn with the others (default: 3)",
    )
    parser.add_argument(
        "--seconds", type=float, default=1.0, metavar="S", help="least time to sample latency, a launch (default: 1)"
    )
    parser.add_argument(
        "--runs", type=int, default=224, metavar="N", help="least latency samples a launch (default: 224)"
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="score only N test images, the first by their files' hashes"
    )
    parser.add_argument(
        "--robustness",
        type=int,
        nargs="?",
        const=PERTURBED,
        default=0,
        metavar="N",
        help=f"also score N test images (if not told, {PERTURBED}) covered, blurred, too dark or bright, and tilted",
    )
    parser.add_argument(
        "--report-only", action="store_true", help="measure nothing: write table, Markdown and page of --out anew"
    )
    parser.add_argument("--wide", action="store_true", help="all columns, and each row's doubts")
    parser.add_argument(
        "--accuracy-only",
        action="store_true",
        help="score the models and measure nothing else: accuracy, agreement and each class's recall, in accuracy.json",
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit 1 where a row could not be made, though others were"
    )
    parser.add_argument(
        "--thumbnails",
        action="store_true",
        help="keep small copies of the images whose answer changed in the report; synthetic ones are always kept",
    )
    return parser


def _parse(arguments: list[str]) -> argparse.Namespace:
    chosen = parser().parse_args(arguments)
    chosen.configs = list(VARIANTS) if ALL.upper() in chosen.configs else list(dict.fromkeys(chosen.configs))
    if chosen.targets is None:
        chosen.targets = [kernels.or_instead(target) for target in DEFAULT_TARGETS]
    chosen.targets = list(TARGETS) if ALL in chosen.targets else list(dict.fromkeys(chosen.targets))
    chosen.peers = _peers(chosen.peers)
    if chosen.threads is None:
        chosen.threads = threads.usable_cores()
    threads.check(chosen.threads)
    check_counts(chosen, "launches", "runs", "limit")
    if chosen.runs > MOST_SAMPLES:
        raise UsageError(
            f"--runs is {chosen.runs}. At most {MOST_SAMPLES:,} are kept of a launch. Pass fewer, and more launches."
        )
    if chosen.robustness < 0:
        raise UsageError(f"--robustness is {chosen.robustness}. Expected 0 or more. Pass a number of images.")
    if not 0 <= chosen.seconds < math.inf:
        raise UsageError(
            f"--seconds is {chosen.seconds}. Expected 0 or more. Pass the least seconds to sample latency."
        )
    for name, given in (("peers", chosen.peers), ("weights", chosen.weights)):
        if chosen.models and given:
            raise UsageError(
                f"--models and --{name} were given. --models measures what is there and makes nothing. Leave one out."
            )
    _check_mode(chosen)
    if chosen.weights is not None and len(chosen.configs) > 1:
        raise UsageError(
            f"--weights {chosen.weights} was given for {len(chosen.configs)} configurations. A checkpoint holds one. "
            "Pass that one as --configs."
        )
    return chosen


def _check_mode(chosen: argparse.Namespace) -> None:
    """Raise UsageError for what a run of accuracy alone, or of throughput, would leave out without a word."""
    throughput_alone = chosen.mode == "throughput"
    other = {"robustness": chosen.robustness, "thumbnails": chosen.thumbnails}
    if chosen.accuracy_only:
        mode, without = "--accuracy-only", {"mode throughput": throughput_alone, **other}
    elif throughput_alone:
        mode, without = "--mode throughput", {"peers": chosen.peers, **other}
    else:
        return
    for name, given in without.items():
        if given:
            raise UsageError(
                f"--{name} was given with {mode}, which has no part of it. A run of its own was expected. Leave one of "
                "them out."
            )


def _peers(named: list[str] | None) -> list[str]:
    """The targets that these names mean, in the table's order."""
    if named is None:
        return []
    every = {INSTALLED: targets.STOCK, **targets.PEERS}
    wanted = {INSTALLED} if not named else {*named, *(targets.PEERS if EDGE in named else ())}
    return [target for name, these in every.items() if name in wanted for target in these]

"""lc2fer-bench: configurations x targets, each row in a process of its own, into a table and report.json."""

from __future__ import annotations

import argparse
import hashlib
import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lc2fer.artifact import Artifact, hash_file
from lc2fer.data import SYNTHETIC, open_dataset, read_pixels
from lc2fer.data.rafdb import Dataset, Sample
from lc2fer.errors import Lc2ferError, UsageError
from lc2fer.inputs import LABELS, InputSpec
from lc2fer.recipe import PRECISIONS
from lc2fer.variants import VARIANTS

from . import machine
from .launch import Images, Settings, evaluate, measure
from .making import make
from .report import PARENT, Data, Failure, Parent, Report, Row, write
from .table import figures, table

TARGETS = (PARENT, *(f"{kind}-{precision}" for kind in ("onnx", "openvino", "trt") for precision in PRECISIONS))
DEFAULT_TARGETS = (PARENT, "onnx-fp32", "onnx-int8", "openvino-fp32", "openvino-fp16", "openvino-int8")
REPORT = "report.json"


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command: the table goes to standard output, progress to standard error, the summary is returned.

    A row that cannot be made is told below the table. Raises the first such error where there is no row at all, and
    UsageError or DataError for arguments or images that cannot be used.
    """
    chosen = _parse(arguments)
    with tempfile.TemporaryDirectory(prefix="lc2fer-bench-") as work:
        report = _run(chosen, Path(work))
    path = chosen.out / REPORT
    write(path, report)
    print(table(report))
    return {"report": str(path), "rows": [_summary(report, row) for row in report.rows]}


class _Run:
    """The rows so far."""

    def __init__(self, chosen: argparse.Namespace, images: Callable[[InputSpec], Images], work: Path) -> None:
        from rich.console import Console

        self.rows: list[Row] = []
        self.parents: list[Parent] = []
        self.failures: list[Failure] = []
        self.first_error: Lc2ferError | None = None
        self._chosen = chosen
        self._settings = Settings(chosen.threads, chosen.runs, chosen.seconds)
        self._images = images
        self._work = work
        self._console = Console(stderr=True)

    def configuration(self, config: str, targets: list[str]) -> None:
        """Make and measure one configuration's targets, the parent first: the others are compared with its answers."""
        chosen = self._chosen
        wanted = [PARENT, *(target for target in targets if target != PARENT)]
        made = make(config, wanted, weights=chosen.weights, data=chosen.data, images=chosen.images, out=chosen.out)
        checkpoint = made[PARENT]
        weights = _weights(checkpoint) if isinstance(checkpoint, Artifact) else "unknown"
        for target in wanted:
            artifact = made[target]
            try:
                if isinstance(artifact, Lc2ferError):
                    raise artifact
                self._row(config, artifact, weights, shown=target in targets)
            except Lc2ferError as error:
                self.first_error = self.first_error or error
                self.failures.append(Failure(config, target, type(error).__name__, str(error)))
                self._say(f"{config} {target}: {type(error).__name__}")

    def _row(self, config: str, artifact: Artifact, weights: str, *, shown: bool) -> None:
        images = self._images(artifact.input_spec)
        if not shown:
            outputs = evaluate(artifact, images, self._settings, self._work)
            self.parents.append(Parent(config, artifact.sha256, outputs))
            self._say(f"{config} {artifact.target}: scored, to compare the others with it")
            return
        measurement, outputs = measure(artifact, images, self._settings, self._work)
        if artifact.target == PARENT:
            self.parents.append(Parent(config, artifact.sha256, outputs))
        self.rows.append(Row.of(artifact, weights, measurement, outputs))
        p50_ms = float(np.median(measurement.samples_ns)) / 1e6
        self._say(f"{config} {artifact.target}: p50 {p50_ms:.3f} ms, {measurement.state}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _run(chosen: argparse.Namespace, work: Path) -> Report:
    found = machine.detect()
    dataset = open_dataset(chosen.data, chosen.images)
    samples, data = _test_set(dataset, chosen.data, chosen.limit)
    prepared: dict[int, Images] = {}

    def images(spec: InputSpec) -> Images:
        if spec.size not in prepared:  # the rest of a spec is fixed in this version
            path = work / f"images-{spec.size}.bin"
            read_pixels(samples, replace(spec, labels=LABELS)).tofile(path)
            prepared[spec.size] = Images(path, len(samples), spec.size)
        return prepared[spec.size]

    run = _Run(chosen, images, work)
    for config in chosen.configs:
        run.configuration(config, chosen.targets)
    if not run.rows and run.first_error is not None:
        raise run.first_error
    return Report(found, data, tuple(run.rows), tuple(run.parents), tuple(run.failures))


def _test_set(dataset: Dataset, name: str, limit: int | None) -> tuple[list[Sample], Data]:
    """D^e in the order of its files' hashes, at most `limit` of it: so a part of it is a fair sample of all classes."""
    hashed = sorted((hash_file(sample.path), str(sample.path), sample) for sample in dataset.test)[:limit]
    digest = hashlib.sha256()
    for sha256, _, sample in hashed:
        digest.update(bytes.fromhex(sha256) + bytes([sample.label]))
    samples = [sample for _, _, sample in hashed]
    return samples, Data(
        name=name,
        fingerprint=digest.hexdigest(),
        available=len(dataset.test),
        images=tuple(sample.path.relative_to(dataset.root).as_posix() for sample in samples),
        labels=tuple(sample.label for sample in samples),
        label_names=LABELS,
    )


def _weights(checkpoint: Artifact) -> str:
    return "random" if (checkpoint.training or {}).get("weights") == "random" else "trained"


def _summary(report: Report, row: Row) -> dict[str, Any]:
    found = figures(report, row)
    return {
        "model": row.variant,
        "target": row.target,
        "accuracy": found.accuracy,
        "agreement": found.agreement,
        "p50_ms": found.p50_ms.value,
        "p90_ms": found.p90_ms.value,
        "size_bytes": found.size_bytes,
        "memory_bytes": found.memory_bytes,
        "state": row.measurement.state,
    }


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="lc2fer-bench",
        description="Measure models: accuracy and agreement with the parent on the test images, latency at batch 1, "
        "file size, memory. Models that are missing are made first.",
    )
    parser.add_argument(
        "--configs", nargs="+", choices=list(VARIANTS), type=str.upper, default=["C6"], metavar="CONFIG"
    )
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(DEFAULT_TARGETS), metavar="TARGET")
    parser.add_argument("--data", default=SYNTHETIC, metavar="DIR", help='a RAF-DB folder, or "synthetic" (default)')
    parser.add_argument(
        "--images", choices=("aligned", "original"), default="aligned", help="of RAF-DB's official layout"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out"), metavar="DIR", help="models and report.json (default: out)"
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="a checkpoint to measure, of the one configuration"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="of the engine (default: the cores it may use)")
    parser.add_argument(
        "--seconds", type=float, default=2.0, metavar="S", help="least time to sample latency (default: 2)"
    )
    parser.add_argument("--runs", type=int, default=200, metavar="N", help="least latency samples (default: 200)")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="score only N test images, the first by their files' hashes"
    )
    chosen = parser.parse_args(arguments)
    chosen.configs, chosen.targets = list(dict.fromkeys(chosen.configs)), list(dict.fromkeys(chosen.targets))
    if chosen.threads is None:
        chosen.threads = machine.usable_cores()
    for name in ("threads", "runs", "limit"):
        value = getattr(chosen, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name} is {value}. Expected 1 or more. Pass a positive number as --{name}.")
    if not 0 <= chosen.seconds < math.inf:
        raise UsageError(
            f"--seconds is {chosen.seconds}. Expected 0 or more. Pass the least seconds to sample latency."
        )
    if chosen.weights is not None and len(chosen.configs) > 1:
        raise UsageError(
            f"--weights {chosen.weights} was given for {len(chosen.configs)} configurations. A checkpoint holds one. "
            "Pass that one as --configs."
        )
    return chosen

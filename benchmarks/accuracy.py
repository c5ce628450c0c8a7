"""lc2fer-bench --accuracy-only: how right models are on the test images, without the launches that times need."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from tabulate import tabulate  # type: ignore[import-untyped]

from lc2fer import artifact as artifacts
from lc2fer import metrics
from lc2fer.artifact import Artifact
from lc2fer.data import open_dataset, records
from lc2fer.errors import Lc2ferError
from lc2fer.reading import Reading
from lc2fer.text import remark

from .measuring.conditions import pinned
from .measuring.images import preparer, test_set
from .measuring.launch import Settings, evaluate
from .measuring.models import given, make, weights_of
from .report.document import PARENT

REPORT = "accuracy.json"


def main(chosen: Namespace) -> dict[str, Any]:
    """Score the models of the command's arguments; prints a table, writes accuracy.json, returns the last line.

    Raises the first model's error where there is no other, and DataError for images that cannot be used.
    """
    dataset = open_dataset(chosen.data, chosen.images, Reading.of(vars(chosen)))
    found, failed = _models(chosen)
    if not found:
        raise failed[0]
    samples, data = test_set(dataset, chosen.data, chosen.limit, found[0].input_spec.labels)
    for model in found:
        records.agree(chosen.data, model.input_spec.alignment)
    settings = Settings(chosen.threads, 1, 1, 0.0, cores=pinned(chosen.threads))
    rows: list[dict[str, Any]] = []
    answers: dict[tuple[str, str], tuple[int, ...]] = {}
    parents = {model.variant: model for model in found if model.target == PARENT}
    with artifacts.staged(chosen.out) as work:
        images = preparer(samples, 0, work, data.label_names)
        for model in found:
            pixels = images(model.input_spec)
            try:
                scored = evaluate(model, pixels, settings, work)
            except Lc2ferError as error:
                failed.append(error)
                remark(f"{model.variant} {model.target}: {type(error).__name__}: {error}")
                continue
            predicted = answers[model.variant, model.target] = tuple(scored.outputs.predictions)
            correct = sum(one == label for one, label in zip(predicted, data.labels))
            between = metrics.wilson_interval(correct, len(data.labels))
            parent = answers.get((model.variant, PARENT))
            recalls = metrics.recalls(data.labels, predicted, len(data.label_names))
            rows.append(
                {
                    "model": model.variant,
                    "target": model.target,
                    "weights": weights_of(parents.get(model.variant)),
                    "accuracy": correct / len(data.labels),
                    "low": between.low,
                    "high": between.high,
                    "agreement": None if parent is None else metrics.agreement(parent, predicted),
                    "recalls": dict(zip(data.label_names, recalls)),
                }
            )
    if not rows:
        raise failed[0]
    document = {"data": data.name, "images": len(data.labels), "fingerprint": data.fingerprint, "rows": rows}
    path = chosen.out / REPORT
    artifacts.write(path, document)
    print(f"{len(data.labels):,} test images of {data.name}")
    print(tabulate([_cells(row) for row in rows], _headings(data.label_names), disable_numparse=True))
    if any(row["weights"] != "trained" for row in rows):
        print("* weights that are random or of unknown origin: the accuracy proves nothing.")
    return {"accuracy": str(path), **document, **({"exit_code": 1} if chosen.strict and failed else {})}


def _models(chosen: Namespace) -> tuple[list[Artifact], list[Lc2ferError]]:
    """The models, each parent before its own, and the errors of those that could not be made."""
    if chosen.models:
        return [model for _, row in sorted(given(chosen.models).items()) for model in row.values()], []
    found, failed = [], []
    for config in chosen.configs:
        wanted = [PARENT, *(target for target in chosen.targets if target != PARENT), *chosen.peers]
        options = {"weights": chosen.weights, "data": chosen.data, "images": chosen.images, "out": chosen.out}
        made = make(config, wanted, reading=Reading.of(vars(chosen)), **options)
        for target, one in made.items():
            if isinstance(one, Artifact):
                found.append(one)
            else:
                failed.append(one)
                remark(f"{config} {target}: {type(one).__name__}: {one}")
    return found, failed


def _headings(names: tuple[str, ...]) -> list[str]:
    return ["model", "target", "accuracy %", "95 %", "agreement %", *names]


def _cells(row: dict[str, Any]) -> list[str]:
    shares = [row["agreement"], *row["recalls"].values()]
    return [
        row["model"] + ("" if row["weights"] == "trained" else "*"),
        row["target"],
        f"{100 * row['accuracy']:.2f}",
        f"{100 * row['low']:.2f} to {100 * row['high']:.2f}",
        *("-" if share is None else f"{100 * share:.1f}" for share in shares),
    ]

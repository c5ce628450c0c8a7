"""lc2fer-explain: what a trained network gets wrong, and what it looks at, as one page and one JSON file."""

from __future__ import annotations

import argparse
import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate  # type: ignore[import-untyped]

from lc2fer import artifact as artifacts
from lc2fer import reading
from lc2fer.arguments import a_path
from lc2fer.data import SYNTHETIC, open_dataset, records
from lc2fer.data.split import images_kept
from lc2fer.errors import UsageError
from lc2fer.explain.beside import beside, check
from lc2fer.explain.data import Pictures, check_limit, drawn_faces, read
from lc2fer.explain.findings import confused, confusion, space
from lc2fer.header import input_spec
from lc2fer.storage import move
from lc2fer.text import stderr_console
from lc2fer.variants import VARIANTS

FORMAT = 1
_PACKAGES = ("torch", "captum", "sklearn", "matplotlib")


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(
        prog="lc2fer-explain",
        description="Show what a trained network confuses, how its features lie, and where on the face it looks.",
    )
    parser.add_argument(
        "--config", required=True, choices=list(VARIANTS), type=str.upper, help="the variant to explain"
    )
    parser.add_argument("--weights", type=a_path, metavar="FILE", help="safetensors; default: the bundled ones")
    parser.add_argument("--data", default=SYNTHETIC, metavar="DIR", help='a folder of faces, or "synthetic" (default)')
    reading.add_images(parser)
    reading.add_arguments(parser)
    parser.add_argument(
        "--beside", type=a_path, metavar="MODEL", help="an exported model of the same weights, to compare with them"
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="images of each split; default: 500, and the whole of the test part D^e"
    )
    parser.add_argument(
        "--thumbnails", action="store_true", help="copy pictures of D^e into the page; procedural ones always are"
    )
    parser.add_argument("--out", type=a_path, default=Path("out"), metavar="DIR", help="default: out")
    return parser


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command; returns the last line's document."""
    given = parser().parse_args(arguments)
    check_limit(given.limit)
    for package in _PACKAGES:  # a missing one is told before anything runs
        importlib.import_module(package)
    console = stderr_console()

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    _check_out(given.out)
    document, pictures = explain(given, say)
    from lc2fer.explain.page import page

    numbers = json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n"
    files = {given.out / f"{given.config}-explain.json": numbers}
    files[given.out / f"{given.config}-explain.html"] = page(document, pictures)
    with artifacts.staged(given.out) as staging:
        for path, text in files.items():
            artifacts.write_text(staging / path.name, text)
        for path in files:
            move(staging / path.name, path)
    print(_table(document))
    return _summary(document, *files)


def _check_out(folder: Path) -> None:
    """Raise what writing there would raise, before the minutes of work; nothing is left."""
    while not os.path.lexists(folder):
        folder = folder.parent
    with artifacts.staged(folder):
        pass


def explain(given: argparse.Namespace, say: Callable[[str], None]) -> tuple[dict[str, Any], Pictures]:
    """Everything that the report says, and the pictures of its page.

    Raises ArtifactError for bad weights or a foreign --beside, DataError for bad or too few images.
    """
    from lc2fer.explain.heat import heat
    from lc2fer.explain.model import outputs
    from lc2fer.network import checkpoint

    weights = _weights(given.config, given.weights)
    network = checkpoint.load(weights, given.config)
    (spec, manifest), sha256 = input_spec(weights, network.num_classes), artifacts.hash_file(weights)
    other = None if given.beside is None else check(given.beside, given.config, spec, sha256)
    records.agree(given.data, spec.alignment)
    dataset = open_dataset(given.data, given.images, reading.Reading.of(vars(given)))
    for note in dataset.notes:
        say(note)
    say(f"{given.config}: reading {dataset.place.name}")
    parts, fingerprint = read(dataset, spec, given.limit, images_kept(manifest.training if manifest else None))
    test = parts[2]
    names = [str(sample.path.relative_to(dataset.root)) for sample in test.samples]
    faces = drawn_faces(dataset.root, test.samples)
    shown = faces is not None or given.thumbnails
    pictures = Pictures(test.pixels if shown else None)
    say("answers and features of " + ", ".join(f"{len(part.labels):,} images of {part.name}" for part in parts))
    found = [outputs(network, part.pixels) for part in parts]
    logits = found[2][0]
    document = {
        "format": FORMAT,
        "config": given.config,
        "weights": {"name": weights.name, "sha256": sha256},
        "data": {
            "name": dataset.place.name,
            "images": given.images,
            "procedural": faces is not None,
            "pictures": shown,
            "split": fingerprint,
        },
        "labels": list(spec.labels),
        "tools": artifacts.tool_versions("torch", "captum", "scikit-learn", "matplotlib", "numpy"),
        "confusion": confusion(test, logits),
        "confused": confused(test, names, logits),
        "space": space(parts, found, say),
        "heat": None,
        "beside": None,
    }

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return outputs(network, batch.transpose(0, 2, 3, 1))[0]

    document["heat"] = heat(network, run, test, names, logits, faces, pictures, say)
    if other is not None:
        document["beside"] = beside(other, run, test, names, logits, say)
    return _rounded(document), pictures


def _weights(config: str, given: Path | None) -> Path:
    found = given or artifacts.bundled(config)
    if found is None:
        raise UsageError(
            f"{config} has no bundled weights. Weights to explain were expected. Pass --weights, or train them with "
            "lc2fer-train."
        )
    return found


def _rounded(value: Any) -> Any:
    """The same document with 6 digits after the point: what is beyond them is noise of the processor's."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return value


def _table(document: dict[str, Any]) -> str:
    headings = ["split", "images", "accuracy", "features of", "purity", "of the picture", "by chance"]
    rows = [
        [
            name,
            f"{split['answered']:,} of {split['available']:,}",
            f"{split['accuracy']:.1%}",
            f"{split['images']:,}",
            *(f"{split[key]:.1%}" for key in ("purity", "purity_of_picture", "purity_by_chance")),
        ]
        for name, split in document["space"]["splits"].items()
    ]
    return str(tabulate(rows, headings, stralign="right", disable_numparse=True))


def _summary(document: dict[str, Any], numbers: Path, report: Path) -> dict[str, Any]:
    beside, heat, confusion = document["beside"], document["heat"], document["confusion"]
    return {
        "report": str(report),
        "json": str(numbers),
        "config": document["config"],
        "images": confusion["images"],
        "accuracy": confusion["accuracy"],
        "mean_class_accuracy": confusion["mean_class_accuracy"],
        "purity": {name: split["purity"] for name, split in document["space"]["splits"].items()},
        "heat_in_parts": None if heat["parts"] is None else heat["parts"]["together"],
        "beside": None
        if beside is None
        else {key: beside[key] for key in ("name", "accuracy", "agreement", "changed", "sqnr_db", "max_abs")},
    }

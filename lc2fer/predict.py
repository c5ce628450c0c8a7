"""lc2fer-predict: the expression on face crops, with any artifact."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate  # type: ignore[import-untyped]

from lc2fer import artifact as artifacts
from lc2fer.errors import UsageError
from lc2fer.inputs import read_image
from lc2fer.metrics import softmax
from lc2fer.session import open_session


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lc2fer-predict",
        description="Print the expression and its probabilities for pictures of one face each, cropped to the face.",
    )
    parser.add_argument("pictures", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument("--model", type=Path, metavar="FILE", help="an exported model; default: the bundled C6")
    parser.add_argument("--threads", type=int, metavar="N")
    return parser


def _bundled() -> Path:
    path = artifacts.bundled("C6")
    if path is None:
        raise UsageError("This installation has no bundled C6. Expected one in the package. Pass --model FILE.")
    return path


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command; returns the last line's document."""
    given = _parser().parse_args(arguments)
    artifact = artifacts.load(given.model or _bundled())
    spec = artifact.input_spec
    batch = np.stack([spec.apply(read_image(path)) for path in given.pictures])
    with open_session(artifact, threads=given.threads) as session:
        probabilities = softmax(session.run(batch))
    best = probabilities.argmax(axis=1)
    rows = [
        [path.name, spec.labels[label], *(f"{share:.1%}" for share in row)]
        for path, label, row in zip(given.pictures, best, probabilities)
    ]
    print(tabulate(rows, ["picture", "expression", *spec.labels], stralign="right", disable_numparse=True))
    return {
        "artifact": str(artifact.path),
        "predictions": [
            {
                "picture": str(path),
                "expression": spec.labels[label],
                "probabilities": {name: round(float(share), 6) for name, share in zip(spec.labels, row)},
            }
            for path, label, row in zip(given.pictures, best, probabilities)
        ],
    }

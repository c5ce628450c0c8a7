"""lc2fer-export: one variant, one target, proven or refused."""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from rich.console import Console

from lc2fer.variants import VARIANTS

from .recipes import TARGETS, check_target


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lc2fer-export",
        description="Make a model for a target, prove that it agrees with the trained network, and write its manifest.",
        epilog="Engines (trt-*) are built on the GPU that runs them; elsewhere their ONNX is made and proven (exit 3).",
    )
    parser.add_argument("--config", required=True, metavar="NAME", help=f"one of {', '.join(VARIANTS)}")
    parser.add_argument("--target", required=True, metavar="NAME", help=f"one of {', '.join(TARGETS)}")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="safetensors; default: the bundled ones")
    parser.add_argument("--data", default="synthetic", metavar="DIR", help='RAF-DB, or "synthetic" (default)')
    parser.add_argument("--images", choices=("aligned", "original"), default="aligned")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="default: out")
    parser.add_argument(
        "--calibration-images", type=int, metavar="N", help="images of D^v that give the INT8 ranges; default: 300"
    )
    return parser


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command; returns the last line's document."""
    given = _parser().parse_args(arguments)
    check_target(given.target)
    console = Console(stderr=True)
    from .pipeline import Pipeline  # imports torch

    pipeline = Pipeline(
        given.config,
        given.out,
        weights=given.weights,
        data=given.data,
        images=given.images,
        calibration_images=given.calibration_images,
        say=lambda text: console.print(text, highlight=False, soft_wrap=True, markup=False),
    )
    with redirect_stdout(sys.stderr):  # libraries' chatter; stdout's last line is ours
        artifact = pipeline.export(given.target)
    return {
        "artifact": str(artifact.path),
        "manifest": str(artifact.manifest_path),
        "target": artifact.target,
        "variant": artifact.variant,
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
        "proof": artifact.proof,
    }

"""lc2fer-export: one variant, one target, proven or refused."""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from lc2fer import reading
from lc2fer.arguments import a_path
from lc2fer.errors import UsageError
from lc2fer.nvidia import MOST_IMAGES
from lc2fer.recipe import MIN_SPEEDUP, Budget
from lc2fer.settings import ACCURACY, SETTINGS
from lc2fer.targets import ENGINES, OURS, check_budget_target, check_target
from lc2fer.text import stderr_console
from lc2fer.variants import VARIANTS


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(
        prog="lc2fer-export",
        description="Make a model for a target, prove that it agrees with the trained network, and write its manifest.",
        epilog="Engines (trt-*) are built on the GPU that runs them; elsewhere their ONNX is made and proven (exit 3).",
    )
    parser.add_argument("--config", required=True, metavar="NAME", help=f"one of {', '.join(VARIANTS)}")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--target", metavar="NAME", help=f"one of {', '.join(OURS)}")
    what.add_argument(
        "--sensitivity", action="store_true", help="rank the layers by what INT8 does to each, as table, JSON and SVG"
    )
    parser.add_argument("--weights", type=a_path, metavar="FILE", help="safetensors; default: the bundled ones")
    parser.add_argument(
        "--data", default="synthetic", metavar="DIR", help='a folder of faces, or "synthetic" (default)'
    )
    reading.add_images(parser)
    reading.add_arguments(parser)
    parser.add_argument(
        "--size", type=int, metavar="PIXELS", help="a side of the images, of weights that do not say it themselves"
    )
    parser.add_argument("--out", type=a_path, default=Path("out"), metavar="DIR", help="default: out")
    parser.add_argument(
        "--calibration-images", type=int, metavar="N", help="images of D^v that give the INT8 ranges; default: 300"
    )
    parser.add_argument(
        "--sensitivity-images", type=int, metavar="N", help="images of D^v to rank the layers on; default: 300"
    )
    parser.add_argument(
        "--setting",
        choices=SETTINGS,
        help=f"balanced: rare expressions are found more often, and a little accuracy is lost (default: {ACCURACY})",
    )
    parser.add_argument("--max-batch", type=int, metavar="N", help="images that an engine takes at once; default: 1")
    parser.add_argument(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="INT8 may lose so many percentage points of accuracy on D^v; layers are kept in float until it does, and "
        "where it then is not faster than fp32 and fp16 it is refused and the best of these delivered",
    )
    parser.add_argument(
        "--min-speedup", type=float, metavar="TIMES", help="what INT8 needs over them, with --max-drop; default: 1.05"
    )
    return parser


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command; returns the last line's document."""
    given = parser().parse_args(arguments)
    budget = _budget(given)
    if given.sensitivity_images is not None and (not given.sensitivity or given.sensitivity_images < 1):
        raise UsageError(
            f"--sensitivity-images {given.sensitivity_images} was given "
            f"{'with' if given.sensitivity else 'without'} --sensitivity. Expected 1 or more, with it. "
            "Correct or leave out --sensitivity-images."
        )
    max_batch = _max_batch(given)
    console = stderr_console()
    from .pipeline import Pipeline  # imports torch

    pipeline = Pipeline(
        given.config,
        given.out,
        weights=given.weights,
        data=given.data,
        images=given.images,
        reading=reading.Reading.of(vars(given)),
        size=given.size,
        calibration_images=given.calibration_images,
        max_batch=max_batch,
        setting=given.setting,
        say=lambda text: console.print(text, highlight=False, soft_wrap=True, markup=False),
    )
    with redirect_stdout(sys.stderr):  # libraries' chatter; stdout's last line is ours
        if given.sensitivity:
            from . import sensitivity

            table, document = sensitivity.report(pipeline, given.sensitivity_images or sensitivity.IMAGES)
        elif budget is not None:
            from .budget import deliver

            artifact = deliver(pipeline, given.target, budget)
        else:
            artifact = pipeline.export(given.target)
    if given.sensitivity:
        print(table)
        return document
    return {
        "artifact": str(artifact.path),
        "manifest": str(artifact.manifest_path),
        "target": artifact.target,
        "variant": artifact.variant,
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
        "proof": artifact.proof,
        "budget": artifact.budget if budget is not None else None,
    }


def _max_batch(given: argparse.Namespace) -> int:
    if given.max_batch is None:
        return 1
    if given.target not in ENGINES or not 1 <= given.max_batch <= MOST_IMAGES:
        raise UsageError(
            f"--max-batch {given.max_batch} was given for {given.target or '--sensitivity'}. Expected 1 to "
            f"{MOST_IMAGES}, for one of {', '.join(ENGINES)}: other files take any batch. Correct or leave out "
            "--max-batch."
        )
    return int(given.max_batch)


def _budget(given: argparse.Namespace) -> Budget | None:
    """What the flags ask of INT8; raises UsageError for a wrong target, or flags that do not go together."""
    if given.target is not None:
        check_target(given.target)
    if given.max_drop is None:
        if given.min_speedup is not None:
            raise UsageError(
                f"--min-speedup {given.min_speedup:g} was given without --max-drop. Expected both, or --max-drop "
                "alone. Add --max-drop, for example 0.3."
            )
        return None
    check_budget_target(given.target or "--sensitivity")
    speedup = MIN_SPEEDUP if given.min_speedup is None else given.min_speedup
    return Budget(given.max_drop / 100, speedup)

"""lc2fer-train: from a folder of pictures to a checkpoint.

The paper's recipe is the default: AdamW, learning rate 1e-3, batch 128, at most 150 epochs, the best epoch by D^v.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from lc2fer.settings import AUGMENTATIONS, PRECISIONS, SCHEDULES, Settings
from lc2fer.variants import VARIANTS

_CHOICES = {"schedule": SCHEDULES, "augment": AUGMENTATIONS, "precision": PRECISIONS}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lc2fer-train",
        description="Train a variant on a folder of faces. A run that was stopped goes on where it was.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--config", required=True, choices=list(VARIANTS), type=str.upper)
    parser.add_argument("--data", required=True, nargs="+", metavar="DIR", help='RAF-DB folders, or "synthetic"')
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--init", type=Path, metavar="FILE", help="start from these weights, of the variant or of one with fewer blocks"
    )
    parser.add_argument("--restart", action="store_true", help="replace the run that lies in --out")
    parser.add_argument(
        "--images", choices=("aligned", "original"), default="aligned", help="of RAF-DB's official layout"
    )
    for field in fields(Settings):
        if field.name not in ("config", "init"):
            flag = "--" + field.name.replace("_", "-")
            choices = _CHOICES.get(field.name)
            parser.add_argument(flag, type=type(field.default), default=field.default, choices=choices, help=" ")
    return parser


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command; returns the last line's document."""
    given = _parser().parse_args(arguments)
    chosen = {field.name: getattr(given, field.name) for field in fields(Settings)}
    settings = Settings(**chosen | {"init": None})
    from lc2fer.train import train  # imports torch

    return train(settings, given.data, given.out, init=given.init, images=given.images, restart=given.restart)

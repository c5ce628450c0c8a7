"""lc2fer-train: from a folder of pictures to a checkpoint.

The paper's recipe is the default: AdamW, learning rate 1e-3, batch 128, at most 150 epochs, the best epoch by D^v.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from lc2fer import artifact as artifacts
from lc2fer import reading
from lc2fer.alignment import ALIGNMENTS
from lc2fer.data import records
from lc2fer.errors import ArtifactError, UsageError
from lc2fer.settings import AUGMENTATIONS, BALANCES, DECAYS, PRECISIONS, RECIPES, SCHEDULES, TARGETS, TEACHING, Settings
from lc2fer.variants import VARIANTS

_CHOICES = {
    "schedule": SCHEDULES,
    "augment": AUGMENTATIONS,
    "precision": PRECISIONS,
    "decay": DECAYS,
    "balance": BALANCES,
    "targets": TARGETS,
    "teach": TEACHING,
}
_GIVEN = ("config", "init", "teachers")  # not by a flag of their own name


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(
        prog="lc2fer-train",
        description="Train a variant on a folder of faces. A run that was stopped goes on where it was.",
    )
    parser.add_argument("--config", required=True, choices=list(VARIANTS), type=str.upper)
    parser.add_argument("--data", required=True, nargs="+", metavar="DIR", help='folders of faces, or "synthetic"')
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--init",
        type=Path,
        metavar="FILE",
        help='start from these weights, of the variant or of one with fewer blocks; "bundled": those that come with it',
    )
    parser.add_argument(
        "--teacher", type=Path, nargs="+", default=[], metavar="FILE", help="checkpoints to learn from, with --distill"
    )
    parser.add_argument(
        "--recipe", choices=list(RECIPES), default="paper", help="values of the flags below (default: paper)"
    )
    parser.add_argument("--restart", action="store_true", help="replace the run that lies in --out")
    parser.add_argument(
        "--images",
        choices=("aligned", "original"),
        default="aligned",
        help="of RAF-DB's official layout (default: aligned)",
    )
    parser.add_argument(
        "--alignment",
        choices=ALIGNMENTS,
        help="how the faces of --data were cut out; default: as lc2fer-faces wrote beside them, else none",
    )
    reading.add_arguments(parser)
    for field in fields(Settings):
        if field.name not in _GIVEN:
            flag = "--" + field.name.replace("_", "-")
            values = [f"{name}: {recipe.get(field.name, field.default)}" for name, recipe in RECIPES.items()]
            if isinstance(field.default, bool):
                action: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
            else:
                action = {"type": type(field.default), "choices": _CHOICES.get(field.name)}
            parser.add_argument(flag, default=argparse.SUPPRESS, help=", ".join(values), **action)
    return parser


def settings_of(arguments: list[str]) -> tuple[argparse.Namespace, Settings]:
    """What a command line says, and the settings that follow from it; raises ArtifactError for a missing teacher."""
    given = parser().parse_args(arguments)
    named = {field.name for field in fields(Settings)} - set(_GIVEN)
    flags = {name: value for name, value in vars(given).items() if name in named}
    for path in given.teacher:
        if not path.is_file():
            raise ArtifactError(f"{path} is missing. A teacher's checkpoint was expected. Correct --teacher.")
    teachers = tuple(artifacts.hash_file(path) for path in given.teacher)
    if given.init == Path("bundled"):
        given.init = _bundled(given.config)
    return given, Settings(given.config, **{**RECIPES[given.recipe], **flags}, teachers=teachers)


def _bundled(config: str) -> Path:
    path = artifacts.bundled(config)
    if path is None:
        there = ", ".join(name for name in VARIANTS if artifacts.bundled(name) is not None)
        raise UsageError(
            f"{config} has no bundled weights. Expected {there} with --init bundled. Name a file, or one of these."
        )
    return path


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command; returns the last line's document."""
    given, settings = settings_of(arguments)
    from lc2fer.training.train import train  # imports torch

    return train(
        settings,
        given.data,
        given.out,
        init=given.init,
        teachers=given.teacher,
        images=given.images,
        alignment=records.alignment_of(given.data, given.alignment),
        restart=given.restart,
        reading=reading.Reading.of(vars(given)),
    )

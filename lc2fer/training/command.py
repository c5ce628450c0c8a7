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
from lc2fer.arguments import Joined, a_path
from lc2fer.data import records
from lc2fer.errors import ArtifactError, UsageError
from lc2fer.settings import (
    AUGMENTATIONS,
    BALANCES,
    DECAYS,
    KEPT,
    OPTIMIZERS,
    PRECISIONS,
    RECIPES,
    SCHEDULES,
    TARGETS,
    TEACHING,
    Settings,
)
from lc2fer.variants import VARIANTS

_CHOICES = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "augment": AUGMENTATIONS,
    "precision": PRECISIONS,
    "decay": DECAYS,
    "balance": BALANCES,
    "targets": TARGETS,
    "teach": TEACHING,
    "keep": KEPT,
}
_MEANINGS = {
    "size": "pixels a side",
    "epochs": "at most so many passes over the images",
    "batch": "images a step, over all processes",
    "optimizer": "AdamW, or Muon for the pointwise kernels and AdamW for the rest",
    "lr": "the highest learning rate",
    "schedule": "constant, or a rise and a fall (one-cycle)",
    "warm_up": "share of a one-cycle run in which the rate rises",
    "weight_decay": "share of the weights, times the learning rate, that a step takes away",
    "decay": '"weights" spares biases, norms and GRN',
    "label_smoothing": "share of a target spread over all classes",
    "drop_path": "share of the blocks skipped at random; 0: off",
    "augment": "how images are changed at random",
    "erase": "share of the images of which a rectangle is covered",
    "mixup": "blend two images: alpha of the Beta distribution; 0: off",
    "cutmix": "paste a part of another image: alpha; 0: off",
    "balance": "rare classes count more, by how often images are drawn or in the loss",
    "targets": "one label an image, or a crowd's votes (votes.csv)",
    "distill": "share of the teachers' answers in the targets; 0: off",
    "teach": "teachers answer once, before training, or to every augmented image",
    "ema": "decay of averaged weights, which are then judged and kept; 0: off",
    "start_size": "pixels a side at first, growing to --size; 0: off",
    "limit": "train on no more images of each data set; 0: on all",
    "validation_images": "validate on about so many images of each data set and train on the rest too; 0: as divided",
    "keep": "the weights of the best epoch by the validation images, or of the last",
    "patience": "stop after so many epochs without a better one",
    "judge_every": "look at the validation images every so many epochs",
    "precision": "of the products",
    "compile": "by torch.compile, which wants a C++ compiler on a CPU",
    "seed": "of everything random",
}
_GIVEN = ("config", "init", "teachers")  # not by a flag of their own name


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(
        prog="lc2fer-train",
        description="Train a variant on a folder of faces. A run that was stopped goes on where it was.",
    )
    parser.add_argument("--config", required=True, choices=list(VARIANTS), type=str.upper, help="the variant to train")
    parser.add_argument(
        "--data", required=True, nargs="+", action=Joined, metavar="DIR", help='folders of faces, or "synthetic"'
    )
    parser.add_argument(
        "--out", required=True, type=a_path, metavar="DIR", help="for weights, log and state of the run"
    )
    parser.add_argument(
        "--init",
        type=a_path,
        metavar="FILE",
        help='start from these weights, of the variant or of one with fewer blocks; "bundled": those that come with it',
    )
    parser.add_argument(
        "--teacher",
        type=a_path,
        nargs="+",
        action=Joined,
        default=[],
        metavar="FILE",
        help="checkpoints to learn from, with --distill",
    )
    parser.add_argument(
        "--recipe",
        choices=list(RECIPES),
        default="paper",
        help="values of the flags below, in brackets (default: paper)",
    )
    parser.add_argument("--restart", action="store_true", help="replace the run that lies in --out")
    reading.add_images(parser)
    parser.add_argument(
        "--alignment",
        choices=ALIGNMENTS,
        help="how the faces of --data were cut out; default: as lc2fer-faces wrote beside them, else none",
    )
    reading.add_arguments(parser)
    for field in fields(Settings):
        if field.name not in _GIVEN:
            flag = "--" + field.name.replace("_", "-")
            values = ", ".join(f"{name} {recipe.get(field.name, field.default)}" for name, recipe in RECIPES.items())
            if isinstance(field.default, bool):
                action: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
            else:
                action = {"type": type(field.default), "choices": _CHOICES.get(field.name)}
            parser.add_argument(flag, default=argparse.SUPPRESS, help=f"{_MEANINGS[field.name]} ({values})", **action)
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

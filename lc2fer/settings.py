"""What decides a training run, as one frozen table of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lc2fer.errors import UsageError
from lc2fer.variants import variant

SCHEDULES = ("constant", "one-cycle")
PRECISIONS = ("fp32", "bf16")
AUGMENTATIONS = ("none", "paper", "faces")  # lc2fer/training/augment.py
OPTIMIZERS = ("adamw", "muon")
DECAYS = ("all", "weights")
BALANCES = ("none", "sampling", "loss")
TARGETS = ("labels", "votes")
TEACHING = ("once", "augmented")
KEPT = ("best", "last")
ACCURACY, BALANCED = SETTINGS = ("accuracy", "balanced")  # of trained weights
_LARGEST = 4096  # pixels a side, which a manifest may name
_FULL_SIZE = 0.75  # share of a run with --start-size after which images have their full size
_GROWTHS = 4  # in so many leaps: --compile compiles for each size, and PyTorch gives up after eight


@dataclass(frozen=True)
class Settings:
    """All that decides a run's result, together with the images; the defaults are the paper's where it states them."""

    config: str
    size: int = 100  # pixels a side
    epochs: int = 150
    batch: int = 128  # over all processes
    optimizer: str = "adamw"  # or Muon for pointwise kernels, AdamW for the rest
    lr: float = 1e-3
    schedule: str = "constant"  # not stated in the paper
    warm_up: float = 0.25  # share of a one-cycle run in which the learning rate rises
    weight_decay: float = 0.01  # not stated; PyTorch's default
    decay: str = "all"  # "weights" spares biases, norms and GRN
    label_smoothing: float = 0.0  # not stated
    drop_path: float = 0.1  # rate not stated
    augment: str = "none"
    erase: float = 0.0  # share of the images of which a rectangle is covered
    mixup: float = 0.0  # alpha of the Beta distribution that shares are drawn from; 0: off
    cutmix: float = 0.0  # the same, for rectangles pasted from another image
    balance: str = "none"  # of the classes, by the inverse root of their counts
    targets: str = "labels"  # or the crowd's votes
    distill: float = 0.0  # share of the teachers' answers in the targets
    teach: str = "once"  # teachers answer before training, or every augmented image
    ema: float = 0.0  # decay a step of the averaged weights that are judged and kept; 0: off
    start_size: int = 0  # pixels a side at first, growing to `size`; 0: off
    limit: int = 0  # train on no more images of each data set; 0: on all
    validation_images: int = 0  # D^v keeps about so many of each data set, the rest is trained on; 0: it keeps all
    keep: str = "best"  # epoch by D^v, or the last one
    patience: int = 30  # epochs without a better one before stopping
    judge_every: int = 1  # epochs between two looks at D^v
    precision: str = "fp32"
    compile: bool = False  # by torch.compile
    seed: int = 0
    init: str | None = None  # sha256 of the checkpoint that the weights start from
    teachers: tuple[str, ...] = ()  # sha256 of each

    def __post_init__(self) -> None:
        variant(self.config).feature_sizes(self.size)
        for name in ("epochs", "batch", "patience", "judge_every"):
            if getattr(self, name) < 1:
                flag = "--" + name.replace("_", "-")
                raise UsageError(
                    f"{flag} is {getattr(self, name)}. Expected 1 or more. Pass a positive number as {flag}."
                )
        if not 0 < self.lr < math.inf:
            raise UsageError(f"--lr is {self.lr}. Expected a positive learning rate, such as 0.001. Pass one as --lr.")
        for name in ("label_smoothing", "drop_path", "warm_up", "ema"):
            if not 0 <= getattr(self, name) < 1:
                flag = "--" + name.replace("_", "-")
                raise UsageError(f"{flag} is {getattr(self, name)}. Expected 0 to below 1. Pass a rate as {flag}.")
        for name in ("erase", "distill"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"--{name} is {getattr(self, name)}. Expected 0 to 1. Pass a share as --{name}.")
        for name in ("mixup", "cutmix", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                flag = "--" + name.replace("_", "-")
                raise UsageError(f"{flag} is {getattr(self, name)}. Expected 0 or more. Pass 0 to do without it.")
        if self.size > _LARGEST:
            raise UsageError(
                f"--size is {self.size}. Expected at most {_LARGEST} pixels a side. Pass a smaller --size."
            )
        if not 0 <= self.seed < 2**32:
            raise UsageError(
                f"--seed is {self.seed}. Expected 0 to {2**32 - 1}, as numpy takes it. Pass such a number."
            )
        for name in ("limit", "validation_images"):
            if getattr(self, name) < 0:
                flag = "--" + name.replace("_", "-")
                raise UsageError(
                    f"{flag} is {getattr(self, name)}. Expected a number of images, or 0 for all. Correct {flag}."
                )
        if self.start_size:
            if not 0 < self.start_size <= self.size:
                raise UsageError(
                    f"--start-size is {self.start_size}. Expected no more than --size, {self.size}. Lower --start-size."
                )
            variant(self.config).feature_sizes(self.start_size)
        if bool(self.teachers) != (self.distill > 0):
            raise UsageError(
                f"--distill is {self.distill} with {len(self.teachers)} teachers. Both or neither were expected. "
                "Pass --teacher FILE and a share of its answers as --distill, or leave both out."
            )

    def learning_rate(self, step: int, steps: int) -> float:
        """Of step 0..steps-1."""
        if self.schedule == "constant":
            return self.lr
        place = (step + 1) / steps
        if place < self.warm_up:
            return self.lr * (0.04 + 0.96 * (1 - math.cos(math.pi * place / self.warm_up)) / 2)
        return self.lr * (1 + math.cos(math.pi * (place - self.warm_up) / (1 - self.warm_up))) / 2

    def train_size(self, epoch: int) -> int:
        """Pixels a side of the training images of epoch 0..epochs-1."""
        if not self.start_size:
            return self.size
        share = min(1.0, epoch / (_FULL_SIZE * self.epochs))
        return round(self.start_size + int(share * _GROWTHS) / _GROWTHS * (self.size - self.start_size))


# What --recipe names: changes to the defaults.
RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "paper": {},
        "best": {  # docs/training.md tells what it rests on
            "epochs": 60,
            "patience": 60,  # the rate falls to its end
            "batch": 64,
            "lr": 3e-3,
            "schedule": "one-cycle",
            "weight_decay": 0.05,
            "label_smoothing": 0.1,
            "drop_path": 0.0,
            "augment": "paper",
        },
        "finetune": {  # with --init, on some hundred to some thousand faces
            "epochs": 20,
            "patience": 8,
            "batch": 32,
            "lr": 3e-4,
            "schedule": "one-cycle",
            "weight_decay": 0.05,
            "label_smoothing": 0.1,
            "drop_path": 0.0,
            "augment": "paper",
        },
    }
)

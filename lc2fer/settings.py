"""What decides a training run, as one frozen table of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lc2fer.errors import UsageError
from lc2fer.variants import variant

SCHEDULES = ("constant", "one-cycle")
PRECISIONS = ("fp32", "bf16")
AUGMENTATIONS = ("none", "paper")  # lc2fer/augment.py
_WARM_UP = 0.25  # share of a one-cycle run in which the learning rate rises


@dataclass(frozen=True)
class Settings:
    """All that decides a run's result, together with the images; the defaults are the paper's where it states them."""

    config: str
    size: int = 100  # pixels a side
    epochs: int = 150
    batch: int = 128  # over all processes
    lr: float = 1e-3
    schedule: str = "constant"  # not stated in the paper
    weight_decay: float = 0.01  # not stated; PyTorch's default
    label_smoothing: float = 0.0  # not stated
    drop_path: float = 0.1  # rate not stated
    augment: str = "none"
    patience: int = 30  # epochs without a better one before stopping
    precision: str = "fp32"
    seed: int = 0
    init: str | None = None  # sha256 of the checkpoint that the weights start from

    def __post_init__(self) -> None:
        variant(self.config).feature_sizes(self.size)
        for name in ("epochs", "batch", "patience"):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"--{name} is {getattr(self, name)}. Expected 1 or more. Pass a positive number as --{name}."
                )
        if not 0 < self.lr < math.inf:
            raise UsageError(f"--lr is {self.lr}. Expected a positive learning rate, such as 0.001. Pass one as --lr.")
        for name in ("label_smoothing", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                flag = "--" + name.replace("_", "-")
                raise UsageError(f"{flag} is {getattr(self, name)}. Expected 0 to below 1. Pass a rate as {flag}.")

    def learning_rate(self, step: int, steps: int) -> float:
        """Of step 0..steps-1."""
        if self.schedule == "constant":
            return self.lr
        place = (step + 1) / steps
        if place < _WARM_UP:
            return self.lr * (0.04 + 0.96 * (1 - math.cos(math.pi * place / _WARM_UP)) / 2)
        return self.lr * (1 + math.cos(math.pi * (place - _WARM_UP) / (1 - _WARM_UP))) / 2

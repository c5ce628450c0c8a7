"""What finished training runs left behind: their folders, as `lc2fer-train --out` writes them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lc2fer.artifact import hash_file
from lc2fer.errors import MALFORMED, ArtifactError, UsageError
from lc2fer.settings import RECIPES, Settings
from lc2fer.variants import Variant, variant

OTHER = "other"  # a run of no recipe
# Settings that a recipe leaves to its user.
_NO_RECIPE = {"config", "size", "epochs", "patience", "limit", "precision", "compile", "seed", "teachers"}


@dataclass(frozen=True)
class Training:
    """One run: its settings, how long its epochs took, and what the epoch whose weights it kept reached on D^v."""

    folder: Path
    variant: Variant
    settings: Mapping[str, Any]  # and data: name, fit_images and split of each data set
    epochs: int
    best_epoch: int
    epoch_seconds: float  # the median, validation included
    accuracy: float  # on D^v
    train_accuracy: float  # of that epoch, under augmentation
    sha256: str | None  # of the checkpoint, where it was kept

    @property
    def splits(self) -> tuple[str, ...]:
        """The split of each data set: equal where accuracies on D^v can be compared."""
        return tuple(one["split"] for one in self.settings["data"])

    @property
    def names(self) -> str:
        """Of its data sets."""
        return " and ".join(one["name"] for one in self.settings["data"])

    @property
    def recipe(self) -> str:
        """The one of lc2fer.settings.RECIPES that it follows but for its length, size, speed and seed; else OTHER."""
        for name, values in RECIPES.items():
            recipe = asdict(Settings(self.variant.name, **values))
            if all(self.settings.get(key) == recipe[key] for key in recipe.keys() - _NO_RECIPE):
                return name
        return OTHER


def read(folder: Path) -> Training:
    """The run in that folder; raises ArtifactError where a file of it is missing or damaged."""
    try:
        settings = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        with (folder / "log.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        best = max(rows, key=lambda row: (float(row["validation_accuracy"]), -float(row["validation_loss"])))
        kept = rows[-1] if settings.get("keep") == "last" else best
        weights = folder / f"{settings['config']}.safetensors"
        return Training(
            folder,
            variant(settings["config"]),
            settings,
            len(rows),
            int(kept["epoch"]),
            float(np.median([float(row["seconds"]) for row in rows])),
            float(kept["validation_accuracy"]),
            float(kept["accuracy"]),
            hash_file(weights) if weights.exists() else None,
        )
    except (OSError, *MALFORMED) as error:
        raise ArtifactError(
            f"{folder} is no finished training run ({type(error).__name__}: {error}). run.json and log.csv "
            "were expected. Pass a folder that lc2fer-train --out wrote."
        ) from None


def read_all(folders: Sequence[Path]) -> list[Training]:
    """The runs in those folders, each once though a folder be named twice; raises as `read`."""
    return [read(folder) for folder in {folder.resolve(): folder for folder in folders}.values()]


def accuracy(runs: Sequence[Training]) -> float:
    """On D^v, the mean over seeds."""
    return float(np.mean([run.accuracy for run in runs]))


def epoch_seconds(runs: Sequence[Training]) -> float:
    """The median over seeds."""
    return float(np.median([run.epoch_seconds for run in runs]))


def check_same_images(runs: Sequence[Training]) -> None:
    """Raise UsageError unless all were judged on the same D^v."""
    for run in runs[1:]:
        if run.splits != runs[0].splits:
            raise UsageError(
                f"{runs[0].folder} and {run.folder} were judged on different images ({runs[0].names} and {run.names}). "
                "One D^v was expected. Compare runs of the same --data."
            )


def differences(runs: Sequence[Training]) -> dict[str, list[Any]]:
    """Settings, seed and config apart, that are not the same in all runs: name -> values in the order of the runs."""
    names = sorted({name for run in runs for name in run.settings} - {"seed", "config", "data"})
    found = {name: [run.settings.get(name) for run in runs] for name in names}
    return {name: values for name, values in found.items() if any(value != values[0] for value in values)}

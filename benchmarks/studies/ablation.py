"""lc2fer-bench ablation: what each setting adds to a base, over seeds, on D^v.

Runs with equal settings but their seeds are one arm. An arm's gain is the difference of mean accuracies; its interval
is Student's with one spread for all arms, pooled within them, for with two or three seeds no arm knows its own. The
intervals are of each comparison alone: among twenty arms one is expected to stand out by chance.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np

from lc2fer.arguments import a_path
from lc2fer.errors import UsageError
from lc2fer.settings import Settings

from ..views.markdown import tabulated
from . import runs as training
from .runs import Training

_APART = ("seed", "data", "labels")
# What a run of before a setting came did.
_USUAL = json.loads(json.dumps({one.name: one.default for one in fields(Settings) if one.default is not MISSING}))


@dataclass(frozen=True)
class Arm:
    """Runs that differ in their seeds alone."""

    changed: str  # what it has other than the base
    runs: tuple[Training, ...]
    gain: float  # of the mean accuracy on D^v, a share
    half: float | None  # of the gain's 95 % interval; None: no arm has two seeds, or it is the base
    cost: float  # seconds an epoch over the base's

    @property
    def accuracy(self) -> float:
        return training.accuracy(self.runs)

    @property
    def points(self) -> str:
        """The gain and its interval, in points."""
        gain = round(100 * self.gain, 2) + 0.0  # never -0.0
        return f"{gain:+.2f}" + ("" if self.half is None else f" ±{100 * self.half:.2f}")


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command: the table goes to standard output."""
    chosen = _parse(arguments)
    arms, spread = compare(runs := training.read_all(chosen.runs), training.read(chosen.base))
    print(table(arms, spread))
    return {
        "runs": len(runs),
        "spread_of_seeds": None if spread is None else round(spread, 6),
        "arms": [
            {
                "changed": arm.changed,
                "seeds": len(arm.runs),
                "validation_accuracy": round(arm.accuracy, 6),
                "gain": round(arm.gain, 6) + 0.0,  # never -0.0
                "half": None if arm.half is None else round(arm.half, 6),
            }
            for arm in arms
        ],
    }


def compare(runs: Sequence[Training], base: Training) -> tuple[list[Arm], float | None]:
    """The arms, the base first and the others by their gain, and the pooled standard deviation between seeds.

    Raises UsageError where the runs were not judged on the same D^v, two of an arm have one seed, or none is of the
    base's settings.
    """
    groups: dict[str, list[Training]] = defaultdict(list)
    training.check_same_images([base, *runs])
    for run in runs:
        twin = next((one for one in groups[_key(run)] if one.settings["seed"] == run.settings["seed"]), None)
        if twin is not None:
            raise UsageError(
                f"{twin.folder} and {run.folder} have the same settings and the seed {run.settings['seed']}. Runs of "
                "an arm were expected to differ in their seeds, for a repeated run tells nothing of chance. Leave one "
                "out."
            )
        groups[_key(run)].append(run)
    if _key(base) not in groups:
        raise UsageError(
            f"None of the runs has the settings of {base.folder}. The base was expected among them. Pass it too."
        )
    first = groups[_key(base)]
    deviations = [run.accuracy - training.accuracy(group) for group in groups.values() for run in group]
    freedom = len(runs) - len(groups)
    spread = math.sqrt(float(np.sum(np.square(deviations))) / freedom) if freedom else None
    arms = []
    for key, group in groups.items():
        half = None
        if spread is not None and key != _key(base):
            from scipy import stats  # type: ignore[import-untyped]

            half = float(stats.t.ppf(0.975, freedom)) * spread * math.sqrt(1 / len(group) + 1 / len(first))
        arms.append(
            Arm(
                _changed(group[0], base),
                tuple(group),
                training.accuracy(group) - training.accuracy(first),
                half,
                training.epoch_seconds(group) / training.epoch_seconds(first),
            )
        )
    return sorted(arms, key=lambda arm: (bool(arm.changed), -arm.gain)), spread


def table(arms: Sequence[Arm], spread: float | None) -> str:
    """The arms for people, as Markdown."""
    rows = [
        [
            arm.changed or "the base",
            str(len(arm.runs)),
            f"{100 * arm.accuracy:.2f}",
            arm.points if arm.changed else "",
            f"{arm.cost:.2f}",
        ]
        for arm in arms
    ]
    text = tabulated(["changed", "seeds", "D^v %", "gain, points (95 %)", "time an epoch"], rows)
    if spread is None:
        return f"{text}\n\nNo arm has two seeds: what differs by chance is not known."
    return f"{text}\n\nStandard deviation between seeds, pooled over the arms: {100 * spread:.2f} points."


def _settings(run: Training) -> dict[str, Any]:
    images = [one["fit_images"] for one in run.settings["data"]]
    return {name: value for name, value in (_USUAL | run.settings).items() if name not in _APART} | {
        "fit_images": images
    }


def _key(run: Training) -> str:
    return json.dumps(_settings(run), sort_keys=True)


def _changed(run: Training, base: Training) -> str:
    ours, theirs = _settings(run), _settings(base)
    words = []
    for name in sorted(ours.keys() | theirs.keys()):
        value = ours.get(name)
        if value != theirs.get(name):
            words.append(f"{len(value or ())} teachers" if name == "teachers" else f"{name.replace('_', ' ')} {value}")
    return ", ".join(words)


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(
        prog="lc2fer-bench ablation", description="What each setting adds to a base, over seeds, on D^v."
    )
    parser.add_argument("runs", type=a_path, nargs="+", metavar="RUN", help="folders that lc2fer-train --out wrote")
    parser.add_argument(
        "--base", type=a_path, required=True, metavar="RUN", help="one of them, which the others change"
    )
    return parser


def _parse(arguments: list[str]) -> argparse.Namespace:
    return parser().parse_args(arguments)

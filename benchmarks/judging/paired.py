"""Verdicts on two models' answers to the same images: pairs, not two shares side by side.

Only images whose verdict flips tell something: `worse` were right before and are wrong now, `better` the reverse, and
the drop of accuracy is (worse - better) / images. What is tested is non-inferiority: that the drop is below a margin,
not that no difference was found, which few images always achieve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lc2fer import metrics

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"
RESAMPLES = 9_999
_MOST_IMAGES = 10_000_000  # a number above this decides nothing


@dataclass(frozen=True)
class Drop:
    """How much accuracy a model lost against its reference on the same images; shares, a gain is negative."""

    images: int
    worse: int
    better: int
    confidence: float  # of each one-sided bound below

    @property
    def value(self) -> float:
        return (self.worse - self.better) / self.images

    @property
    def low(self) -> float:
        """One-sided lower bound."""
        centre, error = self._adjusted()
        return centre - self._quantile() * error

    @property
    def high(self) -> float:
        """One-sided upper bound."""
        centre, error = self._adjusted()
        return centre + self._quantile() * error

    def p_within(self, margin: float) -> float:
        """P-value of the hypothesis that the drop is at least the margin: small where the model is not inferior."""
        from scipy import stats  # type: ignore[import-untyped]

        centre, error = self._adjusted()
        return float(stats.norm.cdf((centre - margin) / error))

    def p_beyond(self, margin: float) -> float:
        """P-value of the hypothesis that the drop is at most the margin: small where the model is inferior."""
        return 1 - self.p_within(margin)

    def images_needed(self, margin: float) -> int | None:
        """Images that would decide at that margin if they flipped at the same rates; None: no reasonable number."""
        centre, error = self._adjusted()
        distance = abs(centre - margin)
        if distance == 0:
            return None
        needed = math.ceil((self._quantile() * error / distance) ** 2 * (self.images + 2)) - 2
        return needed if needed <= _MOST_IMAGES else None

    def _adjusted(self) -> tuple[float, float]:
        """Centre and standard error with one flip added each way (D. G. Bonett, R. M. Price, J. Educ. Behav. Stat. 37,
        2012): unlike a bootstrap's, its interval does not shrink to a point where no image of a few flipped."""
        count = self.images + 2
        worse, better = (self.worse + 1) / count, (self.better + 1) / count
        centre = worse - better
        return centre, math.sqrt((worse + better - centre**2) / count)

    def _quantile(self) -> float:
        from scipy import stats

        return float(stats.norm.ppf(self.confidence))


def drop(targets: ArrayLike, reference: ArrayLike, predicted: ArrayLike, confidence: float = 0.95) -> Drop:
    """The drop from one model's predictions to another's, class ids [N]."""
    flips = metrics.flips(targets, reference, predicted)
    return Drop(len(np.asarray(targets)), flips.worse, flips.better, confidence)


def mcnemar(worse: int, better: int) -> float:
    """Two-sided exact p-value that flips of both directions are equally likely; 1 where nothing flipped."""
    from scipy import stats

    return float(stats.binomtest(worse, worse + better).pvalue) if worse + better else 1.0


def bootstrap(found: Drop, seed: int = 0) -> metrics.Interval:
    """Percentile interval of the drop over resampled images, with the drop's confidence on either side."""
    from scipy import stats

    if found.images == 1:
        return metrics.Interval(found.value, found.value)
    gone = np.zeros(found.images, np.int8)
    gone[: found.worse] = 1
    gone[found.worse : found.worse + found.better] = -1
    done = stats.bootstrap(
        (gone,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=256,  # bounds memory
        confidence_level=2 * found.confidence - 1,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return metrics.Interval(float(done.confidence_interval.low), float(done.confidence_interval.high))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (S. Holm, Scand. J. Stat. 6, 1979): each may be held against the whole family's level."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * float(p_values[place])))
        adjusted[int(place)] = largest
    return adjusted


def verdicts(drops: Sequence[Drop], margin: float) -> list[str]:
    """Pass, fail or inconclusive for each row of a family.

    "All rows pass" needs every row to pass, so each is tested at the full level; "some row fails" is claimed by any of
    them, so those p-values are adjusted (Holm) and many rows do not make a false alarm likely.
    """
    beyond = holm([found.p_beyond(margin) for found in drops])
    return [
        PASS
        if found.p_within(margin) < 1 - found.confidence
        else FAIL
        if p_fail < 1 - found.confidence
        else INCONCLUSIVE
        for found, p_fail in zip(drops, beyond)
    ]

"""Figures of merit as pure functions on arrays: numbers in, numbers out, nothing rounded.

Shares are fractions 0..1. Class ids are integers 0..classes-1; logits are float [N, classes].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lc2fer.variants import LABEL_COUNT

_Z95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


class Flips(NamedTuple):
    """Images whose verdict changed between two models."""

    worse: int  # the reference was right, the other is wrong
    better: int  # the reference was wrong, the other is right


class Interval(NamedTuple):
    """A confidence interval in the unit of what it is of."""

    low: float
    high: float


@dataclass(frozen=True)
class Percentile:
    """A sample percentile and the order statistics that bound the true one, all in the samples' unit."""

    value: float
    low: float | None  # None: the samples are too few to bound it on that side
    high: float | None


def predictions(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """The class of each image, int64 [N], of logits [N, classes]; the lowest id where two logits are equal."""
    return np.asarray(np.argmax(logits, axis=1), dtype=np.int64)


def accuracy(targets: ArrayLike, predicted: ArrayLike) -> float:
    """Share of images whose class was found. Raises ValueError for no images or unequal lengths."""
    expected, found = _pair(targets, predicted)
    return float(np.mean(expected == found))


def mean_class_accuracy(targets: ArrayLike, predicted: ArrayLike, classes: int = LABEL_COUNT) -> float:
    """Mean of the classes' recalls, over those that occur in `targets`: RAF-DB's "average accuracy"."""
    table = confusion(targets, predicted, classes)
    counts = table.sum(axis=1)
    present = counts > 0
    return float(np.mean(np.diag(table)[present] / counts[present]))


def confusion(targets: ArrayLike, predicted: ArrayLike, classes: int = LABEL_COUNT) -> NDArray[np.int64]:
    """Counts int64 [classes, classes]: rows are targets, columns predictions. Raises ValueError for other class ids."""
    expected, found = _pair(targets, predicted)
    if min(expected.min(), found.min()) < 0 or max(expected.max(), found.max()) >= classes:
        raise ValueError(f"class ids outside 0..{classes - 1}")
    return np.bincount(expected * classes + found, minlength=classes**2).reshape(classes, classes)


def agreement(first: ArrayLike, second: ArrayLike) -> float:
    """Share of images on which two models predict the same class, right or wrong."""
    return accuracy(first, second)


def flips(targets: ArrayLike, reference: ArrayLike, predicted: ArrayLike) -> Flips:
    """How many verdicts changed from `reference` to `predicted`, each way: the two counts of a paired test."""
    expected, before = _pair(targets, reference)
    _, after = _pair(targets, predicted)
    was, now = expected == before, expected == after
    return Flips(int(np.sum(was & ~now)), int(np.sum(~was & now)))


def sqnr_db(reference: ArrayLike, logits: ArrayLike) -> float:
    """Signal to quantisation noise ratio of logits [N, classes] in decibels: 10 log10(sum ref^2 / sum (ref - x)^2).

    The reference's mean over the images is first taken from each class, in both, so that an offset which is the same
    for every image does not count as signal. Infinite for equal logits, minus infinity for a constant reference.
    """
    signal, other = _logits(reference, logits)
    mean = signal.mean(axis=0)
    power = float(np.sum((signal - mean) ** 2))
    noise = float(np.sum(((signal - mean) - (other - mean)) ** 2))
    if noise == 0:
        return math.inf
    return 10 * math.log10(power / noise) if power > 0 else -math.inf


def max_abs(reference: ArrayLike, logits: ArrayLike) -> float:
    """Largest absolute difference of two arrays of logits."""
    first, second = _logits(reference, logits)
    return float(np.max(np.abs(first - second)))


def nll(targets: ArrayLike, logits: ArrayLike) -> float:
    """Mean negative log-likelihood of the right classes, in nats, of logits [N, classes] with ids [N]."""
    expected, values = _labelled(targets, logits)
    shifted = values - values.max(axis=1, keepdims=True)
    right = shifted[np.arange(len(expected)), expected]
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - right))


def calibration_error(targets: ArrayLike, logits: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error: mean |confidence - accuracy| over equal bins of confidence, weighted by their images.

    Guo, Pleiss, Sun, Weinberger, ICML 2017, equation 5, with its 15 bins.
    """
    expected, values = _labelled(targets, logits)
    probabilities = softmax(values)
    confidence, found = probabilities.max(axis=1), probabilities.argmax(axis=1)
    places = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(places, weights=confidence - (found == expected), minlength=bins)
    return float(np.abs(gaps).sum() / len(expected))


def recalls(targets: ArrayLike, predicted: ArrayLike, classes: int = LABEL_COUNT) -> list[float | None]:
    """Share of each class's images that were found; None for a class without images."""
    table = confusion(targets, predicted, classes)
    return [float(table[label, label] / count) if count else None for label, count in enumerate(table.sum(axis=1))]


def wilson_interval(correct: int, count: int) -> Interval:
    """95 % score interval of a share, `correct` of `count` (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927).

    Raises ValueError unless 0 <= correct <= count and count > 0.
    """
    if not 0 <= correct <= count or count == 0:
        raise ValueError(f"{correct} of {count} is no share")
    share, square = correct / count, _Z95**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = _Z95 / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return Interval(0.0 if correct == 0 else centre - half, 1.0 if correct == count else centre + half)


def percentile(samples: Sequence[float] | NDArray[Any], percent: float, confidence: float = 0.95) -> Percentile:
    """A percentile (0 < percent < 100), interpolated, with its non-parametric interval from order statistics.

    The rank of the true percentile among n independent samples is binomial, so two of the samples bound it with at
    least that confidence, whatever the distribution (H. A. David and H. N. Nagaraja, Order Statistics, 7.1). Samples
    that follow each other in time are not quite independent; then the interval is too narrow. Raises ValueError for no
    samples.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    count = len(ordered)
    if count == 0:
        raise ValueError("a percentile of no samples")
    share, tail = percent / 100, (1 - confidence) / 2
    below = _binomial_cdf(count, share)  # below[k] = P(at most k samples lie below the true percentile)
    low = int(np.searchsorted(below, tail, side="right"))  # the largest rank r, from 1, with P(fewer than r) <= tail
    high = int(np.searchsorted(below, 1 - tail, side="left")) + 1  # the smallest rank r with P(at least r) <= tail
    return Percentile(
        value=float(np.percentile(ordered, percent)),
        low=float(ordered[low - 1]) if low >= 1 else None,
        high=float(ordered[high - 1]) if high <= count else None,
    )


def _binomial_cdf(count: int, share: float) -> NDArray[np.float64]:
    """P(B <= k) for k = 0..count, B binomial."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])  # log k!
    k = np.arange(count + 1)
    terms = logs[count] - logs - logs[::-1] + k * math.log(share) + (count - k) * math.log1p(-share)
    return np.asarray(np.cumsum(np.exp(terms)), dtype=np.float64)


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    a, b = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    if a.ndim != 1 or a.shape != b.shape or len(a) == 0:
        raise ValueError(f"class ids {list(a.shape)} and {list(b.shape)}: two lists of one length were expected")
    return a, b


def _logits(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 2 or a.shape != b.shape or a.size == 0:
        raise ValueError(f"logits {list(a.shape)} and {list(b.shape)}: two arrays [N, classes] were expected")
    return a, b


def _labelled(targets: ArrayLike, logits: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    ids, values = np.asarray(targets, dtype=np.int64), np.asarray(logits, dtype=np.float64)
    if ids.ndim != 1 or values.ndim != 2 or len(ids) != len(values) or len(ids) == 0:
        raise ValueError(f"class ids {list(ids.shape)} and logits {list(values.shape)}: [N] and [N, classes] expected")
    return ids, values


def softmax(logits: NDArray[Any]) -> NDArray[np.float32]:
    """Probabilities [N, classes] of logits [N, classes]; each row sums to 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float32)

"""Latency across launches: what differs from process to process counts, not only what differs from run to run.

Samples of one process share its memory layout, its threads' places and the minute in which it ran, so thousands of
them say little about the next process. A launch is therefore one observation, its median, and intervals are Student's
on the logarithms of these: symmetric as ratios.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lc2fer import metrics

from ..report.document import Launch

FEWEST_P99 = 662  # samples below which a p99 is not shown (MLPerf LoadGen's early stopping)
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """A geometric mean over launches with its 95 % interval, in the unit of what it is of."""

    value: float
    low: float | None  # None: one launch tells nothing of the next
    high: float | None
    launches: tuple[float, ...]

    def overlaps(self, other: Spread) -> bool:
        """Whether the intervals share a point; an unknown interval shares every point."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return True
        return self.low <= other.high and other.low <= self.high


def of(values: Sequence[float]) -> Spread:
    """The spread of one positive value a launch; raises ValueError for none."""
    if not values or min(values) <= 0:
        raise ValueError("a spread of no positive values")
    from scipy import stats  # type: ignore[import-untyped]

    logs = np.log(np.asarray(values, dtype=np.float64))
    mean = float(logs.mean())
    low = high = None
    if len(logs) > 1:
        half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(logs) - 1)) * float(stats.sem(logs))
        low, high = math.exp(mean - half), math.exp(mean + half)
    return Spread(math.exp(mean), low, high, tuple(values))


def latency_ms(launches: Sequence[Launch]) -> Spread:
    """Round trips: the spread of the launches' medians."""
    return of(_medians_ms(launches))


def ratio(ours: Sequence[Launch], theirs: Sequence[Launch]) -> Spread:
    """Ours over theirs, launch by launch: the n-th launches of two rows ran one after the other.

    What slowed both at that time cancels. Rows of unequal numbers of launches are compared over the common ones.
    """
    return of([mine / other for mine, other in zip(_medians_ms(ours), _medians_ms(theirs))])


def quotient(first: Spread, second: Spread) -> Spread:
    """The ratio of two spreads that were taken at different times, with Welch's interval on the logarithms."""
    value = first.value / second.value
    if first.low is None or second.low is None:
        return Spread(value, None, None, ())
    from scipy import stats

    logs = [np.log(np.asarray(found.launches, dtype=np.float64)) for found in (first, second)]
    if max(float(np.ptp(values)) for values in logs) == 0:
        return Spread(value, value, value, ())
    interval = stats.ttest_ind(*logs, equal_var=False).confidence_interval(_CONFIDENCE)
    return Spread(value, math.exp(interval.low), math.exp(interval.high), ())


def percentile_ms(launches: Sequence[Launch], percent: float) -> metrics.Percentile | None:
    """A tail of all launches' round trips together; None for a p99 of fewer than 662 samples."""
    samples = [sample for launch in launches for sample in launch.samples_ns]
    if not samples or (percent >= 99 and len(samples) < FEWEST_P99):
        return None
    return metrics.percentile(np.asarray(samples, dtype=np.float64) / 1e6, percent)


def median_ms(launches: Sequence[Launch], scope: str) -> float | None:
    """Median of all launches' samples of a clock scope, `compute` or `frame`; None where it was not measured."""
    samples = [sample for launch in launches for sample in getattr(launch, f"{scope}_ns")]
    return float(np.median(samples)) / 1e6 if samples else None


def throughput_hz(launches: Sequence[Launch]) -> float | None:
    """Images a second, back to back, over all launches."""
    runs, elapsed_ns = (sum(launch.throughput[place] for launch in launches) for place in (0, 1))
    return runs / elapsed_ns * 1e9 if elapsed_ns else None


def _medians_ms(launches: Sequence[Launch]) -> list[float]:
    return [float(np.median(launch.samples_ns)) / 1e6 for launch in launches]

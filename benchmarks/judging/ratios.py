"""Latency ratios of two rows, from the turns that they took side by side or else from their launches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..report.document import Report, Row, Samples
from . import spread
from .spread import Spread


def ratio(report: Report, ours: Row, theirs: Row) -> Spread:
    """Of two rows' round trips: from the turns that both took, or else from their launches, one after the other."""
    for taken in report.turns:
        if taken.variant == ours.variant and {ours.target, theirs.target} <= set(taken.targets):
            return between(taken.launches, taken.targets.index(ours.target), taken.targets.index(theirs.target))
    return spread.ratio(ours.launches, theirs.launches)


def between(launches: Sequence[Sequence[Sequence[Samples]]], ours: int, theirs: int) -> Spread:
    """Of two places in a round's samples: of a launch the median, over its rounds, of the ratio of medians.

    Each launch's processes were started anew, so a launch is one observation.
    """
    return spread.of(
        [float(np.median([np.median(turn[ours]) / np.median(turn[theirs]) for turn in rounds])) for rounds in launches]
    )

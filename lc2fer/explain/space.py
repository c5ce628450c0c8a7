"""Where the features of images lie: t-SNE for the eye, and the neighbours' classes for the mind."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer.explain.data import NEIGHBOURS

PERPLEXITY = 30.0
SEED = 0


def embed(features: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """t-SNE of features [N, C] as points [N, 2], and the perplexity that it was made with.

    The same features give the same points: the seed is fixed, it begins at the principal components, and one thread
    adds up.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    with threadpool_limits(limits=1):
        points = TSNE(init="pca", perplexity=perplexity, random_state=SEED).fit_transform(features.astype(np.float64))
    return np.asarray(points, np.float64), perplexity


def purity(points: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """Mean share of each point's 10 nearest others that are of its class, of points [N, d] with N > 10."""
    far = np.asarray(points, np.float64)
    square = (far**2).sum(axis=1)
    distances = square[:, None] + square[None, :] - 2 * far @ far.T
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :NEIGHBOURS]
    return float((labels[nearest] == labels[:, None]).mean())


def chance(labels: NDArray[np.int64]) -> float:
    """The purity of neighbours drawn at random."""
    counts = np.bincount(labels).astype(np.float64)
    return float((counts * (counts - 1)).sum() / (len(labels) * (len(labels) - 1)))

"""What a network gets right and wrong, and how its features lie, as sections of the report's document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer import metrics
from lc2fer.explain.data import NEIGHBOURS, Part, spread
from lc2fer.explain.space import SEED, chance, embed, purity

ERRORS, ERRORS_A_PAIR = 24, 3  # the surest errors that are listed
PAIRS = 8  # the most frequent confusions that are listed
POINTS = 500  # of a split, in the t-SNE


def confusion(part: Part, logits: NDArray[np.float32]) -> dict[str, Any]:
    """Counts and shares of targets (rows) and answers (columns), and what follows from them."""
    predicted = metrics.predictions(logits)
    classes = logits.shape[1]
    counts = metrics.confusion(part.labels, predicted, classes)
    totals = np.maximum(1, counts.sum(axis=1, keepdims=True))
    right = int(np.trace(counts))
    return {
        "images": len(part.labels),
        "available": part.available,
        "counts": counts.tolist(),
        "shares": (counts / totals).tolist(),
        "recalls": metrics.recalls(part.labels, predicted, classes),
        "recall_intervals": [
            list(metrics.wilson_interval(int(line[label]), int(line.sum()))) if line.sum() else None
            for label, line in enumerate(counts)
        ],
        "accuracy": metrics.accuracy(part.labels, predicted),
        "accuracy_interval": list(metrics.wilson_interval(right, len(part.labels))),
        "mean_class_accuracy": metrics.mean_class_accuracy(part.labels, predicted, classes),
        "wrong": len(part.labels) - right,
        "pairs": _pairs(counts),
    }


def _pairs(counts: NDArray[np.int64]) -> list[dict[str, Any]]:
    """The most frequent confusions, by the share of the target's images."""
    totals = counts.sum(axis=1)
    found: list[dict[str, Any]] = [
        {"target": target, "predicted": answer, "count": int(count), "share": float(count / totals[target])}
        for (target, answer), count in np.ndenumerate(counts)
        if target != answer and count
    ]
    return sorted(found, key=lambda one: (-one["share"], one["target"], one["predicted"]))[:PAIRS]


def confused(part: Part, names: list[str], logits: NDArray[np.float32]) -> list[dict[str, Any]]:
    """The surest errors, at most three of a pair of target and answer."""
    predicted, probabilities = metrics.predictions(logits), metrics.softmax(logits)
    wrong = np.flatnonzero(predicted != part.labels).tolist()
    taken: dict[tuple[int, int], int] = {}
    found: list[dict[str, Any]] = []
    for place in sorted(wrong, key=lambda one: (-probabilities[one, predicted[one]], one)):
        target, answer = int(part.labels[place]), int(predicted[place])
        taken[target, answer] = taken.get((target, answer), 0) + 1
        if taken[target, answer] <= ERRORS_A_PAIR and len(found) < ERRORS:
            found.append(
                {
                    "place": place,
                    "image": names[place],
                    "target": target,
                    "predicted": answer,
                    "probability": float(probabilities[place, answer]),
                    "target_probability": float(probabilities[place, target]),
                }
            )
    return found


def space(
    parts: Sequence[Part],
    found: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """One t-SNE of all splits' features, so that a place means the same in each panel, and each split's purities.

    `found` has each part's logits and features.
    """
    chosen = [spread(len(part.labels), POINTS) for part in parts]
    features = [outputs[1][places] for outputs, places in zip(found, chosen)]
    say(f"t-SNE of {sum(map(len, features)):,} images")
    points, perplexity = embed(np.concatenate(features))
    splits, start = {}, 0
    for part, (logits, _), places, theirs in zip(parts, found, chosen, features):
        own, labels = points[start : start + len(places)], part.labels[places]
        start += len(places)
        predicted = metrics.predictions(logits)[places]
        splits[part.name] = {
            "images": len(places),
            "available": part.available,
            "answered": len(part.labels),
            "accuracy": metrics.accuracy(part.labels, metrics.predictions(logits)),
            "purity": purity(theirs, labels),
            "purity_of_picture": purity(own, labels),
            "purity_by_chance": chance(labels),
            "points": [[*point, *pair] for point, pair in zip(own.tolist(), zip(labels.tolist(), predicted.tolist()))],
        }
    return {"perplexity": perplexity, "seed": SEED, "neighbours": NEIGHBOURS, "splits": splits}

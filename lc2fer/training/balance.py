"""A second setting of trained weights, in which rare classes count more: as many numbers as there are classes.

Logit adjustment after training (Menon et al., arXiv 2007.07314): what a class gets added grows with how rare it was,
and one number, chosen on D^v, says how much of it. Added to the head's bias it costs nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer import metrics

MOST_LOST = 0.02  # of D^v's accuracy
_STRENGTHS = np.arange(0, 1.0001, 0.05)


def balanced(logits: NDArray[np.float32], labels: NDArray[np.int64], counts: NDArray[np.int64]) -> dict[str, Any]:
    """What is added to each class's logit, and what D^v says of it; JSON.

    `logits` [N,classes] and `labels` [N] are D^v's, `counts` [classes] the training images of each class. Of the
    strengths that lose at most `MOST_LOST` of the accuracy it is the one with the best mean recall.
    """
    shares = np.maximum(counts, 1) / np.maximum(counts, 1).sum()
    rare = -np.log(shares)
    rare -= rare.mean()
    found = []
    for strength in _STRENGTHS:
        answers = (logits + strength * rare).argmax(axis=1)
        accuracy = metrics.accuracy(labels, answers)
        recall = metrics.mean_class_accuracy(labels, answers, len(rare))
        found.append((recall, -float(strength), accuracy))
    least = found[0][2] - MOST_LOST
    recall, weaker, accuracy = max(one for one in found if one[2] >= least)
    return {
        "strength": round(-weaker, 2),
        "offsets": [round(float(offset), 4) for offset in -weaker * rare],
        "validation_accuracy": round(float(accuracy), 6),
        "validation_mean_recall": round(float(recall), 6),
    }

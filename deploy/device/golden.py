"""Golden faces: drawn images with the trained network's logits, by which a device proves its engine in seconds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer import metrics
from lc2fer.data.drawing import draw
from lc2fer.data.synthetic import sample
from lc2fer.inputs import LABELS, InputSpec
from lc2fer.recipe import PRECISIONS

COUNT = 56  # eight of each expression
_SEED = 20_240  # of no written data set
# What rounding may cost on any engine, in dB of SQNR: half the signal's distance that its own form shows is allowed,
# never more than these, which TensorRT's and OpenVINO's other orders of adding reach with room (docs/tensorrt.md).
_SLACK_DB = 6.0
_EQUAL_DB = 200.0  # said of equal logits, whose SQNR is infinite


@dataclass(frozen=True)
class Verdict:
    """How a model's answers on the golden faces compare with the trained network's."""

    model: str
    images: int
    sqnr_db: float
    needed_db: float
    decided: int  # faces whose two best logits are further apart than the rounding that is allowed
    wrong: tuple[int, ...]  # of these, the faces with another answer
    finite: bool

    @property
    def passed(self) -> bool:
        return self.finite and self.sqnr_db >= self.needed_db and not self.wrong

    @property
    def agreement(self) -> float:
        """Share of the decided faces with the same answer."""
        return 1.0 if self.decided == 0 else 1 - len(self.wrong) / self.decided

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "wrong": list(self.wrong), "passed": self.passed}


def faces(spec: InputSpec) -> NDArray[np.uint8]:
    """COUNT drawn faces, uint8 [N,H,W,3], the same everywhere and for all labels: they test agreement alone."""
    rng = np.random.default_rng(_SEED)
    return np.stack([spec.pixels(draw(sample(place % len(LABELS), rng))) for place in range(COUNT)])


def floor_db(reference: NDArray[np.float32], logits: NDArray[np.float32], precision: str) -> float:
    """The least SQNR to ask of a form that reaches `logits` where it was made."""
    return round(min(metrics.sqnr_db(reference, logits) - _SLACK_DB, PRECISIONS[precision].golden_db), 1)


def judge(model: str, reference: NDArray[np.float32], logits: NDArray[np.float32], needed_db: float) -> Verdict:
    """Compare logits [N,classes] with the trained network's on the same faces."""
    finite = bool(np.isfinite(logits).all())
    top = np.sort(reference, axis=1)
    spread = reference - reference.mean(axis=0)
    allowed = float(np.sqrt((spread**2).mean())) * 10 ** (-needed_db / 20)
    decided = (top[:, -1] - top[:, -2]) > 2 * allowed
    wrong = decided & (reference.argmax(axis=1) != logits.argmax(axis=1))
    return Verdict(
        model=model,
        images=len(reference),
        sqnr_db=round(min(metrics.sqnr_db(reference, logits), _EQUAL_DB), 2) if finite else 0.0,
        needed_db=needed_db,
        decided=int(decided.sum()),
        wrong=tuple(int(place) for place in np.flatnonzero(wrong)),
        finite=finite,
    )

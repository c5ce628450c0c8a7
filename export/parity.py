"""The proof of an artifact: the session that will ship agrees with the trained network on real images of D^v."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer import metrics
from lc2fer.errors import ParityError
from lc2fer.recipe import PRECISIONS

from .int8.calibration import CalibrationSet

EQUAL_DB = 200.0  # said of equal logits, whose SQNR is infinite


@dataclass(frozen=True)
class Proof:
    """What was compared and how close it came."""

    reference_sha256: str
    images: int
    decided: int  # images whose reference margin exceeds the rounding noise
    agreement: float  # over the decided images
    sqnr_db: float
    max_abs: float
    images_fingerprint: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def prove(
    reference: NDArray[np.float32],
    logits: NDArray[np.float32],
    precision: str,
    images: CalibrationSet,
    *,
    reference_sha256: str,
    name: str,
    refuse: bool = True,
) -> Proof:
    """Compare logits [N,classes] with the reference's of the same images.

    Raises ParityError below the tolerance unless `refuse` is false, as it is for stock routes, and for logits that are
    not finite.

    An untrained network may find two classes equally likely; an image counts for the agreement only where the
    reference's first two logits are further apart than twice the error that its precision is allowed.
    """
    if not np.isfinite(logits).all():
        bad = int((~np.isfinite(logits)).any(axis=1).sum())
        raise ParityError(
            f"{name} gives NaN or infinity on {bad} of {len(logits)} validation images. Finite logits were expected. "
            "The artifact was not kept; try a higher precision, and report it."
        )
    tolerance = PRECISIONS[precision]
    top = np.sort(reference, axis=1)
    spread = reference - reference.mean(axis=0)
    allowed = float(np.sqrt((spread**2).mean())) * 10 ** (-tolerance.sqnr_db / 20)
    decided = (top[:, -1] - top[:, -2]) > 2 * allowed
    same = reference.argmax(axis=1) == logits.argmax(axis=1)
    proof = Proof(
        reference_sha256=reference_sha256,
        images=len(reference),
        decided=int(decided.sum()),
        agreement=float(same[decided].mean()) if decided.any() else 1.0,
        sqnr_db=min(metrics.sqnr_db(reference, logits), EQUAL_DB),
        max_abs=metrics.max_abs(reference, logits),
        images_fingerprint=images.fingerprint,
    )
    if not refuse:
        return proof
    if proof.sqnr_db < tolerance.sqnr_db or proof.agreement < tolerance.agreement:
        raise ParityError(
            f"{name} disagrees with the trained network: {proof.sqnr_db:.1f} dB of logit SQNR and "
            f"{proof.agreement:.1%} agreement on {proof.decided} decided of {proof.images} validation images. "
            f"{precision} needs at least {tolerance.sqnr_db:g} dB and {tolerance.agreement:.0%}. "
            "The artifact was not kept; export a higher precision, and look at the weights."
        )
    return proof

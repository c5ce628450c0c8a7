"""A model's answers, image by image: what every accuracy and every verdict is computed from."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer import metrics


@dataclass(frozen=True, eq=False)
class Outputs:
    """A model's answers to all images of D^e, in the report's order."""

    predictions: tuple[int, ...]  # class ids
    logits: NDArray[np.float32]  # [N, classes]

    @classmethod
    def of(cls, logits: NDArray[np.float32]) -> Outputs:
        """Raises ValueError for anything but finite float32 [N, classes]."""
        if logits.dtype != np.float32 or logits.ndim != 2 or not np.isfinite(logits).all():
            raise ValueError(f"logits of {logits.dtype} {list(logits.shape)}")
        return cls(tuple(metrics.predictions(logits).tolist()), logits)

    def to_json(self) -> dict[str, Any]:
        """Logits bit by bit: base64 of their little-endian bytes, row by row."""
        data = base64.b64encode(self.logits.astype("<f4").tobytes()).decode("ascii")
        return {
            "predictions": list(self.predictions),
            "logits": {"dtype": "float32", "shape": list(self.logits.shape), "base64": data},
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Outputs:
        """Raises ValueError where predictions and logits do not belong together."""
        data = np.frombuffer(base64.b64decode(fields["logits"]["base64"], validate=True), "<f4")
        outputs = cls.of(data.reshape(fields["logits"]["shape"]).astype(np.float32))
        if outputs.predictions != tuple(fields["predictions"]):
            raise ValueError("predictions that are not the largest logits")
        return outputs


def to_json(disturbed: Mapping[str, Outputs]) -> dict[str, Any]:
    """The report's form of the answers to disturbed images, by factor."""
    return {factor: outputs.to_json() for factor, outputs in disturbed.items()}


def from_json(fields: Mapping[str, Any]) -> dict[str, Outputs]:
    """The inverse of `to_json`; raises what `Outputs.from_json` does."""
    return {factor: Outputs.from_json(outputs) for factor, outputs in fields.items()}

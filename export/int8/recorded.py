"""What INT8 needs to know of images, as figures that travel with the weights: no picture is among them.

Ranges of drawn faces do not fit photographs. Weights that carry the ranges of their own D^v are quantised as well by
somebody who has no faces at hand as by those who trained them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer.errors import MALFORMED, ArtifactError
from lc2fer.recipe import FOLDED, FUSED, ROWS, TRANSPOSE, Recipe

KEY = "ranges"  # in what a checkpoint's manifest says of its training
# Forms whose layers read the same values: where LayerNorm's centring is folded into a layer, it reads others.
FORMS = (TRANSPOSE, FOLDED)
_READ_AS = {ROWS: TRANSPOSE, FUSED: FOLDED}


@dataclass(frozen=True)
class Ranges:
    """Statistics of one recipe over one calibration set, in float32 graphs; layers' figures by one of FORMS."""

    method: str  # of the clips
    smoothing: float | str  # as the recipe has it
    strengths: tuple[float, ...]  # that it came to, of each block
    about: Mapping[str, Any]  # of the images, as CalibrationSet.to_json gives it
    largest: tuple[NDArray[np.float32], ...]  # [4C] for each block: the channels' magnitudes behind GRN
    clips_by_form: Mapping[str, Mapping[str, float]]
    errors_by_form: Mapping[str, Mapping[str, NDArray[np.float64]]]
    row_errors: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)  # of layers behind GRN, by row steps
    proof: Mapping[str, float] = field(default_factory=dict)  # what it gave on other images of the set: dB, agreement
    form: str = TRANSPOSE  # whose figures are given

    def of_form(self, form: str) -> Ranges:
        """Those of that form of graph."""
        return replace(self, form=_READ_AS.get(form, form))

    @property
    def clips(self) -> Mapping[str, float]:
        """Layer -> the magnitude that the largest s8 value stands for."""
        return self.clips_by_form[self.form]

    @property
    def errors(self) -> Mapping[str, NDArray[np.float64]]:
        """Layer -> [C_out], the mean error of quantising that layer alone."""
        return self.errors_by_form[self.form]

    @property
    def fingerprint(self) -> str:
        """Of the images, as `CalibrationSet.fingerprint`."""
        return str(self.about["fingerprint"])

    def fits(self, recipe: Recipe) -> bool:
        """Whether they are what that recipe would measure."""
        wanted = recipe.calibration
        return (
            recipe.bias_correction
            and (recipe.behind_grn is None or bool(self.row_errors))
            and recipe.smoothing == self.smoothing
            and wanted is not None
            and (wanted.method, wanted.count, wanted.seed) == (self.method, self.about["images"], self.about["seed"])
        )

    def to_json(self) -> dict[str, Any]:
        """An artifact's entry for its calibration."""
        return {**self.about, "recorded": "with the weights", "proof": dict(self.proof)}

    def to_manifest(self) -> dict[str, Any]:
        """A checkpoint's entry; figures of five digits."""
        return {
            "method": self.method,
            "smoothing": self.smoothing,
            "strengths": list(self.strengths),
            "about": dict(self.about),
            "largest": [_short(one) for one in self.largest],
            "clips": {
                form: {layer: float(f"{clip:.5g}") for layer, clip in clips.items()}
                for form, clips in self.clips_by_form.items()
            },
            "errors": {
                form: {layer: _short(error) for layer, error in errors.items()}
                for form, errors in self.errors_by_form.items()
            },
            "row_errors": {layer: _short(error) for layer, error in self.row_errors.items()},
            "proof": {name: float(f"{value:.5g}") for name, value in self.proof.items()},
        }

    @classmethod
    def of(cls, training: Mapping[str, Any] | None) -> Ranges | None:
        """Those of a checkpoint's manifest, if it has any; raises ArtifactError for damaged ones."""
        found = (training or {}).get(KEY)
        if found is None:
            return None
        try:
            ranges = cls(
                str(found["method"]),
                found["smoothing"],
                tuple(float(one) for one in found.get("strengths", [found["smoothing"]] * len(found["largest"]))),
                {**found["about"], "images": int(found["about"]["images"]), "seed": int(found["about"]["seed"])},
                tuple(np.array(one, np.float32) for one in found["largest"]),
                {form: {str(layer): float(clip) for layer, clip in found["clips"][form].items()} for form in FORMS},
                {
                    form: {str(layer): np.array(error, np.float64) for layer, error in found["errors"][form].items()}
                    for form in FORMS
                },
                {str(layer): np.array(error, np.float64) for layer, error in found.get("row_errors", {}).items()},
                {str(name): float(value) for name, value in found.get("proof", {}).items()},
            )
            if len(ranges.strengths) != len(ranges.largest):
                raise ValueError("each block needs a strength")
            figures: list[Any] = [*ranges.largest, *ranges.row_errors.values()]
            for form in map(ranges.of_form, FORMS):
                figures += [*form.errors.values(), list(form.clips.values())]
            if not all(np.isfinite(np.asarray(one, np.float64)).all() for one in figures):
                raise ValueError("a figure is not finite")
        except MALFORMED as error:
            raise ArtifactError(
                f"The ranges that came with the weights are damaged ({error}). Figures that lc2fer wrote were "
                "expected. Copy the manifest again, or take new ones: pass --data with faces."
            ) from None
        return ranges


def _short(values: NDArray[Any]) -> list[float]:
    return [float(f"{value:.5g}") for value in np.asarray(values, np.float64)]

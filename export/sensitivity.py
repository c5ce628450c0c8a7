"""Which layers INT8 hurts: each is quantised alone, and the logits are compared with the float graph's.

The quantiser is that of onnx-int8, and Q/DQ pairs run as they are written, so the ranking says what rounding does and
nothing about an engine.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import numpy as np
import onnx
from numpy.typing import NDArray
from tabulate import tabulate  # type: ignore[import-untyped]

from lc2fer import artifact as artifacts
from lc2fer import metrics
from lc2fer.artifact import Artifact
from lc2fer.recipe import INPUT, Recipe

from .formats import qdq
from .int8 import quantize, ranges
from .int8.calibration import Known

if TYPE_CHECKING:
    from .pipeline import Pipeline

TARGET = "onnx-int8"  # whose recipe is used
IMAGES = 300


@dataclass(frozen=True)
class Damage:
    """What quantising one layer alone does to the logits."""

    layer: str
    sqnr_db: float
    flips: int  # images that get another first class
    images: int

    def to_json(self) -> dict[str, Any]:
        """SQNR is null where nothing was lost, which JSON has no number for."""
        return {**asdict(self), "sqnr_db": self.sqnr_db if math.isfinite(self.sqnr_db) else None}


class Simulation:
    """The float32 graph of one network with the numbers of its quantised layers; any of them can be tried.

    The ranges come from `calibration`, logits are compared on `images`.
    """

    def __init__(
        self, parent: Artifact, recipe: Recipe, calibration: Known, images: Iterable[NDArray[np.float32]]
    ) -> None:
        self.recipe = replace(recipe, rest="fp32", form="transpose", opset=18)  # the other forms round much alike
        self.images = images
        with tempfile.TemporaryDirectory() as folder:
            self.model, self.layers = qdq.quantized(parent, self.recipe, calibration, Path(folder) / "float.onnx")
        self.reference = self._run(self.model)

    def logits(self, kept: Sequence[str]) -> NDArray[np.float32]:
        """Logits [N,classes] with all layers quantised but those and the ones that the recipe keeps."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        quantize.insert(model, self.layers, replace(self.recipe, kept=tuple(dict.fromkeys((*self.recipe.kept, *kept)))))
        return self._run(model)

    def ranking(self) -> list[Damage]:
        """Every layer that the recipe does not keep, the most damaging first."""
        found = []
        for layer in self.layers:
            if self.recipe.keeps(layer):
                continue
            logits = self.logits([other for other in self.layers if other != layer])
            same = metrics.predictions(self.reference) == metrics.predictions(logits)
            sqnr_db = metrics.sqnr_db(self.reference, logits)
            found.append(Damage(layer, sqnr_db, int(np.sum(~same)), len(same)))
        return sorted(found, key=lambda damage: damage.sqnr_db)

    def _run(self, model: onnx.ModelProto) -> NDArray[np.float32]:
        session = ranges.session_of(model)
        return np.concatenate([session.run(None, {INPUT: image})[0] for image in self.images])


def report(pipeline: Pipeline, count: int) -> tuple[str, dict[str, Any]]:
    """Rank the layers on `count` images of D^v and write `<variant>-sensitivity.json` and `.svg`.

    Returns the table for a terminal and the command's last line. Where D^v is small, images that give the ranges are
    among those that the logits are compared on.
    """
    wanted = pipeline.wanted(TARGET)
    assert wanted.recipe is not None
    calibration, images = pipeline.calibration(wanted.recipe), pipeline.validation.policy(count)
    assert calibration is not None
    everything = replace(wanted.recipe, kept=(), behind_grn=None)
    damages = Simulation(pipeline.checkpoint, everything, calibration, images).ranking()
    path = pipeline.out / f"{pipeline.variant.name}-sensitivity.json"
    found = {
        "variant": pipeline.variant.name,
        "parent_sha256": pipeline.checkpoint.sha256,
        "recipe": wanted.recipe.to_json(),
        "images": len(images),
        "images_fingerprint": images.fingerprint,
        "layers": [damage.to_json() for damage in damages],
    }
    artifacts.write(path, found)
    title = f"{pipeline.variant.name}: logit SQNR where one layer alone is INT8"
    drawing = path.with_suffix(".svg")
    artifacts.write_text(drawing, plot(damages, title))
    return table(damages), {**found, "sensitivity": str(path), "plot": str(drawing)}


def table(damages: Sequence[Damage]) -> str:
    """For a terminal: layer, logit SQNR in dB, predictions that change."""
    rows = [(damage.layer, f"{damage.sqnr_db:.1f}", f"{damage.flips} of {damage.images}") for damage in damages]
    return tabulate(rows, ("layer, alone in INT8", "SQNR (dB)", "flips"), colalign=("left", "right", "right"))


_BAR, _NAME, _SCALE, _TOP = 22, 190, 8, 44  # pixels: a row, the names' column, a decibel, above the first row


def plot(damages: Sequence[Damage], title: str) -> str:
    """An SVG with a bar a layer; the shorter, the more damage."""
    longest = max((damage.sqnr_db for damage in damages if math.isfinite(damage.sqnr_db)), default=0.0)
    width, height = int(_NAME + _SCALE * max(longest, 0) + 150), _TOP + _BAR * len(damages) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="10" y="24" font-size="14">{escape(title)}</text>',
    ]
    for place, damage in enumerate(damages):
        y = _TOP + place * _BAR
        sqnr_db = damage.sqnr_db if math.isfinite(damage.sqnr_db) else longest
        length = _SCALE * max(sqnr_db, 0.0)
        parts += [
            f'<text x="{_NAME - 8}" y="{y + 14}" text-anchor="end">{escape(damage.layer)}</text>',
            f'<rect x="{_NAME}" y="{y + 3}" width="{length:.1f}" height="{_BAR - 7}" fill="#4878a8"/>',
            f'<text x="{_NAME + length + 6:.1f}" y="{y + 14}">{damage.sqnr_db:.1f} dB, {damage.flips} of '
            f"{damage.images} flip</text>",
        ]
    return "\n".join([*parts, "</svg>\n"])

"""Write the INT8 ranges of trained weights into their manifest: statistics of faces of D^v, and no picture.

    python tools/record_ranges.py lc2fer/weights/C6.safetensors --data FACES

Whoever exports the weights and has no faces at hand then gets the INT8 of whoever trained them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from lc2fer.export.formats import onnx as float_onnx
from lc2fer.export.formats import qdq
from lc2fer.export.int8 import quantize, ranges
from lc2fer.export.int8.calibration import CalibrationSet
from lc2fer.export.int8.recorded import FORMS, KEY, Ranges
from lc2fer.export.pipeline import Pipeline

from lc2fer import artifact as artifacts
from lc2fer.recipe import ALL_STAGES, FOLDED
from lc2fer.variants import VARIANTS


def record(weights: Path, data: str) -> Ranges:
    """What the INT8 recipe finds on D^v of that data set."""
    config = artifacts.load(weights).variant
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Pipeline(config, Path(folder), weights=weights, data=data)
        recipe = pipeline.wanted("onnx-int8").recipe
        assert recipe is not None
        assert recipe.smoothing is not None
        assert recipe.calibration is not None
        images = pipeline.calibration(recipe)
        assert isinstance(images, CalibrationSet)
        proof = pipeline.export("onnx-int8").proof
        assert proof is not None
        recipe = replace(recipe, bias_correction=False, rest="fp32", behind_grn=None)
        smoothed = float_onnx.smoothing(pipeline.checkpoint, images, recipe)
        assert smoothed is not None
        clips, errors = {}, {}
        for form in FORMS:
            model, layers = qdq.quantized(
                pipeline.checkpoint, replace(recipe, form=form), images, Path(folder) / "float.onnx"
            )
            clips[form] = {layer: numbers.scale * ranges.LEVELS for layer, numbers in layers.items()}
            errors[form] = quantize.errors(model, layers, images)
        plain = replace(recipe, form=FOLDED, behind_grn=ALL_STAGES)
        rows = plain.without_range(VARIANTS[config].blocks)
        model, layers = qdq.quantized(pipeline.checkpoint, plain, images, Path(folder) / "float.onnx", rows)
        row_errors = quantize.errors(model, {layer: layers[layer] for layer in rows}, images, rows)
    return Ranges(
        method=recipe.calibration.method,
        smoothing=recipe.smoothing,
        strengths=smoothed.strengths,
        about=images.to_json(),
        largest=tuple(one.numpy() for one in smoothed.largest),
        clips_by_form=clips,
        errors_by_form=errors,
        row_errors=row_errors,
        proof={name: proof[name] for name in ("sqnr_db", "agreement", "images")},
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--data", required=True, help="the faces that they were trained on")
    given = parser.parse_args()
    for weights in given.weights:
        path = weights.with_suffix(".json")
        manifest = json.loads(path.read_text(encoding="utf-8"))
        manifest["training"][KEY] = record(weights, given.data).to_manifest()
        artifacts.write(path, manifest)
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

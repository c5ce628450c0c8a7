"""ONNX INT8: one symmetric Q/DQ graph for ONNX Runtime, TensorRT and OpenVINO (export/int8/quantize.py)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import onnx

from lc2fer.artifact import Artifact
from lc2fer.recipe import Recipe

from ..int8 import quantize
from ..int8.calibration import Known
from ..int8.quantize import QuantizedLayer
from ..int8.recorded import Ranges
from . import onnx as float_onnx

TOOLS, inspect = float_onnx.TOOLS, float_onnx.inspect

_LAYERS: float_onnx.Once[dict[str, QuantizedLayer]] = float_onnx.Once()


def make(parent: Artifact, recipe: Recipe, calibration: Known | None, path: Path) -> list[Path]:
    """Write `path`: the deploy form of the parent, a checkpoint, with Q/DQ pairs before its convolutions."""
    assert calibration is not None
    source = replace(recipe, form="transpose") if recipe.form == "rows" else recipe  # rows have the same numbers
    model, layers = quantized(parent, source, calibration, path.with_suffix(".float.onnx"))
    if recipe.rest == "fp16" or recipe.form == "rows":
        float_onnx.make(parent, recipe, calibration, path)
        model = onnx.load_model(path)
    if recipe.form == "rows":
        quantize.insert_rows(model.graph, layers, recipe)
    else:
        quantize.insert(model, layers, recipe)
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, path)
    return [path]


def quantized(
    parent: Artifact, recipe: Recipe, calibration: Known, path: Path, by_row: Collection[str] = ()
) -> tuple[onnx.ModelProto, dict[str, QuantizedLayer]]:
    """The float32 graph, written to `path` too, and the numbers of all its convolutions, kept ones among them.

    Layers `by_row` round each pixel in steps of its own, as lc2fer/kernels does.
    """
    float_onnx.make(parent, replace(recipe, rest="fp32"), calibration, path)
    model = onnx.load_model(path)

    def find() -> dict[str, QuantizedLayer]:
        return _numbers(parent, recipe, calibration, model, by_row)

    numbers = replace(recipe, rest="fp32", kept=())  # what these do not change
    images = type(calibration).__name__, calibration.fingerprint
    return model, _LAYERS(parent, find, numbers, *images, *by_row)


def _numbers(
    parent: Artifact, recipe: Recipe, calibration: Known, model: onnx.ModelProto, by_row: Collection[str]
) -> dict[str, QuantizedLayer]:
    assert recipe.calibration is not None
    smoothed = float_onnx.smoothing(parent, calibration, recipe)
    if isinstance(calibration, Ranges):
        calibration = calibration.of_form(recipe.form)
    layers = quantize.quantize(model, calibration, recipe.calibration, smoothed.clips if smoothed else {}, by_row)
    return quantize.corrected(model, layers, calibration, by_row) if recipe.bias_correction else layers

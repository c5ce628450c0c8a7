"""OpenVINO IR: float32, float16, and INT8 by NNCF on the inputs of convolutions alone."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import nncf
import openvino

from lc2fer.artifact import Artifact
from lc2fer.recipe import Recipe

from . import onnx
from .calibration import CalibrationSet
from .chatter import errors_only

TOOLS = ("torch", "onnx", "onnxscript", "openvino", "nncf")


def make(parent: Artifact, recipe: Recipe, calibration: CalibrationSet | None, path: Path) -> list[Path]:
    """Write `path` (.xml) and its weights (.bin): input float32 [N,3,H,W], output float32 [N,7]."""
    graph = path.with_suffix(".onnx")
    onnx.make(parent, _float(recipe), calibration, graph)
    model = openvino.convert_model(graph)
    if recipe.precision == "int8":
        assert calibration is not None
        model = _quantized(model, calibration)
    openvino.save_model(model, path, compress_to_fp16=recipe.precision == "fp16")
    return [path, path.with_suffix(".bin")]


def _float(recipe: Recipe) -> Recipe:
    """For the graph that OpenVINO converts: float16 is made by compressing float32."""
    return replace(recipe, precision="fp32") if recipe.precision == "fp16" else recipe


def _quantized(model: openvino.Model, calibration: CalibrationSet) -> openvino.Model:
    # Everything between the convolutions stays float: quantising LayerNorm, GELU, GRN or additions costs accuracy and
    # makes the network slower, because each of them needs its own conversion.
    others = sorted({node.get_type_name() for node in model.get_ops()} - {"Convolution", "GroupConvolution", *_PASSIVE})
    with errors_only(logging.getLogger("nncf")):
        return nncf.quantize(
            model,
            nncf.Dataset(list(calibration)),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(calibration),
            fast_bias_correction=True,
            ignored_scope=nncf.IgnoredScope(types=others, validate=False),
        )


_PASSIVE = ("Constant", "Parameter", "Result", "Convert")

"""OpenVINO IR: float32, float16, and INT8 from our own Q/DQ graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import openvino

from lc2fer.artifact import Artifact
from lc2fer.recipe import Recipe

from ..int8.calibration import Known
from . import onnx, qdq

TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino")


def make(parent: Artifact, recipe: Recipe, calibration: Known | None, path: Path) -> list[Path]:
    """Write `path` (.xml) and its weights (.bin): input float32 [N,3,H,W], output float32 [N,classes]."""
    graph = path.with_suffix(".onnx")
    if recipe.precision == "int8":
        qdq.make(parent, recipe, calibration, graph)
    else:
        onnx.make(parent, replace(recipe, precision="fp32"), calibration, graph)  # float16 is made by compressing it
    openvino.save_model(openvino.convert_model(graph), path, compress_to_fp16=recipe.precision == "fp16")
    return [path, path.with_suffix(".bin")]

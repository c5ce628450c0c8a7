"""OpenVINO IR of the operations of lc2fer/kernels; the head is OpenVINO's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
from openvino import opset13 as ops
from openvino.utils.node_factory import NodeFactory

from lc2fer import kernels
from lc2fer.artifact import Artifact
from lc2fer.network.model import EPS
from lc2fer.recipe import INPUT, OUTPUT, Recipe

from ..int8.calibration import Known
from .kernels import TOOLS as OURS
from .kernels import network

TOOLS = (*OURS, "openvino")


def check(recipe: Recipe) -> None:
    """Raise TargetUnavailable where the operations cannot be had."""
    kernels.check("openvino", recipe.precision)


def make(parent: Artifact, recipe: Recipe, calibration: Known | None, path: Path) -> list[Path]:
    """Write `path` (.xml) and its weights (.bin): input float32 [N,3,H,W], output float32 [N,classes].

    Raises TargetUnavailable where the operations cannot be had: they prove themselves on the machine that makes them.
    """
    factory = NodeFactory()
    factory.add_extension(str(kernels.library("openvino", recipe.precision)))
    made = network(parent, recipe, calibration, path)
    pixels = ops.parameter([-1, *parent.input_spec.shape], np.float32, name=INPUT)
    x = pixels
    for operation in made.operations:
        inputs = [x, *(ops.constant(array) for array in operation.constants)]
        x = factory.create(operation.kind, [each.output(0) for each in inputs], operation.attributes)
    x = ops.reduce_mean(x, np.array([1, 2]))
    x = ops.mvn(x, np.array([1]), normalize_variance=True, eps=EPS, eps_mode="inside_sqrt")
    logits = ops.add(ops.matmul(x, made.weight, transpose_a=False, transpose_b=True), made.bias[np.newaxis])
    model = openvino.Model([ops.result(logits)], [pixels], path.stem)
    model.inputs[0].tensor.set_names({INPUT})
    model.outputs[0].tensor.set_names({OUTPUT})
    openvino.save_model(model, path, compress_to_fp16=False)
    return [path, path.with_suffix(".bin")]

"""ONNX of the operations of lc2fer/kernels, for ONNX Runtime; the head is ONNX's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lc2fer import kernels
from lc2fer.artifact import Artifact
from lc2fer.network.model import EPS
from lc2fer.recipe import BATCH, INPUT, OUTPUT, Recipe

from ..int8.calibration import Known
from .kernels import TOOLS, network

__all__ = ["TOOLS", "check", "make"]


def check(recipe: Recipe) -> None:
    """Raise TargetUnavailable where the operations cannot be had."""
    kernels.check("onnxruntime", recipe.precision)


def make(parent: Artifact, recipe: Recipe, calibration: Known | None, path: Path) -> list[Path]:
    """Write `path`: input float32 [batch,3,H,W], output float32 [batch,classes].

    Raises TargetUnavailable where the operations cannot be had: they prove themselves on the machine that makes them.
    """
    kernels.library("onnxruntime", recipe.precision)
    made = network(parent, recipe, calibration, path)
    nodes, constants, images = [], [], []

    def constant(array: NDArray[Any], name: str) -> str:
        constants.append(numpy_helper.from_array(array, name))
        return name

    x = INPUT
    for place, operation in enumerate(made.operations):
        name = f"{operation.kind.lower()}.{place}"
        inputs = [x, *(constant(array, f"{name}.{index}") for index, array in enumerate(operation.constants))]
        nodes.append(
            helper.make_node(operation.kind, inputs, [name], name, domain=kernels.DOMAIN, **operation.attributes)
        )
        images.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, (BATCH, *operation.shape)))
        x = name
    one = np.ones(made.weight.shape[1], np.float32)
    nodes += [
        helper.make_node("ReduceMean", [x, constant(np.array([1, 2]), "axes")], ["mean"], "mean", keepdims=0),
        helper.make_node("LayerNormalization", ["mean", constant(one, "one")], ["norm"], "norm", epsilon=EPS),
        helper.make_node(
            "Gemm",
            ["norm", constant(made.weight, "linear.weight"), constant(made.bias, "linear.bias")],
            [OUTPUT],
            "linear",
            transB=1,
        ),
    ]
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, (BATCH, *parent.input_spec.shape))],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, (BATCH, len(made.bias)))],
        constants,
        value_info=images,
    )
    opsets = [helper.make_opsetid("", recipe.opset), helper.make_opsetid(kernels.DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets[:1]))
    onnx.checker.check_model(model)
    onnx.save_model(model, path)
    return [path]

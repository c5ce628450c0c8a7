"""ONNX INT8: one symmetric Q/DQ graph for ONNX Runtime, TensorRT and OpenVINO.

Only the inputs and weights of convolutions are quantised: s8, zero-point 0, activations per tensor, weights per output
channel. LayerNorm, GELU, GRN, residual additions and the classifier stay in float. The pixels, x - 128, get scale 1 and
lose nothing. TensorRT takes no int32 bias behind a DequantizeLinear, so biases stay float32.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from lc2fer.artifact import Artifact
from lc2fer.recipe import Recipe

from . import onnx as float_onnx
from .calibration import CalibrationSet
from .chatter import errors_only
from .onnx import INPUT

TOOLS = float_onnx.TOOLS


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """ONNX Runtime's way to ask for images, one a call."""

    def __init__(self, images: CalibrationSet) -> None:
        self.images = images
        self.rewind()

    def rewind(self) -> None:
        self._left: Iterator[Any] = iter(self.images)

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._left, None)
        return None if batch is None else {INPUT: batch}


def make(parent: Artifact, recipe: Recipe, calibration: CalibrationSet | None, path: Path) -> list[Path]:
    """Write `path`: the deploy form of the parent, a checkpoint, with Q/DQ pairs before its convolutions."""
    assert calibration is not None
    source = path.with_suffix(".float.onnx")
    float_onnx.make(parent, recipe, calibration, source)
    graph = onnx.load_model(source).graph
    centred = next(node for node in graph.node if INPUT in node.input).output[0]
    convolutions = [node.name for node in graph.node if node.op_type == "Conv"]
    with errors_only(logging.root):  # it advises a preprocessing that would undo the deploy form
        quantize_static(
            str(source),
            str(path),
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=convolutions,
            op_types_to_quantize=["Conv"],
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": ["Conv"],
                "TensorQuantOverrides": {
                    centred: [{"scale": np.array(1, np.float32), "zero_point": np.array(0, np.int8)}]
                },
            },
        )
    model = onnx.load_model(path)
    _spare_others(model.graph)
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, path)
    return [path]


def _spare_others(graph: onnx.GraphProto) -> None:
    """Give every node but the convolutions its unquantised input back.

    ONNX Runtime's quantiser puts the Q/DQ pair before all readers of a tensor: a block's residual addition would read
    what its depthwise convolution needs rounded.
    """
    source = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    rounded = {
        node.output[0]: source[node.input[0]]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in source
    }
    for node in graph.node:
        if node.op_type != "Conv":
            for place, name in enumerate(node.input):
                if name in rounded:
                    node.input[place] = rounded[name]

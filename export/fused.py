"""OpenVINO IR of the operations of lc2fer/fused: a stem, blocks, downsamples; the head is OpenVINO's own.

The numbers are those of the form "folded", in int8 those of `quantize` on it: the same weights, scales and corrected
biases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from openvino import opset13 as ops
from torch import nn

from lc2fer import checkpoint, fused
from lc2fer.artifact import Artifact
from lc2fer.fuse import DeployBlock, DeployDownsample, DeployStem, deploy_form
from lc2fer.model import EPS
from lc2fer.recipe import Recipe

from . import quantize
from .calibration import CalibrationSet
from .onnx import INPUT, OUTPUT, smoothing
from .quantize import QuantizedLayer

TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino")

LANES = 16
ZERO = 128  # of the unsigned bytes that stand for an int8 input

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class _Product:
    """A convolution as the operations read it: 4 bytes of an output at a time, int8, bfloat16 or float32."""

    step: float  # of its input; 1 in float
    weights: Bytes  # [padded C_out / 16, depth in steps, 16, 4]
    numbers: Float  # [2, padded C_out]: of the sums' scale and bias


def make(parent: Artifact, recipe: Recipe, calibration: CalibrationSet | None, path: Path) -> list[Path]:
    """Write `path` (.xml) and its weights (.bin): input float32 [1,3,H,W], output float32 [1,7].

    Raises TargetUnavailable where the operations cannot be had: they prove themselves on the machine that makes them.
    """
    library = fused.library(recipe.precision)
    trained = checkpoint.load(parent.path, parent.variant)
    factors = None
    layers: Mapping[str, QuantizedLayer] = {}
    if calibration is not None:
        graph = path.with_suffix(".float.onnx")
        _, layers = quantize.quantized(parent, replace(recipe, form="folded"), calibration, graph)
        factors = smoothing(parent, trained, calibration, recipe)
    network = deploy_form(trained, "folded", smoothing=factors)
    precision = fused.PRODUCTS[recipe.precision]

    def product(name: str, *, channels_last: bool = True) -> _Product:
        if name in layers:
            return _quantized(layers[name], channels_last)
        layer = network.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        return _rounded(layer, precision, channels_last)

    operation = _operations(library, precision)
    pixels = ops.parameter([1, *parent.input_spec.shape], np.float32, name=INPUT)
    x = pixels
    for name, module in network.named_modules():
        if isinstance(module, DeployStem):
            conv = product(f"{name}.conv", channels_last=False)
            norm = _rows(module.norm.weight.numpy(), module.norm.bias.numpy())
            x = operation(
                "Stem",
                [x, conv.weights, np.concatenate([conv.numbers, norm])],
                {"stride": module.conv.stride[0], "outputs": module.conv.out_channels},
            )
        elif isinstance(module, DeployDownsample):
            conv = product(f"{name}.conv")
            x = operation(
                "Downsample",
                [x, conv.weights, conv.numbers],
                {
                    "inverse_step": 1 / conv.step,
                    "kernel": module.conv.kernel_size[0],
                    "outputs": module.conv.out_channels,
                },
            )
        elif isinstance(module, DeployBlock):
            expand, project = product(f"{name}.expand"), product(f"{name}.project")
            taps = module.depthwise.weight.detach().numpy().reshape(module.depthwise.out_channels, -1).T  # [49,C]
            assert module.depthwise.bias is not None
            response = np.stack([module.grn.one.flatten().numpy(), module.grn.gamma.flatten().numpy()])
            x = operation(
                "Block",
                [
                    x,
                    _rows(*taps, module.depthwise.bias.detach().numpy()),
                    expand.weights,
                    expand.numbers,
                    (response / project.step).astype(np.float32),
                    project.weights,
                    project.numbers,
                ],
                {"inverse_step": 1 / expand.step},
            )
    x = ops.reduce_mean(x, np.array([1, 2]))
    x = ops.mvn(x, np.array([1]), normalize_variance=True, eps=EPS, eps_mode="inside_sqrt")
    weight, bias = (value.detach().numpy() for value in (network.linear.weight, network.linear.bias))
    logits = ops.add(ops.matmul(x, weight, transpose_a=False, transpose_b=True), bias[np.newaxis])
    model = openvino.Model([ops.result(logits)], [pixels], path.stem)
    model.inputs[0].tensor.set_names({INPUT})
    model.outputs[0].tensor.set_names({OUTPUT})
    openvino.save_model(model, path, compress_to_fp16=False)
    return [path, path.with_suffix(".bin")]


def _operations(library: Path, precision: str) -> Callable[[str, list[Any], dict[str, Any]], openvino.Node]:
    from openvino.utils.node_factory import NodeFactory

    factory = NodeFactory()
    factory.add_extension(str(library))

    def operation(kind: str, arguments: list[Any], attributes: dict[str, Any]) -> openvino.Node:
        source, *constants = arguments
        inputs = [source, *(ops.constant(np.ascontiguousarray(each)) for each in constants)]
        return factory.create(kind, [each.output(0) for each in inputs], {"precision": precision, **attributes})

    return operation


def _quantized(layer: QuantizedLayer, channels_last: bool) -> _Product:
    scale = layer.scale * layer.weight_scale.astype(np.float64)
    sums = layer.weight.reshape(len(layer.weight), -1).astype(np.int64).sum(axis=1)
    numbers = _rows(scale, layer.bias - ZERO * scale * sums)  # takes the zero-point of the bytes back
    return _Product(layer.scale, _in_steps(_columns(layer.weight, channels_last)), numbers)


def _rounded(layer: nn.Conv2d, precision: str, channels_last: bool) -> _Product:
    assert layer.bias is not None
    columns = _columns(layer.weight.detach().numpy(), channels_last)
    if precision == "bf16":
        columns = torch.from_numpy(columns).bfloat16().view(torch.int16).numpy()
    return _Product(1.0, _in_steps(columns), _rows(np.ones(len(columns)), layer.bias.detach().numpy()))


def _columns(weight: NDArray[Any], channels_last: bool) -> NDArray[Any]:
    """[C_out, depth], in the order in which the operation reads its input: [ky,kx,C], a stem's [C,ky,kx]."""
    return np.ascontiguousarray(weight.transpose(0, 2, 3, 1) if channels_last else weight).reshape(len(weight), -1)


def _in_steps(columns: NDArray[Any]) -> Bytes:
    """[C_out, depth] -> [padded C_out / 16, depth in steps, 16, 4], with zeros for the outputs that do not exist."""
    outputs = len(columns)
    padded = np.zeros((_padded(outputs), columns.shape[1]), columns.dtype)
    padded[:outputs] = columns
    return padded.view(np.uint8).reshape(_padded(outputs) // LANES, LANES, -1, 4).transpose(0, 2, 1, 3)


def _rows(*vectors: NDArray[Any]) -> Float:
    """[N] of them, each with zeros up to a whole number of lanes."""
    rows = np.zeros((len(vectors), _padded(len(vectors[0]))), np.float32)
    for row, vector in zip(rows, vectors):
        row[: len(vector)] = vector
    return rows


def _padded(channels: int) -> int:
    return -(-channels // LANES) * LANES

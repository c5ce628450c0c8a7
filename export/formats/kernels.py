"""A network as the operations of lc2fer/kernels: a stem, blocks, downsamples; what stands in an engine's graph.

The numbers are those of the form "folded", in int8 those of `quantize` on it: the same weights, scales and corrected
biases. Where the recipe says so, the layer behind GRN has no scale of its input: each pixel brings its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lc2fer import kernels
from lc2fer.artifact import Artifact
from lc2fer.network import checkpoint
from lc2fer.network.fuse import DeployBlock, DeployDownsample, DeployStem, deploy_form
from lc2fer.recipe import Recipe

from ..int8.calibration import Known
from ..int8.quantize import QuantizedLayer
from . import qdq
from .onnx import smoothing

TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime")

LANES = 16

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Operation:
    """One of lc2fer/kernels: its input is what the one before it gives, a stem's the pixels [batch,3,H,W]."""

    kind: str
    attributes: dict[str, Any]
    constants: list[NDArray[Any]]  # behind that input
    shape: tuple[int, int, int]  # of what it gives of an image, float32 [H,W,C]


@dataclass(frozen=True)
class FusedNetwork:
    """Operations in their order, then the head: the mean over the image, LayerNorm without weights, a linear layer."""

    operations: list[Operation]
    weight: Float  # [7,C]
    bias: Float  # [7]


@dataclass(frozen=True)
class _Product:
    """A convolution as the operations read it: 4 bytes of an output at a time, int8, bfloat16 or float32."""

    step: float  # of its input; 1 in float
    weights: Bytes  # [padded C_out / 16, depth in steps, 16, 4]
    numbers: Float  # [2, padded C_out]: of the sums' scale and bias


def network(parent: Artifact, recipe: Recipe, calibration: Known | None, path: Path) -> FusedNetwork:
    """What the graph at `path` is to hold; a float graph to quantise is written beside it."""
    trained = checkpoint.load(parent.path, parent.variant)
    rows = recipe.without_range(trained.variant.blocks)
    smoothed = None
    layers: Mapping[str, QuantizedLayer] = {}
    if calibration is not None:
        graph = path.with_suffix(".float.onnx")
        _, layers = qdq.quantized(parent, replace(recipe, form="folded"), calibration, graph, rows)
        smoothed = smoothing(parent, calibration, recipe)
    form = deploy_form(trained, "folded", smoothing=smoothed.factors if smoothed else None)
    precision = kernels.PRODUCTS[recipe.precision]

    def product(name: str, *, channels_last: bool = True) -> _Product:
        if name in layers:
            return _quantized(layers[name], channels_last)
        layer = form.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        return _rounded(layer, precision, channels_last)

    operations: list[Operation] = []
    numbers: list[NDArray[Any]]
    sides = iter(form.variant.feature_sizes(parent.input_spec.size))
    side = 0

    def add(kind: str, channels: int, constants: list[NDArray[Any]], attributes: dict[str, float]) -> None:
        arrays = [np.ascontiguousarray(array) for array in constants]
        operations.append(
            Operation(
                kind,
                {"version": kernels.VERSION, "precision": precision, **attributes},
                arrays,
                (side, side, channels),
            )
        )

    for name, module in form.named_modules():
        if isinstance(module, DeployStem):
            conv, outputs = product(f"{name}.conv", channels_last=False), module.conv.out_channels
            norm = _rows(module.norm.weight.numpy(), module.norm.bias.numpy())
            side = next(sides)
            numbers = [conv.weights, np.concatenate([conv.numbers, norm])]
            add("Stem", outputs, numbers, {"stride": module.conv.stride[0], "channels": outputs})
        elif isinstance(module, DeployDownsample):
            conv, outputs, kernel = product(f"{name}.conv"), module.conv.out_channels, module.conv.kernel_size[0]
            side = next(sides)
            numbers = [conv.weights, conv.numbers]
            attributes = {"inverse_step": 1 / conv.step, "kernel": kernel, "channels": outputs}
            add("Downsample", outputs, numbers, attributes)
        elif isinstance(module, DeployBlock):
            expand, project = product(f"{name}.expand"), product(f"{name}.project")
            channels = module.depthwise.out_channels
            taps = module.depthwise.weight.detach().numpy().reshape(channels, -1).T  # [49,C]
            assert module.depthwise.bias is not None
            depthwise = _rows(*taps, module.depthwise.bias.detach().numpy())
            response = np.stack([module.grn.one.flatten().numpy(), module.grn.gamma.flatten().numpy()])
            response = (response / project.step).astype(np.float32)
            numbers = [depthwise, expand.weights, expand.numbers, response, project.weights, project.numbers]
            attributes = {"inverse_step": 1 / expand.step, "by_row": int(f"{name}.project" in rows)}
            add("Block", channels, numbers, attributes)
    weight, bias = (value.detach().numpy() for value in (form.linear.weight, form.linear.bias))
    return FusedNetwork(operations, weight, bias)


def _quantized(layer: QuantizedLayer, channels_last: bool) -> _Product:
    numbers = _rows(layer.scale * layer.weight_scale.astype(np.float64), layer.bias)
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

"""OpenVINO IR of the operations of lc2fer/fused: a stem, blocks, downsamples; the head is OpenVINO's own.

The numbers are those of `quantize` on the form "folded": the same int8 weights, scales and corrected biases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

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


def make(parent: Artifact, recipe: Recipe, calibration: CalibrationSet | None, path: Path) -> list[Path]:
    """Write `path` (.xml) and its weights (.bin): input float32 [1,3,H,W], output float32 [1,7].

    Raises TargetUnavailable where the operations cannot be had: they prove themselves on the machine that makes them.
    """
    assert calibration is not None
    library = fused.library()
    _, layers = quantize.quantized(parent, replace(recipe, form="folded"), calibration, path.with_suffix(".float.onnx"))
    trained = checkpoint.load(parent.path, parent.variant)
    network = deploy_form(trained, "folded", smoothing=smoothing(parent, trained, calibration, recipe))
    operation = _operations(library)
    pixels = ops.parameter([1, *parent.input_spec.shape], np.float32, name=INPUT)
    x = pixels
    for name, module in network.named_modules():
        if isinstance(module, DeployStem):
            layer = layers[f"{name}.conv"]
            norm = _rows(module.norm.weight.numpy(), module.norm.bias.numpy())
            x = operation(
                "Stem",
                [x, _quads(_columns(layer, channels_last=False)), np.concatenate([_scale_and_bias(layer), norm])],
                {"stride": module.conv.stride[0], "outputs": module.conv.out_channels},
            )
        elif isinstance(module, DeployDownsample):
            layer = layers[f"{name}.conv"]
            x = operation(
                "Downsample",
                [x, _quads(_columns(layer)), _scale_and_bias(layer)],
                {
                    "inverse_step": 1 / layer.scale,
                    "kernel": module.conv.kernel_size[0],
                    "outputs": module.conv.out_channels,
                },
            )
        elif isinstance(module, DeployBlock):
            expand, project = layers[f"{name}.expand"], layers[f"{name}.project"]
            taps = module.depthwise.weight.detach().numpy().reshape(module.depthwise.out_channels, -1).T  # [49,C]
            assert module.depthwise.bias is not None
            response = np.stack([module.grn.one.flatten().numpy(), module.grn.gamma.flatten().numpy()])
            x = operation(
                "Block",
                [
                    x,
                    _rows(*taps, module.depthwise.bias.detach().numpy()),
                    _quads(_columns(expand)),
                    _scale_and_bias(expand),
                    (response / project.scale).astype(np.float32),
                    _quads(_columns(project)),
                    _scale_and_bias(project),
                ],
                {"inverse_step": 1 / expand.scale},
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


def _operations(library: Path) -> Callable[[str, list[Any], dict[str, Any]], openvino.Node]:
    from openvino.utils.node_factory import NodeFactory

    factory = NodeFactory()
    factory.add_extension(str(library))

    def operation(kind: str, arguments: list[Any], attributes: dict[str, Any]) -> openvino.Node:
        source, *constants = arguments
        inputs = [source, *(ops.constant(np.ascontiguousarray(each)) for each in constants)]
        return factory.create(kind, [each.output(0) for each in inputs], attributes)

    return operation


def _columns(layer: QuantizedLayer, *, channels_last: bool = True) -> NDArray[np.int8]:
    """[C_out, depth], in the order in which the operation reads its input: [ky,kx,C], a stem's [C,ky,kx]."""
    weight = layer.weight.transpose(0, 2, 3, 1) if channels_last else layer.weight
    return weight.reshape(len(weight), -1)


def _quads(columns: NDArray[np.int8]) -> NDArray[np.int8]:
    """[C_out, depth] -> [padded C_out / 16, depth / 4, 16, 4], with zeros for the outputs that do not exist."""
    outputs, depth = columns.shape
    padded = np.zeros((_padded(outputs), depth), np.int8)
    padded[:outputs] = columns
    return padded.reshape(-1, LANES, depth // 4, 4).transpose(0, 2, 1, 3)


def _scale_and_bias(layer: QuantizedLayer) -> Float:
    """[2, padded C_out]: of the product's sums, and what is left when the zero-point of its bytes is taken back."""
    scale = layer.scale * layer.weight_scale.astype(np.float64)
    sums = layer.weight.reshape(len(layer.weight), -1).astype(np.int64).sum(axis=1)
    return _rows(scale, layer.bias - ZERO * scale * sums)


def _rows(*vectors: NDArray[Any]) -> Float:
    """[N] of them, each with zeros up to a whole number of lanes."""
    rows = np.zeros((len(vectors), _padded(len(vectors[0]))), np.float32)
    for row, vector in zip(rows, vectors):
        row[: len(vector)] = vector
    return rows


def _padded(channels: int) -> int:
    return -(-channels // LANES) * LANES

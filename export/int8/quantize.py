"""ONNX INT8: one symmetric Q/DQ graph for ONNX Runtime, TensorRT and OpenVINO.

Only the inputs and weights of convolutions are quantised: s8, zero-point 0, activations per tensor, weights per output
channel. LayerNorm, GELU, GRN, residual additions and the classifier read the values as they were. The pixels, x - 128,
get scale 1 and lose nothing. TensorRT takes no int32 bias behind a DequantizeLinear, so biases stay in float.

The rest is float32 or, as the recipe says, float16 with float32 islands. Both come from one quantisation, of the
float32 graph: every scale is a normal float16 number, so both hold the same int8 weights and round at the same places.
The stem's scales are too small for that beside whole pixels; where the rest is float16, they are 128 times as large and
the pixels are divided by 128 first, which is exact.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from lc2fer.errors import UsageError
from lc2fer.recipe import INPUT, Calibration, Recipe, means

from . import ranges
from .recorded import Ranges

SMALLEST_SCALE = 2.0**-14  # the smallest normal float16 number
PIXEL_STEP = 2.0**-7  # of the pixels where the rest is float16: -1..1 instead of -128..127


@dataclass(frozen=True)
class QuantizedLayer:
    """One convolution's numbers, for a float32 graph."""

    scale: float  # of its input
    weight: NDArray[np.int8]  # [C_out, C_in / groups, k, k]
    weight_scale: NDArray[np.float32]  # [C_out]
    bias: NDArray[np.float32]  # [C_out]


def convolutions(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Layer -> its node, in the order of the forward pass; export/formats/onnx.py names the nodes."""
    return {node.name: node for node in graph.node if node.op_type == "Conv"}


def quantize(
    model: onnx.ModelProto,
    images: Iterable[NDArray[np.float32]] | Ranges,
    wanted: Calibration,
    chosen: Mapping[str, float] = MappingProxyType({}),
    by_row: Collection[str] = (),
) -> dict[str, QuantizedLayer]:
    """The numbers of every convolution of a float32 graph, its ranges chosen over the images [1,3,H,W], or known.

    `chosen` has the clips of layers for which somebody else has chosen: layer -> magnitude. Layers `by_row` have a
    scale of 1, which each of their input's pixels multiplies by a step of its own.
    """
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = convolutions(model.graph)
    stem = next(iter(nodes))
    if isinstance(images, Ranges):
        clips = images.clips
    else:
        tensors = {layer: node.input[0] for layer, node in nodes.items() if layer not in {stem, *chosen, *by_row}}
        seen = ranges.collect(model, tensors, images)
        clips = {layer: ranges.clip(histogram, wanted) for layer, histogram in seen.items()} | dict(chosen)
    found = {}
    for layer, node in nodes.items():
        weight = constants[node.input[1]].astype(np.float64)
        unit = PIXEL_STEP if layer == stem else 1.0
        largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
        weight_scale = _half(largest / ranges.LEVELS / unit) * unit
        columns = weight_scale.reshape(-1, *(1,) * (weight.ndim - 1))
        found[layer] = QuantizedLayer(
            scale=1.0 if layer in {stem, *by_row} else float(_half(clips[layer] / ranges.LEVELS)),
            weight=np.clip(np.rint(weight / columns), -ranges.LEVELS, ranges.LEVELS).astype(np.int8),
            weight_scale=weight_scale.astype(np.float32),
            bias=constants[node.input[2]],
        )
    return found


def corrected(
    model: onnx.ModelProto,
    layers: Mapping[str, QuantizedLayer],
    images: Iterable[NDArray[np.float32]] | Ranges,
    by_row: Collection[str] = (),
) -> dict[str, QuantizedLayer]:
    """The layers with biases that take back each channel's mean error over the images, measured here or known."""
    if isinstance(images, Ranges):
        found = {**images.errors, **{layer: images.row_errors[layer] for layer in by_row}}
    else:
        found = errors(model, layers, images, by_row)
    return {
        layer: replace(numbers, bias=(numbers.bias - found[layer]).astype(np.float32))
        for layer, numbers in layers.items()
    }


def errors(
    model: onnx.ModelProto,
    layers: Mapping[str, QuantizedLayer],
    images: Iterable[NDArray[np.float32]],
    by_row: Collection[str] = (),
) -> dict[str, NDArray[np.float64]]:
    """Each channel's mean error over the images, [C_out] a layer.

    The error is that of quantising this layer's input and weights alone (Nagel et al., arXiv 1906.04721, section 4.2),
    measured, so padding counts as it is: each convolution runs a second time beside itself, on rounded values.
    """
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    graph = probed.graph
    graph.initializer.append(numpy_helper.from_array(np.array([0, 2, 3], np.int64), "error.axes"))
    for layer, node in convolutions(model.graph).items():
        if layer not in layers:
            continue
        beside = onnx.NodeProto()
        beside.CopyFrom(node)
        nodes = _rounded(graph, beside, layers[layer], np.dtype(np.float32), layer in by_row)
        beside.name = beside.output[0] = f"{layer}.beside"
        difference = helper.make_node("Sub", [beside.output[0], node.output[0]], [f"{layer}.error"])
        mean = helper.make_node("ReduceMean", [f"{layer}.error", "error.axes"], [f"{layer}.mean"], keepdims=0)
        graph.node.extend([*nodes, beside, difference, mean])
    outputs = [f"{layer}.mean" for layer in layers]
    session = ranges.session_of(probed, outputs=outputs)
    sums = {layer: np.zeros(len(numbers.bias)) for layer, numbers in layers.items()}
    count = 0
    for found in ranges.runs(session, outputs, images):
        count += 1
        for layer, error in zip(sums, found):
            sums[layer] += error
    return {layer: total / count for layer, total in sums.items()}


def insert(
    model: onnx.ModelProto, layers: Mapping[str, QuantizedLayer], recipe: Recipe, by_row: Collection[str] = ()
) -> None:
    """Put Q/DQ pairs before the convolutions of a float graph, float16 or float32 as the recipe's rest is.

    The layers that the recipe keeps are left as they are; those `by_row` round their input as lc2fer/kernels does.
    Raises UsageError where there is no layer of such a name.
    """
    graph = model.graph
    _check_kept(layers, recipe)
    stem = next(iter(layers))
    dtype = np.dtype(np.float16 if recipe.rest == "fp16" else np.float32)
    chosen = {layer: numbers for layer, numbers in layers.items() if not recipe.keeps(layer)}
    if recipe.rest == "fp16" and stem in chosen:
        _step_pixels(graph)
        chosen[stem] = replace(
            chosen[stem], scale=PIXEL_STEP, weight_scale=chosen[stem].weight_scale / np.float32(PIXEL_STEP)
        )
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "Conv" and node.name in chosen:
            nodes += _rounded(graph, node, chosen[node.name], dtype, node.name in by_row)
        nodes.append(node)
    _replace_nodes(graph, nodes)


def insert_rows(graph: onnx.GraphProto, layers: Mapping[str, QuantizedLayer], recipe: Recipe) -> None:
    """Put Q/DQ pairs before the products of rows of a float32 graph; convolutions stay in float.

    ONNX Runtime runs a product with Q/DQ on its two inputs and none behind as one 8-bit operation, but only the
    unsigned form of it is fast: the same values are held as u8 with zero-point 128.
    """
    _check_kept(layers, recipe)
    constants = {tensor.name for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "MatMul" and node.name in layers and not recipe.keeps(node.name):
            numbers = layers[node.name]
            rows = np.ascontiguousarray(numbers.weight.reshape(len(numbers.weight), -1).T)
            product = node.output[0]
            nodes += _pairs(
                graph, node, replace(numbers, weight=rows), np.dtype(np.float32), zero=np.uint8(128), axis=1
            )
            bias = node.input.pop()
            reader = next(each for each in graph.node if product in each.input)
            if reader.op_type == "Add" and constants.intersection(reader.input):
                reader.input[:] = [product, bias]
            else:  # the exporter leaves out biases of nothing but zeros
                node.output[0] = f"{node.name}.product"
                nodes.append(node)
                node = helper.make_node("Add", [node.output[0], bias], [product], f"{node.name}.add")
        nodes.append(node)
    _replace_nodes(graph, nodes)


def _replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Give the graph these nodes, and leave out the constants that none of them reads."""
    read = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)


def _check_kept(layers: Iterable[str], recipe: Recipe) -> None:
    known = list(layers)
    for name in recipe.kept:
        if not any(means(name, layer) for layer in known):
            raise UsageError(
                f"There is no layer {name!r} to keep in float. Expected one of {', '.join(known)}. Correct the recipe."
            )


def _pairs(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    numbers: QuantizedLayer,
    dtype: np.dtype[np.float16 | np.float32],
    *,
    zero: np.int8 | np.uint8 = np.int8(0),  # noqa: B008 - a number
    axis: int = 0,
) -> list[onnx.NodeProto]:
    """Make a layer read rounded values; returns the nodes that give them, their constants are in the graph.

    `zero` is the activations' zero-point, `axis` that of the weights' output channels.
    """
    layer, source = node.name, node.input[0]
    constants = {
        f"{layer}.input.scale": np.asarray(numbers.scale, dtype),
        f"{layer}.input.zero": zero,
        f"{layer}.weight.int8": numbers.weight,
        f"{layer}.weight.scale": numbers.weight_scale.astype(dtype),
        f"{layer}.weight.zero": np.zeros(len(numbers.weight_scale), np.int8),
        f"{layer}.bias.{dtype}": numbers.bias.astype(dtype),
    }
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    scale, zero_point, weight, weight_scale, weight_zero, bias = constants
    rounded, value, weight_value = f"{layer}.input.int8", f"{layer}.input.value", f"{layer}.weight.value"
    node.input[:] = [value, weight_value, bias]
    return [
        helper.make_node("QuantizeLinear", [source, scale, zero_point], [rounded], f"{layer}.input.quantize"),
        helper.make_node("DequantizeLinear", [rounded, scale, zero_point], [value], f"{layer}.input.dequantize"),
        helper.make_node(
            "DequantizeLinear",
            [weight, weight_scale, weight_zero],
            [weight_value],
            f"{layer}.weight.dequantize",
            axis=axis,
        ),
    ]


def _rounded(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    numbers: QuantizedLayer,
    dtype: np.dtype[np.float16 | np.float32],
    by_row: bool,
) -> list[onnx.NodeProto]:
    """Make a layer read rounded values, [N,C,H,W]: all in one step, or each pixel in 127 of its own."""
    source = node.input[0]
    *pair, weight = _pairs(graph, node, numbers, dtype)
    if not by_row:
        return [*pair, weight]
    layer = node.name
    constants = {"axis": np.array([1], np.int64), "levels": np.float32(ranges.LEVELS), "least": np.float32(1e-30)}
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"{layer}.row.{name}") for name, value in constants.items()
    )
    axis, levels, least = (f"{layer}.row.{name}" for name in constants)
    steps = (
        ("Abs", [source], "size"),
        ("ReduceMax", [f"{layer}.row.size", axis], "most"),
        ("Max", [f"{layer}.row.most", least], "some"),
        ("Div", [f"{layer}.row.some", levels], "step"),
        ("Div", [source, f"{layer}.row.step"], "steps"),
        ("Round", [f"{layer}.row.steps"], "whole"),
        ("Mul", [f"{layer}.row.whole", f"{layer}.row.step"], "value"),
    )
    node.input[0] = f"{layer}.row.value"
    return [*(helper.make_node(kind, inputs, [f"{layer}.row.{name}"]) for kind, inputs, name in steps), weight]


def _step_pixels(graph: onnx.GraphProto) -> None:
    """Multiply the centred pixels by PIXEL_STEP, still in float32."""
    place, centre = next((place, node) for place, node in enumerate(graph.node) if INPUT in node.input)
    centred = centre.output[0]
    centre.output[0] = "pixels.centred"
    graph.initializer.append(numpy_helper.from_array(np.array(PIXEL_STEP, np.float32), "pixels.step"))
    graph.node.insert(place + 1, helper.make_node("Mul", ["pixels.centred", "pixels.step"], [centred], "pixels.divide"))


def _half(values: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Scales rounded to normal float16 numbers, so that float16 graphs hold the same ones."""
    return np.maximum(np.asarray(values, np.float16).astype(np.float64), SMALLEST_SCALE)

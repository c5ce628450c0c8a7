"""What an ONNX graph has to be, so that every engine takes it and computes what was measured here.

TensorRT from 10.3 reads the precisions from the file and refuses, or runs slowly and wrong, what breaks one of these
rules. Each finding names the rule, the node and what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from lc2fer.errors import LintError
from lc2fer.network.fuse import CENTRE
from lc2fer.recipe import BATCH, HALF_SCALES, INPUT, NEWEST_OPSET, Recipe, means

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
# Sums and what is made of them: in float16 they overflow or cancel. GRN's norm, LayerNorm in both forms, the pool.
ISLANDS = frozenset({"LayerNormalization", "ReduceL2", "ReduceMean", "ReduceSum", "ReduceSumSquare", "Sqrt", "Pow"})


@dataclass(frozen=True)
class Finding:
    """One broken rule; `node` is the node's name, or the input's or output's."""

    rule: str
    node: str
    text: str

    def __str__(self) -> str:
        return f"{self.node} breaks the rule {self.rule!r} ({self.text})"


class _Graph:
    """A graph with what the rules ask of it."""

    def __init__(self, model: onnx.ModelProto, recipe: Recipe) -> None:
        self.model = model
        self.recipe = recipe
        self.nodes = list(model.graph.node)
        self.constants: dict[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self.maker = {name: node for node in self.nodes for name in node.output}

    @cached_property
    def types(self) -> dict[str, int]:
        """Tensor -> element type, inferred: what the file says of its inner tensors may be wrong."""
        bare = onnx.ModelProto()
        bare.CopyFrom(self.model)
        del bare.graph.value_info[:]
        graph = onnx.shape_inference.infer_shapes(bare).graph
        known = [*graph.value_info, *graph.input, *graph.output]
        found = {value.name: value.type.tensor_type.elem_type for value in known}
        return found | {tensor.name: tensor.data_type for tensor in graph.initializer}

    @cached_property
    def first_axes(self) -> dict[str, str]:
        """Input or output -> the name of its first axis, by ONNX's own shape inference for outputs; "" for a number."""
        bare = onnx.ModelProto()
        bare.CopyFrom(self.model)
        for output in bare.graph.output:
            output.type.tensor_type.ClearField("shape")
        graph = onnx.shape_inference.infer_shapes(bare, data_prop=True).graph
        values = [*graph.input, *graph.output]
        axes = {value.name: value.type.tensor_type.shape.dim for value in values}
        return {name: axis[0].dim_param if axis else "" for name, axis in axes.items()}

    @cached_property
    def opset(self) -> int:
        return max((entry.version for entry in self.model.opset_import if not entry.domain), default=0)

    @cached_property
    def convolutions(self) -> dict[str, onnx.NodeProto]:
        return {node.name: node for node in self.nodes if node.op_type == "Conv"}

    @cached_property
    def pairs(self) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if node.op_type in (QUANTIZE, DEQUANTIZE)]

    def dequantizer(self, name: str) -> onnx.NodeProto | None:
        """The DequantizeLinear that makes a tensor."""
        node = self.maker.get(name)
        return node if node is not None and node.op_type == DEQUANTIZE else None

    def of_constant(self, node: onnx.NodeProto) -> bool:
        """Whether a Q or DQ node works on a constant: a weight or a bias."""
        return node.input[0] in self.constants


def lint(model: onnx.ModelProto, recipe: Recipe) -> list[Finding]:
    """All rules that a graph breaks, in the order of the rules; none for a good one.

    A recipe of fp32 or fp16 is asked about opset, inputs and outputs, islands, and that nothing is quantised.
    """
    graph = _Graph(model, recipe)
    rules = FLOAT_RULES if recipe.precision != "int8" else ROWS_RULES if recipe.form == "rows" else RULES
    return [Finding(rule.__name__[1:].replace("_", "-"), *found) for rule in rules for found in rule(graph)]


def check(path: Path, recipe: Recipe) -> None:
    """Raise LintError, naming the first node and rule, where the graph of that file breaks any."""
    findings = lint(onnx.load_model(path), recipe)
    if findings:
        more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
        raise LintError(
            f"{path.name} was made, but {findings[0]}{more}. A graph that every engine runs as it was measured was "
            "expected. The artifact was not kept; report it."
        )


def _opset(graph: _Graph) -> Iterator[tuple[str, str]]:
    lowest = HALF_SCALES if graph.recipe.rest == "fp16" else 17
    if not lowest <= graph.opset <= NEWEST_OPSET:
        yield "graph", f"its opset is {graph.opset}, expected {lowest} to {NEWEST_OPSET}"
    for entry in graph.model.opset_import:
        if entry.domain not in ("", "ai.onnx"):
            yield "graph", f"it uses the operators of {entry.domain!r}, expected those of ONNX alone"


def _io(graph: _Graph) -> Iterator[tuple[str, str]]:
    for kind, values in (("input", graph.model.graph.input), ("output", graph.model.graph.output)):
        for value in values:
            found = value.type.tensor_type.elem_type
            if found != TensorProto.FLOAT:
                yield value.name, f"the {kind} is {TensorProto.DataType.Name(found)}, expected FLOAT"


def _batch(graph: _Graph) -> Iterator[tuple[str, str]]:
    for name, axis in graph.first_axes.items():
        if graph.recipe.batch is None and axis != BATCH:
            yield name, f"its first axis is {axis or 'fixed'!r}, expected {BATCH!r}, any number of images"


def _islands(graph: _Graph) -> Iterator[tuple[str, str]]:
    for node in graph.nodes:
        if node.op_type in ISLANDS:
            found = graph.types.get(node.input[0], TensorProto.UNDEFINED)
            if found != TensorProto.FLOAT:
                name = TensorProto.DataType.Name(found)
                yield node.name, f"{node.op_type} is computed in {name}, expected an island in FLOAT"


def _kept(graph: _Graph) -> Iterator[tuple[str, str]]:
    if graph.recipe.precision != "int8":
        for node in graph.pairs:
            yield node.name, f"{node.op_type} in a graph of {graph.recipe.precision}, expected nothing quantised"
    for layer in filter(graph.recipe.keeps, graph.convolutions):
        for name, what in zip(graph.convolutions[layer].input, ("its input is", "its weights are")):
            if graph.dequantizer(name) is not None:
                yield layer, f"{what} quantised, expected float: the recipe keeps this layer"
    for name in graph.recipe.kept:
        if not any(means(name, layer) for layer in graph.convolutions):
            yield name, "the recipe keeps this layer, and there is none of that name"


def _quantised(graph: _Graph) -> Iterator[tuple[str, str]]:
    for layer, node in graph.convolutions.items():
        if graph.recipe.keeps(layer):
            continue
        activation, weight = (graph.dequantizer(name) for name in node.input[:2])
        if activation is None or graph.of_constant(activation):
            yield layer, "its input is not quantised, expected a Q/DQ pair before it"
        if weight is None:
            yield layer, "its weights are not quantised, expected int8 ones behind a DequantizeLinear"
    for node in graph.nodes:
        if "Integer" in node.op_type or node.op_type.startswith(("QLinear", "DynamicQuantize")):
            yield node.name, f"{node.op_type} is an operator for one engine, expected Q/DQ pairs around float ones"


def _readers(graph: _Graph) -> Iterator[tuple[str, str]]:
    for node in graph.nodes:
        for name in node.input:
            if node.op_type != "Conv" and graph.dequantizer(name) is not None:
                yield node.name, f"{node.op_type} reads the quantised {name}, expected the value as it was"
    for value in graph.model.graph.output:
        if graph.dequantizer(value.name) is not None:
            yield value.name, "the output is quantised, expected the logits as they are"


def _symmetric(graph: _Graph) -> Iterator[tuple[str, str]]:
    for node in graph.pairs:
        zero = graph.constants.get(node.input[2]) if len(node.input) > 2 else None
        if zero is None:
            yield node.name, "it has no constant zero-point, expected an int8 zero"
        elif zero.dtype == np.int32:
            continue  # a bias has a rule of its own
        elif zero.dtype != np.int8:
            yield node.name, f"its zero-point is {zero.dtype}, expected int8"
        elif zero.any():
            yield node.name, f"its zero-point is {int(zero[zero != 0].flat[0])}, expected 0"


def _per_tensor(graph: _Graph) -> Iterator[tuple[str, str]]:
    for node in graph.pairs:
        scale = graph.constants.get(node.input[1])
        if not graph.of_constant(node) and scale is not None and scale.ndim:
            yield node.name, f"an activation has a scale of shape {list(scale.shape)}, expected one number"


def _per_channel(graph: _Graph) -> Iterator[tuple[str, str]]:
    for layer, conv in graph.convolutions.items():
        node = graph.dequantizer(conv.input[1])
        if node is None:
            continue
        weight, scale = graph.constants.get(node.input[0]), graph.constants.get(node.input[1])
        if weight is None or weight.dtype != np.int8:
            yield node.name, f"the weights of {layer} are no int8 constant, expected one"
            continue
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        if axis != 0:
            yield node.name, f"the weights' scales run along axis {axis}, expected 0, the output channels"
        elif scale is not None and scale.shape != weight.shape[:1]:
            yield node.name, f"the weights' scales are {list(scale.shape)}, expected {[len(weight)]}, one a channel"


def _bias(graph: _Graph) -> Iterator[tuple[str, str]]:
    for layer, node in graph.convolutions.items():
        if len(node.input) > 2 and graph.dequantizer(node.input[2]) is not None:
            yield layer, "its bias is behind a DequantizeLinear, which TensorRT refuses; expected a float constant"


def _pair(graph: _Graph) -> Iterator[tuple[str, str]]:
    for node in graph.pairs:
        if node.op_type == QUANTIZE or graph.of_constant(node):
            continue
        quantizer = graph.maker.get(node.input[0])
        if quantizer is None or quantizer.op_type != QUANTIZE:
            yield node.name, "it dequantises what no QuantizeLinear gave, expected a pair"
            continue
        scales = [graph.constants.get(each.input[1]) for each in (quantizer, node)]
        if scales[0] is None or scales[1] is None or not np.array_equal(scales[0], scales[1]):
            yield node.name, f"its scale differs from that of {quantizer.name}, expected the same"


def _scales(graph: _Graph) -> Iterator[tuple[str, str]]:
    wanted = np.dtype(np.float16 if graph.recipe.rest == "fp16" else np.float32)
    for node in graph.pairs:
        scale = graph.constants.get(node.input[1])
        if scale is None:
            yield node.name, "its scale is computed, expected a constant"
        elif scale.dtype != wanted:
            yield node.name, f"its scale is {scale.dtype}, expected {wanted}"
        elif (bad := scale[~(np.isfinite(scale) & (scale >= np.finfo(wanted).tiny))]).size:
            yield node.name, f"its scale is {bad.flat[0]:g}, expected a finite, normal {wanted} above 0"


def _pixels(graph: _Graph) -> Iterator[tuple[str, str]]:
    name, step, centred = INPUT, 1.0, False
    while (node := next((node for node in graph.nodes if name in node.input), None)) is not None:
        constant = graph.constants.get(node.input[1], np.array(np.nan)) if len(node.input) > 1 else np.array(np.nan)
        if node.op_type == "Sub" and (constant == CENTRE).all():
            centred = True
        elif node.op_type == "Mul" and (np.frexp(constant)[0] == 0.5).all():  # by a power of two: exact
            step *= float(constant)
        elif node.op_type != "Cast":
            break
        name = node.output[0]
    if not centred:
        yield INPUT, f"the pixels are not centred, expected {CENTRE:g} to be subtracted from them first"
    if node is not None and node.op_type == QUANTIZE:
        scale = graph.constants.get(node.input[1])
        if scale is not None and (scale != step).any():
            yield node.name, f"the pixels' scale is {scale.flat[0]:g}, expected {step:g}, which loses nothing"


# node, text
FLOAT_RULES: tuple[Callable[[_Graph], Iterator[tuple[str, str]]], ...] = (_opset, _io, _batch, _islands, _kept)
RULES = (
    *FLOAT_RULES,
    _quantised,
    _readers,
    _symmetric,
    _per_tensor,
    _per_channel,
    _bias,
    _pair,
    _scales,
    _pixels,
)
# Of graphs for ONNX Runtime alone, u8 with zero-point 128 on products of rows.
ROWS_RULES = (_opset, _io, _batch, _islands, _per_tensor, _pair, _scales)

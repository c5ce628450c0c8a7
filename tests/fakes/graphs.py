"""Small edits of ONNX graphs."""

from __future__ import annotations

from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Model = onnx.ModelProto


def node_of(model: Model, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def put(model: Model, name: str, value: NDArray[Any]) -> None:
    """Give a constant another value, or add one."""
    others = [tensor for tensor in model.graph.initializer if tensor.name != name]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*others, numpy_helper.from_array(value, name)])


def constant(model: Model, name: str) -> NDArray[Any]:
    return numpy_helper.to_array(next(tensor for tensor in model.graph.initializer if tensor.name == name))


def of_type(model: Model, operator: str, place: int = 0) -> onnx.NodeProto:
    return [node for node in model.graph.node if node.op_type == operator][place]

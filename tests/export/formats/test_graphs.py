"""What is in the graphs: names, precisions, and which tensors are quantised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lc2fer.artifact import Artifact

Exported = Callable[[str], Artifact]
LAST = "stages.2.1.project"  # behind GRN: it has no one range


def graph_of(artifact: Artifact) -> onnx.GraphProto:
    return onnx.load_model(artifact.path).graph


@pytest.mark.parametrize("target", ["onnx-fp32", "onnx-fp16", "onnx-int8"])
def test_input_and_output_are_float32(target: str, exported: Exported) -> None:
    model = onnx.load_model(exported(target).path)
    assert [(entry.domain, entry.version) for entry in model.opset_import if not entry.domain] == [("", 18)]
    for value, name, shape in (
        (model.graph.input[0], "pixels", ["batch", 3, 32, 32]),
        (model.graph.output[0], "logits", ["batch", 7]),
    ):
        assert value.name == name
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        assert [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] == shape


def test_deploy_form_is_what_engines_fuse(exported: Exported) -> None:
    counts = Counter(node.op_type for node in graph_of(exported("onnx-fp32")).node)
    assert counts["Conv"] == 3 + 3 * 3  # a downsample and three convolutions a block, in three stages
    assert counts["LayerNormalization"] == 3 + 3 + 1
    assert counts["ReduceSum"] == 3  # GRN; ONNX Runtime is slow at ReduceL2
    assert counts["MatMul"] == 0


def test_only_convolutions_are_quantised(exported: Exported) -> None:
    graph = graph_of(exported("onnx-int8"))
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert [node.name for node in convolutions if node.name + ".weight.int8" not in initializers] == [LAST]
    for node in convolutions[:-1]:
        activation, weight = (made_by[name] for name in node.input[:2])
        assert (activation.op_type, weight.op_type) == ("DequantizeLinear", "DequantizeLinear")
        assert initializers[activation.input[1]].shape == ()  # per tensor
        assert len(initializers[weight.input[1]]) == initializers[weight.input[0]].shape[0]  # per output channel
        assert initializers[node.input[2]].dtype == np.float32  # no int32 bias
    dequantised = {output for output, node in made_by.items() if node.op_type == "DequantizeLinear"}
    readers = {node.op_type for node in graph.node if dequantised & set(node.input)}
    assert readers == {"Conv"}  # the residual additions read the tensor as it was
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert (initializers[node.input[1]] > 0).all()
            zero = initializers[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()


def test_pixels_are_quantised_without_loss(exported: Exported) -> None:
    graph = graph_of(exported("onnx-int8"))
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    centre = next(node for node in graph.node if "pixels" in node.input)
    quantise = next(node for node in graph.node if centre.output[0] in node.input)
    assert (centre.op_type, float(initializers[centre.input[1]])) == ("Sub", 128.0)
    assert (quantise.op_type, float(initializers[quantise.input[1]])) == ("QuantizeLinear", 1.0)


def test_float16_has_float32_islands(exported: Exported) -> None:
    graph = onnx.shape_inference.infer_shapes(onnx.load_model(exported("onnx-fp16").path)).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in ("ReduceSum", "LayerNormalization"):
            assert types[node.input[0]] == onnx.TensorProto.FLOAT, node.name
        if node.op_type == "Conv":
            assert types[node.input[1]] == onnx.TensorProto.FLOAT16, node.name


def test_openvino_quantises_only_convolutions(exported: Exported) -> None:
    import openvino

    model = openvino.Core().read_model(exported("openvino-int8").path)
    quantised: Counter[str] = Counter()
    for node in model.get_ops():
        if node.get_type_name() == "FakeQuantize":
            quantised.update(target.get_node().get_type_name() for target in node.output(0).get_target_inputs())
    assert quantised == {"Convolution": 8}  # the last behind GRN has no one range; depthwise ones are as fast in float

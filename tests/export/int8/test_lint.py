"""Every rule of the linter, each broken by one edit of a good graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graphs import constant, node_of, of_type, put
from lc2fer.export.formats import qdq
from lc2fer.export.int8 import lint
from lc2fer.export.pipeline import Pipeline
from onnx import TensorProto, helper

from lc2fer.artifact import Artifact
from lc2fer.errors import LintError
from lc2fer.targets import FILES, TARGETS

Exported = Callable[[str], Artifact]
Model = onnx.ModelProto
SINGLE, HALF = "onnx-int8", "onnx-int8-fp16"
# The rules are of ONNX's own nodes.
ONNX_TARGETS = [name for name in FILES if TARGETS[name].kind == "onnx" and TARGETS[name].instead is None]


def set_opset(version: int) -> Callable[[Model], None]:
    def damage(model: Model) -> None:
        next(entry for entry in model.opset_import if not entry.domain).version = version

    return damage


def set_constant(name: str, *values: float, dtype: type[Any]) -> Callable[[Model], None]:
    """One value: a scalar; more: a vector."""
    return lambda model: put(model, name, np.array(values if len(values) > 1 else values[0], dtype))


def set_one_scale(value: float) -> Callable[[Model], None]:
    """Of the third channel of a weight, in the scale's own type."""

    def damage(model: Model) -> None:
        scale = constant(model, "stages.1.0.conv.weight.scale").copy()
        scale[2] = value
        put(model, "stages.1.0.conv.weight.scale", scale)

    return damage


def set_scales_type(dtype: type[Any]) -> Callable[[Model], None]:
    name = "stages.1.0.conv.weight.scale"
    return lambda model: put(model, name, constant(model, name).astype(dtype))


def rewire(node: str, place: int, source: str) -> Callable[[Model], None]:
    def damage(model: Model) -> None:
        node_of(model, node).input[place] = source

    return damage


def add_domain(model: Model) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def half_input(model: Model) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def double_output(model: Model) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def leave_island(operator: str) -> Callable[[Model], None]:
    """Take the cast before it away; GRN's norm and LayerNorm then run in what they are given."""

    def damage(model: Model) -> None:
        node = of_type(model, operator)
        makers = {name: maker for maker in model.graph.node for name in maker.output}
        while makers[node.input[0]].op_type != "Cast":  # the transpose before LayerNorm, the squares before the sum
            node = makers[node.input[0]]
        cast = makers[node.input[0]]
        node.input[:] = [cast.input[0] if name == cast.output[0] else name for name in node.input]

    return damage


def add_pair(model: Model) -> None:
    """Before the classifier."""
    put(model, "s", np.array(0.5, np.float32))
    put(model, "z", np.array(0, np.int8))
    gemm = of_type(model, "Gemm")
    place = list(model.graph.node).index(gemm)
    model.graph.node.insert(place, helper.make_node("QuantizeLinear", [gemm.input[0], "s", "z"], ["q"], "extra.q"))
    model.graph.node.insert(place + 1, helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "extra.d"))
    of_type(model, "Gemm").input[0] = "d"


def quantise_output(model: Model) -> None:
    put(model, "s", np.array(0.5, np.float32))
    put(model, "z", np.array(0, np.int8))
    of_type(model, "Gemm").output[0] = "raw"
    model.graph.node.append(helper.make_node("QuantizeLinear", ["raw", "s", "z"], ["q"], "extra.q"))
    model.graph.node.append(helper.make_node("DequantizeLinear", ["q", "s", "z"], ["logits"], "extra.d"))


def drop_zero(model: Model) -> None:
    del node_of(model, "stages.1.1.expand.input.quantize").input[2]


def quantise_bias(model: Model) -> None:
    """As quantizers do by default."""
    put(model, "b", np.zeros(80, np.int32))
    put(model, "z", np.array(0, np.int32))
    put(model, "s", np.array(0.5, np.float32))
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["b", "s", "z"], ["bias"], "bias.d"))
    node_of(model, "stages.1.0.conv").input[2] = "bias"


def turn_axis(model: Model) -> None:
    node_of(model, "stages.1.0.conv.weight.dequantize").attribute[0].i = 1


def drop_axis(model: Model) -> None:
    """ONNX then takes 1."""
    del node_of(model, "stages.1.0.conv.weight.dequantize").attribute[:]


def float_weights(model: Model) -> None:
    """A Q/DQ pair on float weights, as quantizers give where they are told to keep them."""
    weight = constant(model, "stages.1.0.conv.weight.int8").astype(np.float32)
    put(model, "w", weight)
    scale, zero = node_of(model, "stages.1.0.conv.weight.dequantize").input[1:]
    quantizer = helper.make_node("QuantizeLinear", ["w", scale, zero], ["w8"], "weight.q", axis=0)
    model.graph.node.insert(0, quantizer)
    node_of(model, "stages.1.0.conv.weight.dequantize").input[0] = "w8"


def own_scale(model: Model) -> None:
    put(model, "s", np.array(0.5, np.float32))
    node_of(model, "stages.1.1.expand.input.dequantize").input[1] = "s"


def computed_scale(model: Model) -> None:
    for name in ("quantize", "dequantize"):
        node_of(model, f"stages.1.1.expand.input.{name}").input[1] = "s"
    scale = helper.make_node("Abs", ["stages.1.1.expand.input.scale"], ["s"], "abs")
    model.graph.node.insert(0, scale)


def integer_convolution(model: Model) -> None:
    model.graph.node.append(helper.make_node("ConvInteger", ["x", "w"], ["y"], "conv.i"))


def other_centre(model: Model) -> None:
    centre = of_type(model, "Sub")
    put(model, centre.input[1], np.array(127.5, np.float32))


def fix_batch(model: Model) -> None:
    """As an exporter does that takes the example's batch for a constant."""
    put(model, "shape", np.array([1, 7], np.int64))
    of_type(model, "Gemm").output[0] = "raw"
    model.graph.node.append(helper.make_node("Reshape", ["raw", "shape"], ["logits"], "reshape"))


DAMAGES = [
    ("onnx-fp32", fix_batch, "batch", "logits", "its first axis is 'fixed', expected 'batch', any number of images"),
    (SINGLE, set_opset(21), "opset", "graph", "its opset is 21, expected 17 to 20"),
    (HALF, set_opset(18), "opset", "graph", "its opset is 18, expected 19 to 20"),
    ("onnx-fp16", set_opset(16), "opset", "graph", "its opset is 16, expected 17 to 20"),
    (SINGLE, add_domain, "opset", "graph", "it uses the operators of 'com.microsoft', expected those of ONNX alone"),
    ("onnx-fp16", half_input, "io", "pixels", "the input is FLOAT16, expected FLOAT"),
    (SINGLE, double_output, "io", "logits", "the output is DOUBLE, expected FLOAT"),
    ("onnx-fp32", add_pair, "kept", "extra.q", "QuantizeLinear in a graph of fp32, expected nothing quantised"),
    (SINGLE, add_pair, "readers", "node_linear", "Gemm reads the quantised d, expected the value as it was"),
    (SINGLE, quantise_output, "readers", "logits", "the output is quantised, expected the logits as they are"),
    (
        SINGLE,
        rewire("stages.1.0.conv", 0, "node's own"),
        "quantised",
        "stages.1.0.conv",
        "its input is not quantised, expected a Q/DQ pair before it",
    ),
    (
        SINGLE,
        rewire("stages.1.0.conv", 1, "stages.1.0.conv.weight.int8"),
        "quantised",
        "stages.1.0.conv",
        "its weights are not quantised, expected int8 ones behind a DequantizeLinear",
    ),
    (
        SINGLE,
        integer_convolution,
        "quantised",
        "conv.i",
        "ConvInteger is an operator for one engine, expected Q/DQ pairs around float ones",
    ),
    (
        SINGLE,
        set_constant("stages.1.0.conv.input.zero", 3, dtype=np.int8),
        "symmetric",
        "stages.1.0.conv.input.quantize",
        "its zero-point is 3, expected 0",
    ),
    (
        SINGLE,
        set_constant("stages.1.0.conv.input.zero", 0, dtype=np.uint8),
        "symmetric",
        "stages.1.0.conv.input.quantize",
        "its zero-point is uint8, expected int8",
    ),
    (
        SINGLE,
        drop_zero,
        "symmetric",
        "stages.1.1.expand.input.quantize",
        "it has no constant zero-point, expected an int8 zero",
    ),
    (
        SINGLE,
        set_constant("stages.1.0.conv.input.scale", 0.5, 0.5, dtype=np.float32),
        "per-tensor",
        "stages.1.0.conv.input.quantize",
        "an activation has a scale of shape [2], expected one number",
    ),
    *(
        (
            SINGLE,
            damage,
            "per-channel",
            "stages.1.0.conv.weight.dequantize",
            "the weights' scales run along axis 1, expected 0, the output channels",
        )
        for damage in (turn_axis, drop_axis)
    ),
    (
        SINGLE,
        set_constant("stages.1.0.conv.weight.scale", 0.5, dtype=np.float32),
        "per-channel",
        "stages.1.0.conv.weight.dequantize",
        "the weights' scales are [], expected [80], one a channel",
    ),
    (
        SINGLE,
        float_weights,
        "per-channel",
        "stages.1.0.conv.weight.dequantize",
        "the weights of stages.1.0.conv are no int8 constant, expected one",
    ),
    (
        SINGLE,
        quantise_bias,
        "bias",
        "stages.1.0.conv",
        "its bias is behind a DequantizeLinear, which TensorRT refuses; expected a float constant",
    ),
    (
        SINGLE,
        own_scale,
        "pair",
        "stages.1.1.expand.input.dequantize",
        "its scale differs from that of stages.1.1.expand.input.quantize, expected the same",
    ),
    (
        SINGLE,
        computed_scale,
        "scales",
        "stages.1.1.expand.input.quantize",
        "its scale is computed, expected a constant",
    ),
    (
        SINGLE,
        set_scales_type(np.float16),
        "scales",
        "stages.1.0.conv.weight.dequantize",
        "its scale is float16, expected float32",
    ),
    (
        HALF,
        set_scales_type(np.float32),
        "scales",
        "stages.1.0.conv.weight.dequantize",
        "its scale is float32, expected float16",
    ),
    *(
        (
            target,
            set_one_scale(value),
            "scales",
            "stages.1.0.conv.weight.dequantize",
            f"its scale is {value:g}, expected a finite, normal {dtype} above 0",
        )
        for target, dtype, value in (
            (SINGLE, "float32", 0.0),
            (SINGLE, "float32", -0.5),
            (SINGLE, "float32", float("nan")),
            (SINGLE, "float32", float("inf")),
            (HALF, "float16", 2.0**-15),
        )
    ),
    (
        SINGLE,
        set_constant("stages.0.0.conv.input.scale", 0.5, dtype=np.float32),
        "pixels",
        "stages.0.0.conv.input.quantize",
        "the pixels' scale is 0.5, expected 1, which loses nothing",
    ),
    (
        HALF,
        set_constant("stages.0.0.conv.input.scale", 1, dtype=np.float16),
        "pixels",
        "stages.0.0.conv.input.quantize",
        "the pixels' scale is 1, expected 0.0078125, which loses nothing",
    ),
    (
        HALF,
        other_centre,
        "pixels",
        "pixels",
        "the pixels are not centred, expected 128 to be subtracted from them first",
    ),
    *(
        (
            target,
            leave_island(operator),
            "islands",
            name,
            f"{operator} is computed in FLOAT16, expected an island in FLOAT",
        )
        for target in ("onnx-fp16", HALF)
        for operator, name in (("ReduceSum", "node_sum_1"), ("LayerNormalization", "node_layer_norm"))
    ),
]


@pytest.mark.parametrize("target", ONNX_TARGETS)
def test_what_is_exported_breaks_no_rule(target: str, exported: Exported) -> None:
    made = exported(target)
    assert lint.lint(onnx.load_model(made.path), made.recipe) == []


@pytest.mark.parametrize(
    ("target", "damage", "rule", "node", "text"),
    DAMAGES,
    ids=[f"{each[2]}-{place}" for place, each in enumerate(DAMAGES)],
)
def test_each_rule_is_found_broken(
    target: str, damage: Callable[[Model], None], rule: str, node: str, text: str, exported: Exported
) -> None:
    model = onnx.load_model(exported(target).path)
    damage(model)
    assert lint.Finding(rule, node, text) in lint.lint(model, TARGETS[target].recipe)


def test_every_rule_is_tried() -> None:
    tried = {damage[2] for damage in DAMAGES}
    assert tried == {rule.__name__[1:].replace("_", "-") for rule in lint.RULES}


def test_layers_that_the_recipe_keeps(exported: Exported) -> None:
    model = onnx.load_model(exported(SINGLE).path)
    recipe = replace(TARGETS[SINGLE].recipe, kept=("stages.2.1.project", "stages.1.1.project", "stages.7.0.conv"))
    expected = "expected float: the recipe keeps this layer"
    assert lint.lint(model, recipe) == [
        lint.Finding("kept", "stages.1.1.project", f"its input is quantised, {expected}"),
        lint.Finding("kept", "stages.1.1.project", f"its weights are quantised, {expected}"),
        lint.Finding("kept", "stages.7.0.conv", "the recipe keeps this layer, and there is none of that name"),
    ]


def test_a_graph_that_breaks_a_rule_is_not_delivered(
    faces: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(*arguments: Any) -> list[Path]:
        paths = quantize_make(*arguments)
        model = onnx.load_model(paths[0])
        set_constant("stages.1.0.conv.input.zero", 3, dtype=np.int8)(model)
        onnx.save_model(model, paths[0])
        return paths

    quantize_make = qdq.make
    monkeypatch.setattr(qdq, "make", careless)
    with pytest.raises(LintError) as refused:
        Pipeline("C8", tmp_path, weights=weights, data=faces, calibration_images=40).export(SINGLE)
    assert str(refused.value) == (
        "C8-onnx-int8.onnx was made, but stages.1.0.conv.input.quantize breaks the rule 'symmetric' (its zero-point is "
        "3, expected 0), and 1 more. A graph that every engine runs as it was measured was expected. The artifact was "
        "not kept; report it."
    )
    assert refused.value.exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["C8-torch.json", "C8-torch.safetensors"]

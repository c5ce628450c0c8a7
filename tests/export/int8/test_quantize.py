"""The INT8 graphs: one quantisation in two forms, layers kept in float, and biases that take back mean errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from lc2fer.export.int8 import lint, quantize, ranges
from lc2fer.export.int8.calibration import CalibrationSet, Validation
from lc2fer.export.pipeline import Pipeline
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lc2fer import metrics
from lc2fer.artifact import Artifact
from lc2fer.data import open_dataset
from lc2fer.errors import UsageError
from lc2fer.inputs import InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build
from lc2fer.session import open_session
from lc2fer.targets import RATE, STOCK, TARGETS
from lc2fer.variants import variant

Exported = Callable[[str], Artifact]
LAYERS = ["stages.0.0.conv", "stages.0.1.depthwise", "stages.0.1.expand", "stages.0.1.project"]


@pytest.fixture(scope="module")
def images(faces: Path) -> CalibrationSet:
    return Validation(open_dataset(faces), InputSpec(size=32)).draw(40, 0)


@pytest.fixture(scope="module")
def source(exported: Exported) -> onnx.ModelProto:
    return onnx.load_model(exported("onnx-fp32").path)


@pytest.fixture(scope="module")
def layers(source: onnx.ModelProto, images: CalibrationSet) -> dict[str, quantize.QuantizedLayer]:
    calibration = TARGETS["onnx-int8"].recipe.calibration
    assert calibration is not None
    return quantize.quantize(source, images, calibration)


def constants_of(artifact: Artifact) -> dict[str, NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_model(artifact.path).graph.initializer}


def logits_of(model: onnx.ModelProto, images: CalibrationSet, output: str = "logits") -> NDArray[np.float32]:
    session = ranges.session_of(model, outputs=[output])
    return np.concatenate([session.run([output], {"pixels": image})[0] for image in images])


def test_both_forms_are_one_quantisation(exported: Exported) -> None:
    single, half = constants_of(exported("onnx-int8")), constants_of(exported("onnx-int8-fp16"))
    weights = [name for name in single if name.endswith("weight.int8")]
    assert len(weights) == 11  # the last behind GRN has no one range
    for name in weights:
        layer = name.removesuffix(".weight.int8")
        assert single[name].dtype == np.int8
        assert (single[name] == half[name]).all()
        step = 128.0 if layer == LAYERS[0] else 1.0
        for kind, factor in (("input", 1 / step), ("weight", step)):
            scale, scale_half = single[f"{layer}.{kind}.scale"], half[f"{layer}.{kind}.scale"]
            assert (scale.dtype, scale_half.dtype) == (np.float32, np.float16)
            assert (scale * np.float32(factor) == scale_half.astype(np.float32)).all(), layer
    assert single["stages.0.0.conv.input.scale"] == 1
    assert half["stages.0.0.conv.input.scale"] == 2**-7


def test_the_rest_of_the_second_form_is_float16(exported: Exported) -> None:
    artifact = exported("onnx-int8-fp16")
    model = onnx.load_model(artifact.path)
    assert [(entry.domain, entry.version) for entry in model.opset_import if not entry.domain] == [("", 19)]
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    outputs = {types[node.output[0]] for node in model.graph.node if node.op_type == "Conv"}
    assert outputs == {onnx.TensorProto.FLOAT16}
    assert artifact.size_bytes < exported("onnx-int8").size_bytes


def test_weights_are_rounded_once(source: onnx.ModelProto, layers: dict[str, quantize.QuantizedLayer]) -> None:
    floats = {tensor.name: numpy_helper.to_array(tensor) for tensor in source.graph.initializer}
    assert list(layers)[:4] == LAYERS
    for layer, numbers in layers.items():
        scale = numbers.weight_scale.reshape(-1, 1, 1, 1)
        assert np.abs(numbers.weight.astype(np.float32) * scale - floats[f"{layer}.weight"]).max() <= 0.51 * scale.max()
        assert np.abs(numbers.weight).reshape(len(numbers.weight), -1).max(axis=1).min() >= 126


def test_kept_layers_stay_float(
    source: onnx.ModelProto, layers: dict[str, quantize.QuantizedLayer], images: CalibrationSet
) -> None:
    kept = ("stages.0.0.conv", "stages.2.1.project")
    recipe = replace(TARGETS["onnx-int8"].recipe, kept=kept)
    model = onnx.ModelProto()
    model.CopyFrom(source)
    quantize.insert(model, layers, recipe)
    assert lint.lint(model, recipe) == []
    by_name = {node.name: node for node in model.graph.node}
    for layer in kept:
        assert by_name[layer].input[1] == f"{layer}.weight"
        assert f"{layer}.input.quantize" not in by_name
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph.node) == 10
    everything = onnx.ModelProto()
    everything.CopyFrom(source)
    quantize.insert(everything, layers, replace(recipe, kept=tuple(layers)))
    assert (logits_of(everything, images) == logits_of(source, images)).all()


def test_an_unknown_layer_is_refused(source: onnx.ModelProto, layers: dict[str, quantize.QuantizedLayer]) -> None:
    with pytest.raises(UsageError) as refused:
        quantize.insert(source, layers, replace(TARGETS["onnx-int8"].recipe, kept=("stages.9",)))
    assert str(refused.value).startswith(
        "There is no layer 'stages.9' to keep in float. Expected one of stages.0.0.conv, stages.0.1.depthwise, "
    )
    assert str(refused.value).endswith(". Correct the recipe.")


def test_corrected_biases_leave_no_mean_error(
    source: onnx.ModelProto, layers: dict[str, quantize.QuantizedLayer], images: CalibrationSet
) -> None:
    """Of each layer alone: the others stay float."""
    corrected = quantize.corrected(source, layers, images)
    for layer in ("stages.0.1.depthwise", "stages.1.0.conv", "stages.2.1.project"):
        output = quantize.convolutions(source.graph)[layer].output[0]
        alone = replace(TARGETS["onnx-int8"].recipe, kept=tuple(name for name in layers if name != layer))
        errors = []
        for numbers in (layers, corrected):
            model = onnx.ModelProto()
            model.CopyFrom(source)
            quantize.insert(model, numbers, alone)
            error = logits_of(model, images, output) - logits_of(source, images, output)
            errors.append(np.abs(error.mean(axis=(0, 2, 3))).max())
        assert errors[1] < 1e-5
        assert errors[0] > 20 * errors[1]


def test_rows_with_steps_of_their_own_leave_none_either(source: onnx.ModelProto, images: CalibrationSet) -> None:
    rows = ("stages.2.1.project",)
    calibration = TARGETS["onnx-int8"].recipe.calibration
    layers = quantize.quantize(source, images, calibration, by_row=rows)
    assert layers[rows[0]].scale == 1
    output = quantize.convolutions(source.graph)[rows[0]].output[0]
    alone = replace(TARGETS["onnx-int8"].recipe, kept=tuple(name for name in layers if name not in rows))
    model = onnx.ModelProto()
    model.CopyFrom(source)
    quantize.insert(model, quantize.corrected(source, layers, images, rows), alone, rows)
    error = logits_of(model, images, output) - logits_of(source, images, output)
    assert np.abs(error.mean(axis=(0, 2, 3))).max() < 1e-5
    assert 0 < np.abs(error).max() < 0.02 * np.abs(logits_of(source, images, output)).max()


def test_a_dead_layer_has_scales_that_engines_take(source: onnx.ModelProto, images: CalibrationSet) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(source)
    for tensor in model.graph.initializer:
        if tensor.name == "stages.1.1.project.weight":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(tensor)), tensor.name))
    recipe = TARGETS["onnx-int8"].recipe
    assert recipe.calibration is not None
    dead = quantize.quantize(model, images, recipe.calibration)
    assert not dead["stages.1.1.project"].weight.any()
    assert (dead["stages.1.1.project"].weight_scale == 2.0**-14).all()
    reference = logits_of(model, images)
    quantize.insert(model, dead, recipe)
    assert lint.lint(model, recipe) == []
    assert metrics.sqnr_db(reference, logits_of(model, images)) > 12


def test_rows_are_the_same_numbers_unsigned(exported: Exported) -> None:
    """The graph for ONNX Runtime holds the portable one's weights and scales, as u8 around 128."""
    portable, rows = constants_of(exported("onnx-int8")), constants_of(exported("ort-int8"))
    layers = [name.removesuffix(".input.zero") for name in rows if name.endswith(".input.zero")]
    assert len(layers) == 5
    for layer in layers:
        assert rows[f"{layer}.input.zero"] == np.uint8(128)
        assert rows[f"{layer}.input.scale"] == portable[f"{layer}.input.scale"]
        assert np.array_equal(rows[f"{layer}.weight.int8"].T, portable[f"{layer}.weight.int8"][:, :, 0, 0])
        assert np.array_equal(rows[f"{layer}.weight.scale"], portable[f"{layer}.weight.scale"])


def test_onnx_runtime_multiplies_rows_in_8_bits(exported: Exported) -> None:
    with open_session(exported("ort-int8")) as session:
        ran = session.executed_precisions()  # type: ignore[attr-defined]
    assert ran["uint8"] == 5, ran


def test_the_last_part_of_a_name_keeps_all_layers_of_that_kind(exported: Exported) -> None:
    recipe = exported("openvino-int8").recipe
    assert recipe is not None
    assert recipe.keeps("stages.2.1.depthwise")
    assert not recipe.keeps("stages.1.1.project")


@pytest.mark.parametrize(
    "target", ["ort-int8", *(pytest.param(name, marks=pytest.mark.every) for name in ("onnx-int8", "openvino-int8"))]
)
def test_biases_of_zeros_are_no_trouble(target: str, faces: Path, tmp_path: Path) -> None:
    """The exporter drops them, and fresh weights have no others."""
    torch.manual_seed(0)
    spec = InputSpec(size=32)
    weights = checkpoint.save(build(variant("C8")), tmp_path, "fresh", input_spec=spec, training={})
    pipeline = Pipeline("C8", tmp_path / "out", weights=weights.path, data=faces, calibration_images=32)
    assert pipeline.export(target).proof is not None


@pytest.mark.parametrize("target", [*STOCK, RATE])
def test_stock_routes_are_made_and_run(target: str, faces: Path, weights: Path, tmp_path: Path) -> None:
    made = Pipeline("C8", tmp_path, weights=weights, data=faces, calibration_images=32).export(target)
    assert made.target == target
    if target != "stock-torch-compile":  # it compiles for half a minute
        with open_session(made, threads=1) as session:
            logits = session.run(np.full((1, *made.input_spec.shape), 90, np.float32))
        assert logits.shape == (1, 7)
        assert np.isfinite(logits).all()


@pytest.mark.parametrize("adds", ["its bias", "another tensor"])
def test_rows_in_8_bits_are_what_numpy_computes(adds: str) -> None:
    """Also where the exporter left out a bias of zeros, and what follows is no sum, or one with another tensor."""
    rng = np.random.default_rng(0)
    bias = rng.normal(0, 1, 4).astype(np.float32)
    numbers = quantize.QuantizedLayer(
        scale=0.05,
        weight=rng.integers(-127, 128, (4, 6, 1, 1), np.int8),
        weight_scale=rng.uniform(0.01, 0.02, 4).astype(np.float32),
        bias=bias if adds == "its bias" else np.zeros(4, np.float32),
    )
    weight = numpy_helper.from_array(np.zeros((6, 4), np.float32), "weight")
    shapes = {"rows": [1, 5, 6], "other": [1, 5, 4], "sum": [1, 5, 4]}
    rows, other, total = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in shapes)
    second = "bias" if adds == "its bias" else "other"
    nodes = [
        helper.make_node("MatMul", ["rows", "weight"], ["product"], "layer"),
        helper.make_node("Add", ["product", second], ["sum"], "add"),
    ]
    constants = [weight, numpy_helper.from_array(np.zeros(4, np.float32), "bias")]
    graph = helper.make_graph(nodes, "graph", [rows, other], [total], constants)
    recipe = TARGETS["ort-int8"].recipe
    quantize.insert_rows(graph, {"layer": numbers}, replace(recipe, kept=()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    given = {"rows": rng.normal(0, 3, (1, 5, 6)).astype(np.float32), "other": rng.normal(0, 1, (1, 5, 4))}
    given["other"] = given["other"].astype(np.float32)
    found = ranges.session_of(model).run(["sum"], given)[0]
    rounded = np.clip(np.rint(given["rows"] / 0.05), -128, 127) * 0.05
    wanted = rounded @ (numbers.weight[:, :, 0, 0].T * numbers.weight_scale)
    assert found == pytest.approx(wanted + (bias if adds == "its bias" else given["other"]), abs=1e-4)

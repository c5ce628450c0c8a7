"""Float16: why GRN's norm is an island of float32, shown on a network whose sum of squares float16 cannot hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from lc2fer.export.int8 import ranges
from lc2fer.export.int8.calibration import CalibrationSet, Validation
from lc2fer.export.pipeline import Pipeline
from numpy.typing import NDArray
from onnx import TensorProto, helper

from lc2fer import metrics
from lc2fer.data import open_dataset
from lc2fer.inputs import InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import Block
from lc2fer.recipe import PRECISIONS
from lc2fer.targets import TARGETS

LOUD = 120.0  # as much louder are the activations before the first GRN, and the weights after it fainter


@pytest.fixture(scope="module")
def images(faces: Path) -> CalibrationSet:
    return Validation(open_dataset(faces), InputSpec(size=32)).draw(40, 0)


@pytest.fixture(scope="module")
def loud(weights: Path, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    network = checkpoint.load(weights)
    block = network.stages[0].blocks[0]
    assert isinstance(block, Block)
    with torch.no_grad():
        block.expand.weight *= LOUD
        block.expand.bias *= LOUD
        block.grn.beta *= LOUD
        block.project.weight /= LOUD
    folder = tmp_path_factory.mktemp("loud")
    trained = checkpoint.save(network, folder, "loud", input_spec=InputSpec(size=32), training={}).path
    return Pipeline("C8", folder / "out", weights=trained, data=faces, calibration_images=40)


def without_island(model: onnx.ModelProto, images: CalibrationSet) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """The first GRN's sum of squares [N,C,1,1] in float16, and the logits [N,7] that follow from it.

    In two graphs: ONNX Runtime's CPU provider sums in float32 and rounds to float16 only where a graph ends.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    island = next(node for node in model.graph.node if node.op_type == "ReduceSum")
    squares = makers[island.input[0]]
    source, axes, total = makers[squares.input[0]].input[0], island.input[1], island.output[0]
    before, after = onnx.ModelProto(), onnx.ModelProto()
    before.CopyFrom(model)
    before.graph.node.append(helper.make_node("Mul", [source, source], ["squares"]))
    before.graph.node.append(helper.make_node("ReduceSum", ["squares", axes], ["sum"], keepdims=1))
    sums = outputs_of(before, images, "sum")
    assert sums.dtype == np.float16
    after.CopyFrom(model)
    after.graph.node.remove(island)
    after.graph.input.append(helper.make_tensor_value_info(total, TensorProto.FLOAT, [1, *sums.shape[1:]]))
    return sums, outputs_of(after, images, "logits", {total: sums.astype(np.float32)})


def outputs_of(
    model: onnx.ModelProto, images: CalibrationSet, name: str, given: Mapping[str, NDArray[np.float32]] | None = None
) -> NDArray[Any]:
    """One tensor over the images; `given` has an array [N,...] for each other input."""
    session = ranges.session_of(model, outputs=[name])
    found = []
    for place, image in enumerate(images):
        others = {key: values[place : place + 1] for key, values in (given or {}).items()}
        found += session.run([name], {"pixels": image, **others})
    return np.concatenate(found)


@pytest.mark.parametrize("target", ["onnx-fp16", "onnx-int8-fp16"])
def test_islands_keep_the_norm_finite(target: str, loud: Pipeline, images: CalibrationSet) -> None:
    artifact = loud.export(target)  # proven: finite, and as near to the trained network as its precision has to be
    recipe = TARGETS[target].recipe
    assert artifact.proof is not None
    assert artifact.proof["sqnr_db"] > {"fp16": 45, "int8": PRECISIONS["int8"].sqnr_db}[recipe.precision]
    model = onnx.load_model(artifact.path)
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    total = next(node for node in model.graph.node if node.op_type == "ReduceSum")
    squares = next(node for node in model.graph.node if node.output[0] == total.input[0])
    before = outputs_of(model, images, squares.input[0])  # [N,C,H,W]
    side = before.shape[-1]
    loudest = (
        np.sqrt((before**2).mean(axis=(2, 3))).max(axis=1) * side
    )  # RMS * sqrt(H*W) of each image's loudest channel
    assert (loudest > 256).all()
    assert np.abs(before).max() < 65504  # float16 holds each value, and not the sum of their squares
    assert np.isfinite(outputs_of(model, images, "logits")).all()

    sums, logits = without_island(model, images)
    assert np.isinf(sums).any(axis=(1, 2, 3)).all()
    if recipe.precision == "fp16":
        assert np.isnan(logits).all()
    else:  # QuantizeLinear makes numbers of NaN, which hides it
        assert metrics.sqnr_db(outputs_of(model, images, "logits"), logits) < 6


def test_quiet_networks_hide_it(weights: Path, faces: Path, tmp_path: Path, images: CalibrationSet) -> None:
    """The same edit does nothing to be seen where activations are small: why it is not found by trying."""
    model = onnx.load_model(Pipeline("C8", tmp_path, weights=weights, data=faces).export("onnx-fp16").path)
    logits = outputs_of(model, images, "logits")
    sums, other = without_island(model, images)
    assert np.isfinite(sums).all()
    assert np.abs(other - logits).max() < 0.1

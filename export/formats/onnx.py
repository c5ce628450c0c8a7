"""ONNX from the trained network: the deploy form in float32, or in float16 with float32 islands."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import onnx
import torch

from lc2fer.artifact import Artifact
from lc2fer.network import checkpoint
from lc2fer.network.fuse import Rows, deploy_form
from lc2fer.network.model import normalize
from lc2fer.recipe import BATCH, INPUT, IR_VERSION, OUTPUT, PLAIN, Recipe

from ..int8 import lint, smooth
from ..int8.calibration import Known

TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime")

T = TypeVar("T")


class Normalize(torch.nn.Module):
    """In front of a network as it was trained: it takes raw pixels then."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return normalize(pixels)


class Once(Generic[T]):
    """What takes long to make, by all that it depends on; of the last weights alone, for their other targets."""

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], T] = {}

    def __call__(self, parent: Artifact, make: Callable[[], T], *of: Hashable) -> T:
        """What `make` gave for these weights and the rest that it depends on; not to be changed."""
        weights = parent.sha256, parent.variant, parent.input_spec.shape
        key = (*weights, *of)
        if key not in self._made:
            made = make()
            self._made = {other: value for other, value in self._made.items() if other[: len(weights)] == weights}
            self._made[key] = made
        return self._made[key]


_SMOOTHINGS: Once[smooth.Smoothing] = Once()
_GRAPHS: Once[bytes] = Once()


def smoothing(parent: Artifact, calibration: Known | None, recipe: Recipe) -> smooth.Smoothing | None:
    """The recipe's factors and clips, found once for all INT8 targets of the same weights and images."""
    wanted = recipe.smoothing
    if wanted is None:
        return None
    assert calibration is not None
    images = calibration

    def find() -> smooth.Smoothing:
        trained = checkpoint.load(parent.path, parent.variant)
        return smooth.smoothing(trained, images, wanted, recipe.without_range(trained.variant.blocks))

    return _SMOOTHINGS(parent, find, images.fingerprint, wanted, recipe.behind_grn)


def make(parent: Artifact, recipe: Recipe, calibration: Known | None, path: Path) -> list[Path]:
    """Write `path`: any batch, input "pixels" float32 [batch,3,H,W], output "logits" float32 [batch,classes].

    An int8 recipe gives the float graph that is to be quantised, its channels smoothed as the recipe says.
    Convolutions, and products of rows, have the names that their layers have in the module tree of the deploy form:
    "stages.2.1.project".
    """
    smoothed = None if recipe.form == PLAIN else smoothing(parent, calibration, recipe)
    dtype = torch.float16 if "fp16" in (recipe.precision, recipe.rest) else torch.float32
    by = (calibration.fingerprint, recipe.smoothing, recipe.behind_grn) if calibration and smoothed else None

    def trace() -> bytes:
        return _traced(parent, recipe, dtype, smoothed)

    path.write_bytes(_GRAPHS(parent, trace, recipe.form, recipe.opset, dtype, by))
    return [path]


def _traced(parent: Artifact, recipe: Recipe, dtype: torch.dtype, smoothed: smooth.Smoothing | None) -> bytes:
    trained = checkpoint.load(parent.path, parent.variant)
    network: torch.nn.Module
    if recipe.form == PLAIN:
        network = torch.nn.Sequential(Normalize(), trained)
    else:
        network = deploy_form(trained, recipe.form, dtype, smoothed.factors if smoothed else None)
    pixels = torch.zeros(2, *parent.input_spec.shape)  # a first axis of 1 would be taken for a constant
    exporter = logging.getLogger("torch.onnx")  # it warns of every torchvision operator when there is no torchvision
    with errors_only(exporter), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (pixels,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim(BATCH)},),
            opset_version=recipe.opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    constants = {tensor.name for tensor in model.graph.initializer}
    nodes = [
        node
        for node in model.graph.node
        if node.op_type == "Conv" or (node.op_type == "MatMul" and node.input[1] in constants)
    ]
    layers = [name for name, module in network.named_modules() if isinstance(module, (torch.nn.Conv2d, Rows))]
    for layer, node in zip(layers, nodes):
        node.name = layer  # modules are registered in the order of the forward pass
        if node.op_type == "Conv" and len(node.input) == 2:  # the exporter leaves out biases of nothing but zeros
            weight = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
            bias = torch.zeros(weight.dims[0], dtype=dtype).numpy()
            model.graph.initializer.append(onnx.numpy_helper.from_array(bias, f"{layer}.bias"))
            node.input.append(f"{layer}.bias")
    for node in model.graph.node:
        del node.metadata_props[:]  # stack traces of this machine
    del model.graph.metadata_props[:]
    model.doc_string = ""
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def inspect(path: Path, recipe: Recipe) -> None:
    """Raise LintError where the graph breaks a rule that its engines have."""
    lint.check(path, recipe)


@contextmanager
def errors_only(logger: logging.Logger) -> Iterator[None]:
    """Let through nothing below an error, and restore the logger's level at the end."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)

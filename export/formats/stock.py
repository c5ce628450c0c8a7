"""What a user would do with the same weights otherwise: each engine's own route, as its makers document it.

Nothing of this is delivered; the bench holds our targets against it. The network is exported as it was trained, with
the normalisation in front, and every tool runs with its defaults.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lc2fer.artifact import Artifact
from lc2fer.recipe import INPUT, Recipe

from ..int8.calibration import CalibrationSet, Known
from . import onnx

TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf")


def make(parent: Artifact, recipe: Recipe, calibration: Known | None, path: Path) -> list[Path]:
    """Write `path`: a checkpoint for PyTorch, an ONNX file or an IR, by its suffix."""
    if path.suffix == ".safetensors":
        shutil.copyfile(parent.path, path)
        return [path]
    graph = path.with_suffix(".plain.onnx")
    onnx.make(parent, replace(recipe, precision="fp32", calibration=None), None, graph)
    if path.suffix == ".xml":
        return _openvino(graph, recipe, calibration, path)
    if recipe.precision == "int8":
        assert isinstance(calibration, CalibrationSet)
        _onnxruntime_int8(graph, calibration, path)
    else:
        graph.replace(path)
    return [path]


def _onnxruntime_int8(graph: Path, calibration: CalibrationSet, path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(calibration)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            image = next(self.left, None)
            return None if image is None else {INPUT: image}

    with onnx.errors_only(logging.root):
        quantize_static(str(graph), str(path), Reader())


def _openvino(graph: Path, recipe: Recipe, calibration: Known | None, path: Path) -> list[Path]:
    import openvino

    model = openvino.convert_model(graph)
    if recipe.precision == "int8":
        import nncf

        assert isinstance(calibration, CalibrationSet)
        with onnx.errors_only(logging.getLogger("nncf")):
            model = nncf.quantize(model, nncf.Dataset(list(calibration)))
    openvino.save_model(model, path, compress_to_fp16=recipe.precision != "fp32")
    return [path, path.with_suffix(".bin")]


def rate(path: Path) -> int:
    """Write `path`, an IR that multiplies 8-bit matrices and little else; returns its multiply-accumulates.

    Input and output are those of every other model, so that one session runs them all: the pixels fill the first
    matrix, products of 1024 x 1024 follow one another, each rounded to 8 bits for the next.
    """
    import openvino
    from openvino import opset13 as ops

    side, products = 1024, 8

    def constant(value: object) -> openvino.Node:
        return ops.constant(np.asarray(value, np.float32))

    def rounded(x: openvino.Node, low: float, high: float) -> openvino.Node:
        bounds = [constant(low), constant(high)] * 2
        return ops.fake_quantize(x, *bounds, 256)

    random = np.random.default_rng(0)
    pixels = ops.parameter([1, 3, 100, 100], np.float32, "pixels")
    flat = ops.reshape(pixels, ops.constant(np.array([1, 30_000])), False)

    def first(x: openvino.Node, count: int) -> openvino.Node:
        return ops.slice(x, *(ops.constant(np.array([value])) for value in (0, count, 1, 1)))

    x: openvino.Node = ops.tile(first(flat, side), ops.constant(np.array([side, 1])))
    for _ in range(products):
        weight = rounded(constant(random.integers(-127, 128, (side, side))), -128, 127)
        x = ops.matmul(rounded(x, 0, 255), weight, False, True)
        x = ops.multiply(x, constant(1 / (64 * side)))
    logits = first(ops.reduce_mean(x, ops.constant(np.array([0])), True), 7)
    openvino.save_model(openvino.Model([logits], [pixels]), path, compress_to_fp16=False)
    return products * side**3

"""LiteRT with XNNPACK, quantised by ai-edge-quantizer, whose README recommends static INT8 for accelerators.

INT8 for convolutions alone is what the same page recommends on CPUs: 8-bit weights, activations rounded as they come.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-not-found]
from numpy.typing import NDArray

from lc2fer.recipe import PRODUCTS

from .program import Program, Run


def convert(program: Program, path: Path) -> None:
    import litert_torch  # type: ignore[import-not-found]
    import torch

    module, example = torch.export.load(program.exported).module(), (torch.from_numpy(program.example()),)
    plain = program.folder / "plain.tflite"
    litert_torch.convert(module, example).export(str(plain))
    if program.precision == "int8":
        _quantised(plain, program).export_model(str(path))
    else:
        plain.replace(path)


def _quantised(plain: Path, program: Program) -> Any:
    from ai_edge_quantizer import quantizer, recipe  # type: ignore[import-not-found]

    tool = quantizer.Quantizer(str(plain))
    if program.form == PRODUCTS:
        tool.load_quantization_recipe(recipe.dynamic_wi8_afp32())
        return tool.quantize()
    tool.load_quantization_recipe(recipe.static_wi8_ai8())
    (signature,) = Interpreter(str(plain)).get_signature_list().items()
    key, (name,) = signature[0], signature[1]["inputs"]
    return tool.quantize(tool.calibrate({key: [{name: image[np.newaxis]} for image in program.calibration()]}))


def opened(path: Path, threads: int) -> Run:
    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(image: NDArray[Any]) -> Any:
        interpreter.set_tensor(given["index"], _rounded(image, given))
        interpreter.invoke()
        return _scaled(interpreter.get_tensor(wanted["index"]), wanted)

    return run


def _rounded(image: NDArray[Any], place: Any) -> NDArray[Any]:
    """An image as a tensor takes it: static INT8 has 8 bits outside as well."""
    if place["dtype"] != np.int8:
        return image
    scale, zero = place["quantization"]
    return np.clip(np.rint(image / np.float32(scale)) + zero, -128, 127).astype(np.int8)


def _scaled(found: NDArray[Any], place: Any) -> NDArray[Any]:
    if place["dtype"] != np.int8:
        return found
    scale, zero = place["quantization"]
    return (found.astype(np.float32) - zero) * np.float32(scale)

"""MNN, converted from ONNX and quantised by mnnquant.

Its console scripts call pip and report their use, so the functions behind them are called.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import _tools  # type: ignore[import-not-found]  # MNN's
import MNN  # type: ignore[import-not-found]
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .program import Program, Run


def convert(program: Program, path: Path) -> None:
    plain = program.folder / "plain.mnn"
    model = ["--modelFile", str(program.graph), "--MNNModel", str(plain), "--bizCode", "lc2fer"]
    _tools.mnnconvert(["MNNConvert", "-f", "ONNX", *model])
    if program.precision == "int8":
        _tools.mnnquant(["mnnquant", str(plain), str(path), str(_settings(program))])
    else:
        plain.replace(path)


def _settings(program: Program) -> Path:
    """A file for mnnquant, which reads its images from pictures; those of the calibration set are whole numbers."""
    pictures = program.folder / "pictures"
    pictures.mkdir()
    images = program.calibration()
    for place, image in enumerate(images):
        Image.fromarray(image.transpose(1, 2, 0).astype(np.uint8)).save(pictures / f"{place}.png")
    height, width = program.shape[1:]
    wanted = {
        "format": "RGB",
        "mean": [0, 0, 0],
        "normal": [1, 1, 1],
        "width": width,
        "height": height,
        "path": f"{pictures}/",
        "used_image_num": len(images),
        "feature_quantize_method": "EMA",
        "weight_quantize_method": "MAX_ABS",
    }
    path = program.folder / "mnnquant.json"
    path.write_text(json.dumps(wanted), encoding="utf-8")
    return path


def opened(path: Path, threads: int) -> Run:
    interpreter = MNN.Interpreter(str(path))
    session = interpreter.createSession({"numThread": threads, "backend": "CPU"})
    given, wanted = interpreter.getSessionInput(session), interpreter.getSessionOutput(session)
    shape, classes = given.getShape(), wanted.getShape()
    kind, order = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe

    def run(image: NDArray[Any]) -> Any:
        given.copyFrom(MNN.Tensor(shape, kind, image, order))
        interpreter.runSession(session)
        found = MNN.Tensor(classes, kind, np.zeros(classes, np.float32), order)
        wanted.copyToHostTensor(found)
        return found.getData()

    return run

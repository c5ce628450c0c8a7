"""ncnn, converted by pnnx from TorchScript: from ONNX its numbers are wrong. INT8 by tools that its wheel lacks."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import ncnn  # type: ignore[import-not-found]
import numpy as np
import pnnx  # type: ignore[import-not-found]
from numpy.typing import NDArray

from lc2fer.errors import TargetUnavailable

from .program import Program, Run

_TOOLS = ("ncnn2table", "ncnn2int8")


def convert(program: Program, path: Path) -> None:
    if program.precision == "int8":
        _check()
    shape = ",".join(map(str, (1, *program.shape)))
    _call(pnnx.EXEC_PATH, program.traced, f"inputshape=[{shape}]f32", "fp16=0", folder=program.folder)
    stem = program.folder / f"{program.traced.stem}.ncnn"
    files = [stem.with_suffix(".ncnn.param"), stem.with_suffix(".ncnn.bin")]
    made = [path, path.with_suffix(".bin")]
    if program.precision == "int8":
        _call("ncnn2table", *files, _listed(program), "ranges.table", *_layout(program), folder=program.folder)
        _call("ncnn2int8", *files, *made, "ranges.table", folder=program.folder)
    else:
        for file, place in zip(files, made):
            shutil.move(file, place)


def _check() -> None:
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise TargetUnavailable(
            f"{' and '.join(missing)} are not on the PATH; its wheel has none, and its sources build them with "
            "-DNCNN_BUILD_TOOLS=ON"
        )


def _listed(program: Program) -> Path:
    """A list of arrays, float32 [3,H,W]: ncnn2table reads them with type=1."""
    lines = []
    for place, image in enumerate(program.calibration()):
        file = program.folder / f"{place}.npy"
        np.save(file, image)
        lines.append(f"{file}\n")
    listed = program.folder / "images.txt"
    listed.write_text("".join(lines), encoding="utf-8")
    return listed


def _layout(program: Program) -> list[str]:
    channels, height, width = program.shape
    return [f"shape=[{width},{height},{channels}]", "thread=1", "method=kl", "type=1"]


def _call(*command: object, folder: Path) -> None:
    subprocess.run(list(map(str, command)), cwd=folder, check=True, stdout=2)


def opened(path: Path, threads: int) -> Run:
    network = ncnn.Net()
    network.opt.num_threads = threads
    network.opt.use_vulkan_compute = False
    if network.load_param(str(path)) or network.load_model(str(path.with_suffix(".bin"))):
        raise TargetUnavailable(f"it does not load {path.name}")

    def run(image: NDArray[Any]) -> Any:
        with network.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(image[0]).clone())
            return extractor.extract("out0")[1]

    return run

"""TensorRT engines are built on the device that runs them, from the ONNX file of the same precision.

This version prepares and proves that file and leaves the building to trtexec, which comes with TensorRT.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from importlib.util import find_spec

from lc2fer.artifact import Artifact
from lc2fer.errors import TargetUnavailable


def refuse(target: str, source: Artifact) -> TargetUnavailable:
    """The error of a trt-* target, with the command that builds the engine from `source` on its device."""
    engine = f"{source.variant}-{target}.engine"
    return TargetUnavailable(
        f"TensorRT cannot be used here: {_reason()}. Engines are built on the device that runs them. "
        f"{source.path} is made and proven: copy it there and run: "
        f"/usr/src/tensorrt/bin/trtexec --stronglyTyped --onnx={source.path.name} --saveEngine={engine}"
    )


def _reason() -> str:
    if find_spec("tensorrt") is None:
        return "the package tensorrt is not installed"
    count = _cuda_device_count()
    if isinstance(count, str):
        return f"no NVIDIA driver ({count})"
    return f"this version does not build engines itself ({count} CUDA devices were found)"


def _cuda_device_count() -> int | str:
    """Devices, or why they cannot be counted; asked of the driver before TensorRT is touched, which would crash."""
    library = ctypes.util.find_library("cuda")
    if library is None:
        return "libcuda is missing"
    driver = ctypes.CDLL(library)
    status = driver.cuInit(0)
    if status:
        return f"cuInit: {status}"
    count = ctypes.c_int()
    status = driver.cuDeviceGetCount(ctypes.byref(count))
    return f"cuDeviceGetCount: {status}" if status else count.value

"""What each target is made from and how: one row a target."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from lc2fer.errors import UsageError
from lc2fer.recipe import Calibration, Recipe


@dataclass(frozen=True)
class Plan:
    """How one target is made: by which module of this package, from which other target, with which recipe."""

    module: str
    parent: str  # a target; "torch" is the checkpoint
    kind: str  # of artifact
    recipe: Recipe

    @property
    def suffix(self) -> str:
        """Of the file that a session opens."""
        return {"onnx": ".onnx", "openvino": ".xml"}[self.kind]


# Choices by measurement. Smoothing: 0.6 was the best of 0.3 to 0.9 on 400 images of D^v (FER+ faces, C6, fake
# quantisation): logit SQNR 31.7 dB against 30.1 without, agreement 100 % against 98.75 %. LayerNorm's form: ONNX
# Runtime and TensorRT fuse one LayerNormalization node; OpenVINO runs the plain reductions over NCHW faster than the
# transposes around it.
_INT8 = Recipe("int8", calibration=Calibration("max"), smoothing=0.6)
_INT8_NNCF = Recipe("int8", form="reduce", calibration=Calibration("nncf"), smoothing=0.6)

PLANS = MappingProxyType(
    {
        "onnx-fp32": Plan("onnx", "torch", "onnx", Recipe("fp32")),
        "onnx-fp16": Plan("onnx", "torch", "onnx", Recipe("fp16")),
        "onnx-int8": Plan("quantize", "torch", "onnx", _INT8),
        "openvino-fp32": Plan("openvino", "torch", "openvino", Recipe("fp32", form="reduce")),
        "openvino-fp16": Plan("openvino", "torch", "openvino", Recipe("fp16", form="reduce")),
        "openvino-int8": Plan("openvino", "torch", "openvino", _INT8_NNCF),
    }
)

# Engines are built on the device, from the ONNX file of the same precision.
ENGINES = MappingProxyType({"trt-fp32": "onnx-fp32", "trt-fp16": "onnx-fp16", "trt-int8": "onnx-int8"})

TARGETS = ("torch", *PLANS, *ENGINES)


def check_target(target: str) -> str:
    """That target; raises UsageError for any other, naming the nearest."""
    if target in TARGETS:
        return target
    from difflib import get_close_matches

    near = get_close_matches(target, TARGETS, 1)
    raise UsageError(
        f"There is no target {target!r}. Expected one of {', '.join(TARGETS)}. "
        + (f"Did you mean {near[0]}?" if near else "Choose one of them.")
    )

"""What each target is made from and how: one row a target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

from lc2fer.errors import UsageError
from lc2fer.recipe import PLAIN, Calibration, Recipe


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
        return {"onnx": ".onnx", "openvino": ".xml", "checkpoint": ".safetensors"}[self.kind]


# Smoothing: of 0.6 to 0.9 on C6, 400 images of D^v (FER+ faces at 64 pixels) and fake quantisation, 0.6 had the highest
# logit SQNR, 31.7 dB against 30.1 without, and agreement, 100 % against 98.75 %. On weights of an earlier epoch 0.7 was
# the best of 0.3, 0.5 and 0.7.
# Forms, C6 on two busy cores, best of the interleaved rounds, as shares of the time of what stood there before: folded
# took 0.91 of LayerNorm in three steps, in OpenVINO INT8; float depthwise convolutions 0.97 of quantised ones, with
# fewer roundings. In ONNX Runtime a convolution with Q/DQ runs in float: rows took 0.43 of the portable INT8 graph. On
# TensorRT nobody has measured any.
# Fused, whose numbers are those of folded, took 0.66 of its time for C6 (0.63 for C5, 0.56 C8, 0.51 C1) in turns on two
# quiet cores of a Zen 4: docs/int8.md.
# Ranges: C6 (weights of 100 pixels) on 600 images of D^v of real faces, 300 others to calibrate with, smoothing 0.6,
# logit SQNR in dB and agreement in %, without bias correction -> with it: max 31.3, 99.2 -> 33.8, 99.7; percentile
# 99.99 35.1, 99.5 -> 35.6, 99.7; 99.999 35.4, 99.3 -> 36.3, 99.7; entropy 26.6, 99.2 -> 25.1, 98.3; mse 35.4, 99.3 ->
# 36.5, 99.7. Without smoothing max gave 10.4, 94.0 -> 19.8, 97.8 and mse 29.1, 99.2 -> 31.5, 99.2.
_INT8 = Recipe("int8", calibration=Calibration("mse"), smoothing=0.6, bias_correction=True)
_INT8_HALF = replace(_INT8, rest="fp16", opset=19)
_INT8_ROWS = replace(_INT8, form="rows")
_INT8_FOLDED = replace(_INT8, form="folded", kept=("depthwise",))
_INT8_FUSED = replace(_INT8_FOLDED, form="fused")

PLANS = MappingProxyType(
    {
        "onnx-fp32": Plan("onnx", "torch", "onnx", Recipe("fp32")),
        "onnx-fp16": Plan("onnx", "torch", "onnx", Recipe("fp16")),
        "onnx-int8": Plan("quantize", "torch", "onnx", _INT8),
        "onnx-int8-fp16": Plan("quantize", "torch", "onnx", _INT8_HALF),
        "ort-fp32": Plan("onnx", "torch", "onnx", Recipe("fp32", form="rows")),
        "ort-int8": Plan("quantize", "torch", "onnx", _INT8_ROWS),
        "openvino-fp32": Plan("openvino", "torch", "openvino", Recipe("fp32", form="folded")),
        "openvino-fp16": Plan("openvino", "torch", "openvino", Recipe("fp16", form="folded")),
        "openvino-int8": Plan("openvino", "torch", "openvino", _INT8_FOLDED),
        "ort-fp32-fused": Plan("fused_onnx", "torch", "onnx", Recipe("fp32", form="fused")),
        "ort-fp16-fused": Plan("fused_onnx", "torch", "onnx", Recipe("fp16", form="fused")),
        "ort-int8-fused": Plan("fused_onnx", "torch", "onnx", _INT8_FUSED),
        "openvino-fp32-fused": Plan("fused_openvino", "torch", "openvino", Recipe("fp32", form="fused")),
        "openvino-fp16-fused": Plan("fused_openvino", "torch", "openvino", Recipe("fp16", form="fused")),
        "openvino-int8-fused": Plan("fused_openvino", "torch", "openvino", _INT8_FUSED),
    }
)

# What a user would do otherwise, with each tool's defaults: export/stock.py.
_STOCK_INT8 = Recipe("int8", form=PLAIN, calibration=Calibration("max"))
STOCK = MappingProxyType(
    {
        "stock-torch": Plan("stock", "torch", "checkpoint", Recipe("fp32", form=PLAIN)),
        "stock-torch-compile": Plan("stock", "torch", "checkpoint", Recipe("fp32", form=PLAIN)),
        "stock-onnx-fp32": Plan("stock", "torch", "onnx", Recipe("fp32", form=PLAIN)),
        "stock-onnx-int8": Plan("stock", "torch", "onnx", _STOCK_INT8),
        "stock-openvino-fp32": Plan("stock", "torch", "openvino", Recipe("fp32", form=PLAIN)),
        "stock-openvino-fp16": Plan("stock", "torch", "openvino", Recipe("fp16", form=PLAIN)),
        "stock-openvino-int8": Plan("stock", "torch", "openvino", _STOCK_INT8),
    }
)

# Engines are built from the ONNX file of the same precision; INT8 from the first of its forms that builds.
_INT8_FORMS = ("onnx-int8-fp16", "onnx-int8")
ENGINES = MappingProxyType(
    {
        "trt-fp32": ("onnx-fp32",),
        "trt-fp16": ("onnx-fp16",),
        "trt-int8": _INT8_FORMS,
        "rtx-fp16": ("onnx-fp16",),
        "rtx-int8": _INT8_FORMS,
    }
)

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


MIN_SPEEDUP = 1.05


@dataclass(frozen=True)
class Budget:
    """What INT8 may cost and has to bring."""

    max_drop: float  # share of D^v, 0.003 for 0.3 percentage points
    min_speedup: float = MIN_SPEEDUP  # over the fastest higher precision of the same engine

    def __post_init__(self) -> None:
        if not 0 <= self.max_drop < 1 or not self.min_speedup > 0:
            raise UsageError(
                f"A budget of {100 * self.max_drop:g} percentage points and a speedup of {self.min_speedup:g} were "
                "asked for. Expected 0 to 100 points and a speedup above 0. Correct --max-drop or --min-speedup."
            )


def check_budget_target(target: str) -> None:
    """Raise UsageError unless a budget can decide about that target here."""
    able = [name for name, plan in PLANS.items() if plan.recipe.precision == "int8" and plan.recipe.form != "fused"]
    if target not in able:
        raise UsageError(
            f"A budget was given for {target}. Expected one of {', '.join(able)}: only INT8 has to earn its place. "
            "Leave --max-drop and --min-speedup out, or export one of these."
        )

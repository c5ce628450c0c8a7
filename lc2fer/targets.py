"""What can be made of a trained network: one row a target, which commands, sessions, messages and documents read.

A new target is a row here and, where no module makes its kind of file yet, a module of export/formats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from lc2fer.errors import UsageError
from lc2fer.recipe import FUSED, LAST_STAGE, LEAST_ERROR, PLAIN, PRODUCTS, ROWS, Calibration, Recipe


@dataclass(frozen=True)
class Kind:
    """A kind of file: its suffix, the module that opens it, the engine, its package, and the extra that brings it."""

    suffix: str
    session: str
    engine: str
    package: str
    extra: str | None  # None: it is a peer's, which is installed into an environment of its own
    in_float: str  # the target to take where the engine's own INT8 cannot be trusted


_PEERS = "lc2fer.export.peers.session"
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "checkpoint": Kind(".safetensors", "lc2fer.network.eager", "PyTorch", "torch", "export", "torch"),
        "onnx": Kind(".onnx", "lc2fer.deploy.sessions.onnxruntime", "ONNX Runtime", "onnxruntime", "cpu", "ort-fp32"),
        "openvino": Kind(
            ".xml", "lc2fer.deploy.sessions.openvino", "OpenVINO", "openvino", "openvino", "openvino-fp32"
        ),
        "native": Kind(".lc2", "lc2fer.deploy.sessions.native", "liblc2fer", "lc2fer", "export", "native-fp32"),
        "tensorrt": Kind(".engine", "lc2fer.deploy.sessions.tensorrt", "TensorRT", "tensorrt", "tensorrt", "trt-fp16"),
        "executorch": Kind(".pte", _PEERS, "ExecuTorch", "executorch", None, "stock-executorch-fp32"),
        "litert": Kind(".tflite", _PEERS, "LiteRT", "ai-edge-litert", None, "stock-litert-fp32"),
        "mnn": Kind(".mnn", _PEERS, "MNN", "mnn", None, "stock-mnn-fp32"),
        "ncnn": Kind(".param", _PEERS, "ncnn", "ncnn", None, "stock-ncnn-fp32"),
    }
)


def adds_in_16_bits(kind: str, recipe: Recipe | None) -> bool:
    """Whether an engine's own INT8 sums would overflow on x86 without VNNI, where it is therefore refused.

    ONNX Runtime's are those of rows: it runs convolutions between Q and DQ in float. Stock weights are smaller.
    """
    if recipe is None or recipe.precision != "int8" or recipe.form in (FUSED, PLAIN):
        return False
    return kind == "openvino" or (kind == "onnx" and recipe.form == ROWS)


@dataclass(frozen=True)
class Family:
    """Targets of one line in documents: the file that one of them is, what they run on, and who needs them."""

    file: str
    runs_on: str
    needed_by: str


_TORCH = Family("`C6-torch.safetensors`", "PyTorch", "training, and as the parent of all other models")
_ORT_FUSED = Family(
    "`C6-ort-int8-fused.onnx`",
    "ONNX Runtime on Linux, any 64-bit processor: [the kernels](docs/kernels.md)",
    "a PC, a server, a board without GPU: the fastest there is on a CPU",
)
_OPENVINO_FUSED = Family(
    "`C6-openvino-int8-fused.xml`, `.bin`",
    "OpenVINO on the same, with a C++ compiler",
    "programs that already use OpenVINO",
)
_NATIVE = Family(
    "`C6-native-int8.lc2`",
    "liblc2fer on the same: [C, C++ and Rust](docs/native.md)",
    "programs in C, C++ or Rust; a board with little memory",
)
_ONNX = Family(
    "`C6-onnx-int8.onnx`",
    "every engine that reads ONNX",
    "TensorRT, which builds its engines from them, and every other engine",
)
_ORT = Family(
    "`C6-ort-int8.onnx`",
    "ONNX Runtime, CPU",
    "where the fused models cannot run: Windows, macOS, musl, an installation that may load no library",
)
_WEB = Family(
    "`C6-web-int8.onnx`, and the folder `C6-web-int8/` with a page",
    "a browser, without a server's help: [in a browser](docs/web.md)",
    "web pages whose visitors' pictures must stay on their machine",
)
_OPENVINO = Family(
    "`C6-openvino-int8.xml`, `.bin`",
    "OpenVINO, CPU",
    "OpenVINO without a compiler or without Linux; single layers kept in float (`--max-drop`)",
)
_TRT = Family(
    "`C6-trt-int8.engine` on a machine with a GPU; elsewhere the ONNX file, the command, and exit code 3",
    "TensorRT (**not run by the authors yet**, on no GPU and no Jetson: [details](docs/tensorrt.md))",
    "a Jetson, a server with a GPU",
)
_RTX = Family(
    "`C6-rtx-int8.engine`, compiled without a GPU",
    "TensorRT-RTX (**has run nowhere yet**)",
    "a PC with an RTX GPU",
)
_STOCK = Family("", "", "what a user would do otherwise, with each tool's defaults: export/formats/stock.py")


@dataclass(frozen=True)
class Target:
    """What one target is, what makes it, and what it is made from."""

    family: Family
    kind: str  # of file, a key of KINDS
    precision: str
    maker: str  # a module of lc2fer.export.formats
    parents: tuple[str, ...] = ("torch",)  # targets; of several, the first that works
    recipe: Recipe | None = None  # None: the weights, and engines, which take their parent's
    instead: str | None = None  # what runs where this one lacks something; None: it runs wherever its engine does
    by_default: bool = False  # whether lc2fer-bench measures it where nothing else is asked for, and it runs

    @property
    def stock(self) -> bool:
        """Whether it is a route that ours are measured against, and nothing that is delivered."""
        return self.family is _STOCK

    @property
    def is_engine(self) -> bool:
        """Whether a GPU's library builds it from an ONNX file."""
        return self.kind == "tensorrt"

    @property
    def portable(self) -> bool:
        """Whether it runs wherever its engine does, on whatever processor."""
        return self.instead is None and not adds_in_16_bits(self.kind, self.recipe)


# Smoothing: of 0.6 to 0.9 on C6, 400 images of D^v (FER+ faces at 64 pixels) and fake quantisation, 0.6 had the highest
# logit SQNR, 31.7 dB against 30.1 without, and agreement, 100 % against 98.75 %. On weights of an earlier epoch 0.7 was
# the best of 0.3, 0.5 and 0.7. Least error, on the weights of 85 % and 600 images of D^v at 100 pixels: 33.7, 33.3 and
# 38.3 dB (C6, C8, C5) against 32.2, 32.0 and 35.1 by 0.6 for all; on the 3,113 test images: docs/int8.md.
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
_INT8 = Recipe(
    "int8", calibration=Calibration("mse"), smoothing=LEAST_ERROR, behind_grn=LAST_STAGE, bias_correction=True
)
_INT8_HALF = replace(_INT8, rest="fp16", opset=19)
_INT8_ROWS = replace(_INT8, form="rows")
_INT8_FOLDED = replace(_INT8, form="folded", kept=("depthwise",))
_INT8_FUSED = replace(_INT8_FOLDED, form=FUSED)
_STOCK_INT8 = Recipe("int8", form=PLAIN, calibration=Calibration("max"))


def _file(
    family: Family, kind: str, maker: str, recipe: Recipe, *, instead: str | None = None, on: bool = False
) -> Target:
    return Target(family, kind, recipe.precision, maker, recipe=recipe, instead=instead, by_default=on)


def _stock(kind: str, recipe: Recipe) -> Target:
    return _file(_STOCK, kind, "stock", recipe)


def _peer(kind: str, *more: str) -> dict[str, Target]:
    """An engine of the edge: in float, and in INT8 as it documents it; `more` names what else it can do."""
    recipes = {"fp32": Recipe("fp32", form=PLAIN), "int8": _STOCK_INT8, _CONV: replace(_STOCK_INT8, form=PRODUCTS)}
    return {f"stock-{kind}-{name}": _file(_STOCK, kind, "peer", recipes[name]) for name in ("fp32", "int8", *more)}


def _engine(family: Family, precision: str, *parents: str) -> Target:
    return Target(family, "tensorrt", precision, "tensorrt", parents)


def _fused(engine: str, recipe: Recipe, instead: str) -> Target:
    family = _ORT_FUSED if engine == "onnx" else _OPENVINO_FUSED
    return _file(family, engine, f"kernels_{engine}", recipe, instead=instead, on=True)


_CONV = "int8-conv"
_FLOAT, _HALF = Recipe("fp32"), Recipe("fp16")
_FLOAT_FOLDED, _HALF_FOLDED = Recipe("fp32", form="folded"), Recipe("fp16", form="folded")
_FLOAT_FUSED, _HALF_FUSED = Recipe("fp32", form=FUSED), Recipe("fp16", form=FUSED)
_INT8_FORMS = ("onnx-int8-fp16", "onnx-int8")

# In the order in which they are offered.
TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "torch": Target(_TORCH, "checkpoint", "fp32", "", (), by_default=True),
        "ort-fp32-fused": _fused("onnx", _FLOAT_FUSED, "ort-fp32"),
        "ort-fp16-fused": _fused("onnx", _HALF_FUSED, "onnx-fp16"),
        "ort-int8-fused": _fused("onnx", _INT8_FUSED, "ort-int8"),
        "openvino-fp32-fused": _fused("openvino", _FLOAT_FUSED, "openvino-fp32"),
        "openvino-fp16-fused": _fused("openvino", _HALF_FUSED, "openvino-fp16"),
        "openvino-int8-fused": _fused("openvino", _INT8_FUSED, "openvino-int8"),
        "native-fp32": _file(_NATIVE, "native", "native", _FLOAT_FUSED, instead="ort-fp32"),
        "native-int8": _file(_NATIVE, "native", "native", _INT8_FUSED, instead="ort-int8"),
        "onnx-fp32": _file(_ONNX, "onnx", "onnx", _FLOAT, on=True),
        "onnx-fp16": _file(_ONNX, "onnx", "onnx", _HALF),
        "onnx-int8": _file(_ONNX, "onnx", "qdq", _INT8),
        "onnx-int8-fp16": _file(_ONNX, "onnx", "qdq", _INT8_HALF),
        "ort-fp32": _file(_ORT, "onnx", "onnx", Recipe("fp32", form="rows")),
        "ort-int8": _file(_ORT, "onnx", "qdq", _INT8_ROWS),
        "web-int8": _file(_WEB, "onnx", "web", _INT8_ROWS, instead="ort-int8"),
        "openvino-fp32": _file(_OPENVINO, "openvino", "openvino", _FLOAT_FOLDED),
        "openvino-fp16": _file(_OPENVINO, "openvino", "openvino", _HALF_FOLDED),
        "openvino-int8": _file(_OPENVINO, "openvino", "openvino", _INT8_FOLDED),
        "trt-fp32": _engine(_TRT, "fp32", "onnx-fp32"),
        "trt-fp16": _engine(_TRT, "fp16", "onnx-fp16"),
        "trt-int8": _engine(_TRT, "int8", *_INT8_FORMS),
        "rtx-fp16": _engine(_RTX, "fp16", "onnx-fp16"),
        "rtx-int8": _engine(_RTX, "int8", *_INT8_FORMS),
        "stock-torch": _stock("checkpoint", Recipe("fp32", form=PLAIN)),
        "stock-torch-compile": _stock("checkpoint", Recipe("fp32", form=PLAIN)),
        "stock-onnx-fp32": _stock("onnx", Recipe("fp32", form=PLAIN)),
        "stock-onnx-int8": _stock("onnx", _STOCK_INT8),
        "stock-openvino-fp32": _stock("openvino", Recipe("fp32", form=PLAIN)),
        "stock-openvino-fp16": _stock("openvino", Recipe("fp16", form=PLAIN)),
        "stock-openvino-int8": _stock("openvino", _STOCK_INT8),
        **_peer("executorch", _CONV),
        **_peer("litert", _CONV),
        **_peer("mnn"),  # whose INT8 is of convolutions alone, as is ncnn's
        **_peer("ncnn"),
    }
)
RATE = "matrix-rate"  # an 8-bit matrix product: how fast this machine could be; its manifest's device tells the MACs

OURS = tuple(name for name, target in TARGETS.items() if not target.stock)
PEERS: Mapping[str, tuple[str, ...]] = MappingProxyType(  # stock routes in environments of their own, by engine
    {
        kind: tuple(name for name, target in TARGETS.items() if target.kind == kind)
        for kind, row in KINDS.items()
        if row.extra is None
    }
)
STOCK = tuple(name for name, target in TARGETS.items() if target.stock and target.kind not in PEERS)
FILES = tuple(name for name in OURS if TARGETS[name].recipe is not None)  # made from the weights, on any machine
ENGINES = tuple(name for name in OURS if TARGETS[name].is_engine)
# INT8 in which single layers can be kept in float.
BUDGETED = tuple(name for name in FILES if TARGETS[name].precision == "int8" and TARGETS[name].instead is None)


def check_target(target: str) -> str:
    """That target; raises UsageError for any other, naming the nearest."""
    if target in OURS:
        return target
    from difflib import get_close_matches

    near = get_close_matches(target, OURS, 1)
    raise UsageError(
        f"There is no target {target!r}. Expected one of {', '.join(OURS)}. "
        + (f"Did you mean {near[0]}?" if near else "Choose one of them.")
    )


def check_budget_target(target: str) -> None:
    """Raise UsageError unless a budget can decide about that target here."""
    if target not in BUDGETED:
        raise UsageError(
            f"A budget was given for {target}. Expected one of {', '.join(BUDGETED)}: only INT8 has to earn its place. "
            "Leave --max-drop and --min-speedup out, or export one of these."
        )


def is_stock(target: str) -> bool:
    """Whether a report's row of that name is a stock route's; a name that is no target is not."""
    return target in TARGETS and TARGETS[target].stock


def markdown() -> str:
    """The documents' table: the families of what can be asked for, the file of one, what runs it, who needs it."""
    families: dict[Family, list[str]] = {}
    for name in OURS:
        families.setdefault(TARGETS[name].family, []).append(f"`{name}`")
    rows = [
        f"| {' '.join(names)} | {family.file} | {family.runs_on} | {family.needed_by} |"
        for family, names in families.items()
    ]
    return "\n".join(["| `--target` | file | runs on | for |", "| --- | --- | --- | --- |", *rows])


if __name__ == "__main__":
    print(markdown())

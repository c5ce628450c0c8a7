"""The operations of the graph form "fused", in C++ for OpenVINO and ONNX Runtime: block.h is the one to read first.

They run on every 64-bit processor that Linux has. A library holds them once for each kind of instructions ("variant")
and takes the best at run time; LC2FER_CPU=avx2, for example, makes it behave as on a processor with no more than that.
Every variant gives the same bits.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType

from lc2fer import targets
from lc2fer.errors import TargetUnavailable, UsageError
from lc2fer.kernels import build
from lc2fer.processor import has_exact_products

DOMAIN = "lc2fer"  # of the operations in an ONNX graph
VERSION = 3  # of the operations' constants: lc2fer/kernels/operations.h
KINDS = ("Stem", "Block", "Downsample")
PRODUCTS = MappingProxyType({"fp32": "fp32", "fp16": "bf16", "int8": "int8"})  # precision -> what its products are in

# Engine -> the kind of its files.
_KINDS = MappingProxyType({"onnxruntime": "onnx", "openvino": "openvino", "native": "native"})


def library(engine: str, precision: str) -> Path:
    """The shared library for "openvino" or "onnxruntime", or liblc2fer ("native"); compiled if it is not there, 30 s.

    Raises TargetUnavailable where there is no OpenVINO or no compiler, or it fails; UsageError for a value of
    LC2FER_CPU that this processor cannot run.
    """
    with _told(engine, precision):
        path = build.library(engine)
        opened = _opened(path)
        if engine != "native":  # which says it itself, when it opens a file
            _check_cpu(opened)
    return path


def check(engine: str, precision: str) -> None:
    """Raise TargetUnavailable where library() would for want of OpenVINO or a compiler; nothing is compiled."""
    with _told(engine, precision):
        build.check(engine)


def or_instead(target: str) -> str:
    """That target, or the one that stands in for it where it is a fused one whose library cannot be had here."""
    row = targets.TARGETS[target]
    engine = next((name for name, kind in _KINDS.items() if kind == row.kind), None)
    if row.instead is None or engine is None:
        return target
    try:
        build.check(engine)
    except build.Lacking:
        return _instead(engine, row.precision)
    return target


@contextmanager
def _told(engine: str, precision: str) -> Iterator[None]:
    """Makes what is lacking an error that names the target to take instead."""
    try:
        yield
    except build.Lacking as lacking:
        what = "liblc2fer" if engine == "native" else "The fused operations"
        raise TargetUnavailable(
            f"{what} cannot run here: {lacking}, or export {_instead(engine, precision)}, which runs without them."
        ) from None


def here(engine: str) -> tuple[str, ...]:
    """The variants that this processor can run, best first. Raises like library()."""
    return tuple(_here(_opened(library(engine, "int8"))))


def chosen(engine: str, precision: str = "int8") -> str:
    """The variant that runs an artifact of that precision here: "avx512vnni", for example. Raises like library()."""
    choose = _opened(library(engine, precision)).lc2fer_chosen
    choose.restype, choose.argtypes = ctypes.c_char_p, [ctypes.c_char_p]
    name: bytes = choose(PRODUCTS[precision].encode())
    return name.decode()


def _here(opened: ctypes.CDLL) -> list[str]:
    opened.lc2fer_here.restype = ctypes.c_char_p
    names: bytes = opened.lc2fer_here()
    return names.decode().split()


def _instead(engine: str, precision: str) -> str:
    """The target to take where no library can be had; a float one where the engine's own 8-bit sums overflow."""
    kind = _KINDS[engine]
    if precision == "int8" and not has_exact_products():
        in_float = targets.KINDS[kind].in_float
        return targets.TARGETS[in_float].instead or in_float
    rows = (row for row in targets.TARGETS.values() if (row.kind, row.precision) == (kind, precision))
    return next(row.instead for row in rows if row.instead is not None)


@cache
def _opened(path: Path) -> ctypes.CDLL:
    try:
        opened = ctypes.CDLL(str(path))
    except OSError as error:
        raise build.Lacking(
            f"{path} cannot be loaded ({error}). A folder whose files may be executed was expected. Name one in "
            "LC2FER_CACHE"
        ) from None
    return opened


def _check_cpu(opened: ctypes.CDLL) -> None:
    """The library says no to the same values, but only once an artifact is open, and in an engine's words."""
    asked = os.environ.get("LC2FER_CPU")
    able = _here(opened)
    if asked and asked not in able:
        raise UsageError(
            f"LC2FER_CPU is {asked}. What this processor can run was expected: {', '.join(able)}. Set it to one of "
            "these, or not at all."
        )

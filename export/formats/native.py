"""The .lc2 file of liblc2fer: the operations of lc2fer/kernels, labels and all, as native/network.h describes it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from lc2fer import kernels
from lc2fer.artifact import Artifact
from lc2fer.errors import UsageError
from lc2fer.inputs import InputSpec
from lc2fer.recipe import Recipe

from ..int8.calibration import Known
from .kernels import TOOLS, FusedNetwork, network

__all__ = ["TOOLS", "check", "make"]

_MAGIC = b"\x89LC2\r\n\x1a\n"
_FORMAT = 1
_PRECISIONS = {"int8": 0, "fp32": 2}  # of lc2fer/kernels/numbers.h
_PART = 64  # bytes; every part of the file begins at a multiple of it
_HEADER = struct.Struct("<8sIIQIIIII12x")  # behind it the checksum, and 4 bytes up to a whole part
_RECORD = struct.Struct("<IIIIfI8x")
_MOST_CLASSES = 1000


def check(recipe: Recipe) -> None:
    """Raise TargetUnavailable where the library cannot be had."""
    kernels.check("native", recipe.precision)


def make(parent: Artifact, recipe: Recipe, calibration: Known | None, path: Path) -> list[Path]:
    """Write `path`. Raises TargetUnavailable where the library cannot be had, and UsageError for labels it cannot hold.

    Where they are all there, the same weights and ranges give the same bytes.
    """
    check(recipe)
    path.write_bytes(contents(network(parent, recipe, calibration, path), recipe.precision, parent.input_spec))
    return [path]


def contents(made: FusedNetwork, precision: str, spec: InputSpec) -> bytes:
    """The file's bytes."""
    if any("\0" in label for label in spec.labels) or len(spec.labels) > _MOST_CLASSES:
        raise UsageError(
            f"The classes are {len(spec.labels)}, {spec.labels[0]!r} the first. At most {_MOST_CLASSES} without a zero "
            "byte were expected. Train on others, or export another target."
        )
    texts = b"".join(text.encode() + b"\0" for text in (spec.alignment, *spec.labels))
    records = b"".join(_record(operation.kind, operation.attributes) for operation in made.operations)
    arrays = [array for operation in made.operations for array in operation.constants]
    arrays += [made.weight.astype(np.float32), made.bias.astype(np.float32)]
    parts = [texts, records, *(array.tobytes() for array in arrays)]
    body = b"".join(part + bytes(-len(part) % _PART) for part in parts)
    header = _HEADER.pack(
        _MAGIC,
        _FORMAT,
        kernels.VERSION,
        _PART + len(body),
        _PRECISIONS[precision],
        spec.size,
        len(spec.labels),
        len(made.operations),
        len(texts),
    )
    return header + struct.pack("<II", zlib.crc32(body, zlib.crc32(header)), 0) + body


def _record(kind: str, attributes: dict[str, float]) -> bytes:
    return _RECORD.pack(
        kernels.KINDS.index(kind),
        int(attributes.get("kernel", 0)),
        int(attributes.get("stride", 0)),
        int(attributes.get("channels", 0)),
        float(attributes.get("inverse_step", 1.0)),
        int(attributes.get("by_row", 0)),
    )

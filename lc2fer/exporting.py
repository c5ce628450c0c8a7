"""The one way by which other parts of the project get artifacts; the export spoke is reached by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from lc2fer.artifact import Artifact

# Stock routes from the same weights, as their makers document them: what our targets are held against.
PEERS = (
    "stock-torch",
    "stock-torch-compile",
    "stock-onnx-fp32",
    "stock-onnx-int8",
    "stock-openvino-fp32",
    "stock-openvino-fp16",
    "stock-openvino-int8",
)
RATE = "matrix-rate"  # an 8-bit matrix product: how fast this machine could be; its manifest's device tells the MACs


class Exporter(Protocol):
    """All exports of one variant from one set of weights into one folder."""

    def check(self, target: str) -> None:
        """Raise TargetUnavailable where the target cannot be made on this machine, without making its sources."""
        ...

    def export(self, target: str) -> Artifact:
        """The artifact of that target, made or reused; raises what lc2fer.export.pipeline.Pipeline.export does."""
        ...


def exporter(
    config: str,
    out: Path,
    *,
    weights: Path | None,
    data: str,
    images: str,
    calibration_images: int | None = None,
    say: Callable[[str], None],
) -> Exporter:
    """The exporter of a variant; importing it needs torch and the packages of the targets that it is asked for."""
    pipeline: Any = importlib.import_module("lc2fer.export.pipeline").Pipeline
    made: Exporter = pipeline(
        config, out, weights=weights, data=data, images=images, calibration_images=calibration_images, say=say
    )
    return made


def make_engine(
    target: str, sources: Sequence[Artifact], out: Path, prove: Callable[[Artifact], Any], say: Callable[[str], None]
) -> Artifact:
    """The TensorRT engine of the first of these ONNX artifacts that builds here; neither torch nor onnx is needed.

    `prove` gets the engine before it is kept and returns what its manifest is to say (sqnr_db, agreement, to_json), or
    raises ParityError. Raises what lc2fer.export.engines.make does.
    """
    make: Callable[..., Artifact] = importlib.import_module("lc2fer.export.engines").make
    return make(target, sources, out, prove, say)

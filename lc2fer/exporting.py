"""The one call by which other parts of the project get an artifact; the export spoke is reached by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from lc2fer.artifact import Artifact


def export(
    config: str,
    target: str,
    *,
    weights: Path | None,
    data: str,
    out: Path,
    say: Callable[[str], None] = lambda text: None,
) -> Artifact:
    """The artifact of a variant and target, made or reused; raises what lc2fer.export.pipeline.Pipeline.export does."""
    pipeline = importlib.import_module("lc2fer.export.pipeline").Pipeline
    artifact: Artifact = pipeline(config, out, weights=weights, data=data, say=say).export(target)
    return artifact

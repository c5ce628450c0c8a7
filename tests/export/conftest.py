"""A small network, small faces, and everything that is exported from them, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lc2fer.export.pipeline import Pipeline

from lc2fer.artifact import Artifact
from lc2fer.errors import TargetUnavailable

SIZE = 32


@pytest.fixture(scope="session")
def faces(small_faces: Path) -> Path:
    return small_faces


@pytest.fixture(scope="session")
def weights(small_weights: Path) -> Path:
    return small_weights


@pytest.fixture(scope="session")
def pipeline(small_exports: Any) -> Pipeline:
    found: Pipeline = small_exports.pipeline
    return found


@pytest.fixture(scope="session")
def exported(small_exports: Callable[[str], Artifact]) -> Callable[[str], Artifact]:
    """The artifact of a target; each is made once. Where the fused operations cannot run, the test is skipped."""

    def export(target: str) -> Artifact:
        try:
            return small_exports(target)
        except TargetUnavailable as unavailable:
            if not target.endswith("-fused"):
                raise
            pytest.skip(str(unavailable))

    return export

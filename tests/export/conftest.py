"""A small network, small faces, and everything that is exported from them, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lc2fer.export.pipeline import Pipeline

from lc2fer.artifact import Artifact

SIZE = 32


@pytest.fixture(scope="session")
def faces(small_faces: Path) -> Path:
    return small_faces


@pytest.fixture(scope="session")
def weights(small_weights: Path) -> Path:
    return small_weights


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, faces: Path, weights: Path) -> Callable[[str], Artifact]:
    """The artifact of a target; each is made once."""
    out = tmp_path_factory.mktemp("out")
    pipeline = Pipeline("C8", out, weights=weights, data=faces, calibration_images=40)
    return pipeline.export

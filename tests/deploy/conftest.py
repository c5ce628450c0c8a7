"""What the tests of a running camera share."""

from __future__ import annotations

from pathlib import Path

import pytest

from lc2fer import cli


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, small_weights: Path, small_faces: Path) -> Path:
    """A small C8 for ONNX Runtime."""
    out = tmp_path_factory.mktemp("model")
    arguments = ["--config", "C8", "--target", "onnx-fp32", "--weights", str(small_weights), "--data", str(small_faces)]
    assert cli.run("export", [*arguments, "--out", str(out)]) == 0
    return out / "C8-onnx-fp32.onnx"

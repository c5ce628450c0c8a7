"""What the tests of a running camera and of its page share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from film import TOKEN, Film


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, small_exports: Any) -> Path:
    """A small C8 for ONNX Runtime."""
    path: Path = small_exports.into(tmp_path_factory.mktemp("model"), "onnx-fp32")["onnx-fp32"].path
    return path


@pytest.fixture
def film() -> Film:
    """What the page shows."""
    return Film()


@pytest.fixture
def served(film: Film) -> Iterator[Any]:
    """The page's server, for this machine alone."""
    with pytest.importorskip("lc2fer.deploy.camera.web").serve(film, ("127.0.0.1", 0), None) as server:
        yield server


@pytest.fixture
def guarded(film: Film) -> Iterator[Any]:
    """The same behind a token."""
    with pytest.importorskip("lc2fer.deploy.camera.web").serve(film, ("127.0.0.1", 0), TOKEN) as server:
        yield server

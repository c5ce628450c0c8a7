"""TensorRT and CUDA of the tests (tests/fakes), in this process or in one that a test starts."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lc2fer.export.pipeline import Pipeline

from lc2fer import nvidia
from lc2fer.artifact import Artifact

FAKES = Path(__file__).resolve().parents[1] / "fakes"
_NAMES = ("tensorrt", "pycuda", "cuda", "fake_gpu")


def _forget() -> None:
    for name in list(sys.modules):
        if name.split(".")[0] in _NAMES:
            del sys.modules[name]


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither TensorRT nor CUDA's bindings, whatever is installed; a test puts in what it wants."""
    _forget()
    monkeypatch.setattr(nvidia, "_LOGGERS", {})
    path = list(sys.path)
    for name in ("tensorrt", "pycuda", "cuda"):
        sys.modules[name] = None  # type: ignore[assignment]
    yield
    sys.path[:] = path
    importlib.invalidate_caches()
    _forget()


@pytest.fixture
def put_in(clean: None) -> Callable[..., None]:
    """Makes one of the tests' packages importable: "tensorrt", "cuda" or "pycuda"."""

    def put(*names: str) -> None:
        for name in names:
            folder = {"tensorrt": "gpu", "cuda": "cuda_python", "pycuda": "pycuda_alone"}[name]
            sys.path[:0] = [str(FAKES / folder), str(FAKES / "gpu")]
            sys.modules.pop(name, None)
        importlib.invalidate_caches()

    return put


@pytest.fixture(params=["cuda", "pycuda"])
def gpu(request: pytest.FixtureRequest, put_in: Callable[..., None]) -> Iterator[ModuleType]:
    """A machine with TensorRT and a GPU, by each of the bindings; gives the GPU, which has to be left empty."""
    put_in("tensorrt", request.param)
    module = importlib.import_module("fake_gpu")
    yield module
    assert module.left() == []


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory, small_exports: Any) -> Path:
    """A folder with everything that engines are built from, made once; to be copied."""
    out = tmp_path_factory.mktemp("sources")
    small_exports.into(out, "onnx-fp32", "onnx-fp16", "onnx-int8", "onnx-int8-fp16")
    return out


@pytest.fixture
def said() -> list[str]:
    """What the exporter says."""
    return []


@pytest.fixture
def export(
    tmp_path: Path, sources: Path, small_weights: Path, small_faces: Path, said: list[str]
) -> Callable[[str], Artifact]:
    """Exports a target into a folder of this test, where the ONNX files are made already."""
    for path in sources.iterdir():
        os.link(path, tmp_path / path.name)
    return Pipeline(
        "C8", tmp_path, weights=small_weights, data=small_faces, calibration_images=40, say=said.append
    ).export

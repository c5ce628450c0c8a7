"""The .lc2 file: liblc2fer answers as ONNX Runtime does with the same operations, and says what the manifest says."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_lc2
import torch
from lc2fer.export.formats import native
from lc2fer.export.pipeline import Pipeline

from lc2fer import kernels, open_session
from lc2fer.artifact import Artifact, record_of
from lc2fer.errors import ArtifactError, TargetUnavailable, UsageError
from lc2fer.inputs import InputSpec
from lc2fer.kernels import build
from lc2fer.network import checkpoint
from lc2fer.network.model import build as build_network
from lc2fer.variants import VARIANTS


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LC2FER_CPU", raising=False)
    try:
        kernels.library("native", "int8")
    except TargetUnavailable as unavailable:
        pytest.skip(str(unavailable))


def noise(size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 3, size, size)).astype(np.float32)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_it_answers_as_onnx_runtime_does(precision: str, exported: Callable[[str], Artifact]) -> None:
    """The operations have the same bits; the head is ONNX Runtime's own there, which adds in another order."""
    made = exported(f"native-{precision}")
    images = noise(made.input_spec.size)
    with open_session(exported(f"ort-{precision}-fused"), threads=1) as session:
        expected = session.run(images)
    for threads in (1, 2):
        with open_session(made, threads=threads) as session:
            engine: Any = session
            assert np.abs(session.run(images) - expected).max() < 1e-6 * np.abs(expected).max()
            assert engine.kernels in kernels.here("onnxruntime")
            assert engine.executed_precisions() == {{"int8": "int8", "fp32": "float"}[precision]: 6}
    assert made.path.suffix == ".lc2"
    assert (made.self_test is not None) == (precision == "int8")


@pytest.mark.parametrize(("config", "size"), [("C1", 50), ("C7", 38)])
def test_every_shape(config: str, size: int, tmp_path: Path, noise_faces: Path) -> None:
    """Lines of 1 to 49 pixels, 64 to 512 channels, kernels 2 and 3, stem strides 2 and 4."""
    torch.manual_seed(1)
    weights = checkpoint.save(
        build_network(VARIANTS[config]), tmp_path, "mine", input_spec=InputSpec(size=size), training={}
    )
    pipeline = Pipeline(config, tmp_path / "out", weights=weights.path, data=noise_faces)
    made = pipeline.export("native-fp32")
    with open_session(pipeline.checkpoint, threads=1) as session:
        expected = session.run(noise(size))
    with open_session(made, threads=1) as session:
        found = session.run(noise(size))
    assert np.abs(found - expected).max() < 2e-4 * np.abs(expected).max()


def test_the_same_network_is_the_same_bytes() -> None:
    made = tiny_lc2.contents()
    assert made == tiny_lc2.contents()
    assert (made[:8], len(made) % 64) == (b"\x89LC2\r\n\x1a\n", 0)
    assert int.from_bytes(made[16:24], "little") == len(made)
    assert int.from_bytes(made[56:60], "little") == zlib.crc32(made[64:], zlib.crc32(made[:56]))
    assert made[64:].startswith("level\0glad\0sad\0ärgerlich\0".encode())


def test_a_label_with_a_zero_in_it_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        native.contents(tiny_lc2.network(), "int8", InputSpec(size=20, labels=("a", "b\0", "c")))
    assert str(refused.value) == (
        "The classes are 3, 'a' the first. At most 1000 without a zero byte were expected. Train on others, or export "
        "another target."
    )


def test_a_file_of_another_manifest_is_refused(exported: Callable[[str], Artifact], tmp_path: Path) -> None:
    made = exported("native-int8")
    path = tmp_path / made.path.name
    path.write_bytes(tiny_lc2.contents())
    spec = replace(tiny_lc2.SPEC, alignment="none")
    other = replace(made, path=path, files=(record_of(path),), input_spec=spec, self_test=None)
    with pytest.raises(ArtifactError) as refused:
        open_session(other, threads=1)
    assert str(refused.value) == (
        f"{path} is for 20 pixels a side, glad, sad, ärgerlich, alignment level. What its manifest says was expected: "
        "20, glad, sad, ärgerlich, none. Export it again."
    )


def test_a_processor_that_is_not_there(exported: Callable[[str], Artifact], monkeypatch: pytest.MonkeyPatch) -> None:
    made = exported("native-int8")
    able = ", ".join(name for name in kernels.here("onnxruntime"))
    monkeypatch.setenv("LC2FER_CPU", "sse9")
    with pytest.raises(UsageError) as refused:
        open_session(made, threads=1)
    assert str(refused.value) == (
        f"LC2FER_CPU is sse9. What this processor can run was expected: {able}. Set it to one of these, or not at all."
    )


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path))
    build.library.cache_clear()
    try:
        with pytest.raises(TargetUnavailable) as refused:
            kernels.library("native", "fp32")
    finally:
        build.library.cache_clear()
    assert str(refused.value) == (
        "liblc2fer cannot run here: there is no no-such-compiler. A C++17 compiler was expected. Run: apt-get install "
        "g++, or name one in CXX, or export ort-fp32, which runs without them."
    )

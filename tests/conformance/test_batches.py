"""Batches through every engine: cut in any way they give the same bits, and a file takes any number of images."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lc2fer import kernels, open_session
from lc2fer.artifact import Artifact
from lc2fer.processor import has_exact_products
from lc2fer.recipe import FUSED
from lc2fer.threads import usable_cores

IMAGES = 13
THREADS = min(2, usable_cores())


@pytest.fixture(
    scope="module",
    params=["onnx-fp32", "onnx-int8", "ort-int8", "openvino-int8", "ort-int8-fused", "openvino-int8-fused"],
)
def model(request: pytest.FixtureRequest, small_exports: Callable[[str], Artifact]) -> Artifact:
    if request.param in ("ort-int8", "openvino-int8") and not has_exact_products():
        pytest.skip("this processor has no exact 8-bit products")
    return small_exports(request.param)


@pytest.fixture(scope="module")
def images() -> NDArray[np.float32]:
    return np.random.default_rng(0).integers(0, 256, (IMAGES, 3, 32, 32)).astype(np.float32)


def test_an_answer_does_not_depend_on_how_a_batch_is_cut(model: Artifact, images: NDArray[np.float32]) -> None:
    with open_session(model, threads=1) as session:
        wanted = np.concatenate([session.run(image[np.newaxis]) for image in images])
        assert np.array_equal(session.run(images), wanted)
    with open_session(model, threads=THREADS) as session:
        for sizes in ([IMAGES], [1] * IMAGES, [2, 4, 7], [12, 1]):
            ends = np.cumsum(sizes)
            found = [session.run(images[end - size : end]) for size, end in zip(sizes, ends)]
            assert np.array_equal(np.concatenate(found), wanted), sizes


def test_many_callers_get_their_own_batches(model: Artifact, images: NDArray[np.float32]) -> None:
    with open_session(model, threads=THREADS) as session:
        wanted = session.run(images)

        def call(first: int) -> bool:
            own = np.roll(np.arange(IMAGES), first)[: 3 + first]
            return all(np.array_equal(session.run(images[own]), wanted[own]) for _ in range(10))

        with ThreadPoolExecutor(6) as pool:
            assert all(pool.map(call, range(6)))


def test_a_file_takes_any_batch(model: Artifact, images: NDArray[np.float32]) -> None:
    """In the engine itself, as a model server runs it."""
    assert model.recipe is not None
    with open_session(model, threads=1) as session:
        wanted = session.run(images)
    run = _in_onnxruntime(model) if model.kind == "onnx" else _in_openvino(model)
    for count in (IMAGES, 1, 2):
        found = run(images[:count])
        assert found.shape == (count, 7)
        if model.recipe.form == FUSED:
            assert np.array_equal(found, wanted[:count])
        else:  # the engine adds float numbers of a batch in another order, which turns roundings
            assert np.abs(found - wanted[:count]).max() < 0.05 * np.abs(wanted).max()


def _in_onnxruntime(model: Artifact) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = THREADS
    assert model.recipe is not None
    if model.recipe.form == FUSED:
        options.register_custom_ops_library(str(kernels.library("onnxruntime", model.recipe.precision)))
    session = onnxruntime.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert given.shape == ["batch", 3, 32, 32]
    assert session.get_outputs()[0].shape == ["batch", 7]
    return lambda batch: session.run(None, {given.name: batch})[0]


def _in_openvino(model: Artifact) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    import openvino

    core = openvino.Core()
    assert model.recipe is not None
    if model.recipe.form == FUSED:
        core.add_extension(str(kernels.library("openvino", model.recipe.precision)))
    read = core.read_model(str(model.path))
    assert str(read.input(0).partial_shape) == "[?,3,32,32]"
    assert str(read.output(0).partial_shape) == "[?,7]"
    compiled: Any = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda batch: next(iter(compiled(batch).values())).copy()

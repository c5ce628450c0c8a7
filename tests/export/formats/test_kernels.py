"""The compiled operations: the numbers of the Q/DQ graph, on every shape that the eight have, and what they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from lc2fer.export.formats import qdq
from lc2fer.export.int8 import quantize
from lc2fer.export.pipeline import Pipeline
from numpy.typing import NDArray

from lc2fer import kernels, open_session, processor
from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError, TargetUnavailable, UsageError
from lc2fer.inputs import InputSpec
from lc2fer.kernels import build
from lc2fer.network import checkpoint
from lc2fer.network.model import build as build_network
from lc2fer.variants import VARIANTS

TARGET = "openvino-int8-fused"
# What each engine calls the precisions.
ENGINES = {
    "openvino": {"fp32": "f32", "fp16": "bf16", "int8": "i8"},
    "ort": {"fp32": "float", "fp16": "bfloat16", "int8": "int8"},
}


@pytest.fixture(autouse=True)
def no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LC2FER_CPU", raising=False)


@pytest.fixture(scope="module")
def scattered(
    tmp_path_factory: pytest.TempPathFactory, write_faces: Callable[..., Path]
) -> Callable[[str, int], Pipeline]:
    """Of a variant and a size: random weights, also where a new network has ones and zeros."""
    faces = write_faces(tmp_path_factory.mktemp("scattered") / "faces", train=30, test=1)

    @cache
    def made(config: str, size: int) -> Pipeline:
        torch.manual_seed(1)
        network = build_network(VARIANTS[config])
        with torch.no_grad():
            for name, value in network.named_parameters():
                if "norm" in name or "grn" in name or "bias" in name:
                    value.add_(0.3 * torch.randn_like(value))
        folder = tmp_path_factory.mktemp("scattered")
        weights = checkpoint.save(network, folder, "mine", input_spec=InputSpec(size=size), training={})
        return Pipeline(config, folder / "out", weights=weights.path, data=faces, calibration_images=32)

    return made


@pytest.mark.parametrize(
    ("engine", "config", "size"),
    [
        pytest.param("openvino", "C1", 50, marks=pytest.mark.every),
        ("openvino", "C7", 38),
        ("openvino", "C8", 100),
        ("ort", "C8", 100),
    ],
)
def test_it_computes_what_the_graph_with_qdq_says(
    engine: str, config: str, size: int, tmp_path: Path, scattered: Callable[[str, int], Pipeline]
) -> None:
    """Lines of 1 to 49 pixels, 40 to 512 channels, kernels 2 and 3, stem strides 2 and 4; ONNX Runtime in float32."""
    pipeline = scattered(config, size)
    made = pipeline.export(f"{engine}-int8-fused")
    assert made.recipe is not None
    graph = tmp_path / "graph.onnx"
    recipe = replace(made.recipe, form="folded")
    calibration = pipeline.calibration(recipe)
    assert calibration is not None
    rows = recipe.without_range(VARIANTS[config].blocks)
    model, layers = qdq.quantized(pipeline.checkpoint, recipe, calibration, graph, rows)
    quantize.insert(model, layers, recipe, rows)
    onnx.save_model(model, graph)
    images = noise(size)
    with open_session(replace(made, kind="onnx", path=graph, self_test=None), threads=1) as session:
        expected = session.run(images)
    found = on_one_and_two_threads(made, images, ENGINES[engine]["int8"])
    assert np.abs(expected - found[0]).max() < 5e-3 * np.abs(expected).max()
    assert np.array_equal(*found)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 2e-4), ("fp16", 2e-2)])
@pytest.mark.parametrize(("config", "size"), [("C1", 50), ("C7", 38), ("C8", 100)])
def test_in_float_it_computes_what_the_trained_network_does(
    engine: str,
    config: str,
    size: int,
    precision: str,
    tolerance: float,
    scattered: Callable[[str, int], Pipeline],
) -> None:
    """GELU's polynomial is off by 4.8e-4; bfloat16 rounds by 2e-3, layer after layer."""
    pipeline = scattered(config, size)
    images = noise(size)
    with open_session(pipeline.checkpoint, threads=1) as session:
        expected = session.run(images)
    made = pipeline.export(f"{engine}-{precision}-fused")
    found = on_one_and_two_threads(made, images, ENGINES[engine][precision])
    assert np.abs(expected - found[0]).max() < tolerance * np.abs(expected).max()
    assert np.array_equal(*found)


def noise(size: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).integers(0, 256, (4, 3, size, size)).astype(np.float32)


def on_one_and_two_threads(made: Artifact, images: NDArray[np.float32], products: str) -> list[NDArray[np.float32]]:
    found = []
    for threads in (1, 2):
        with open_session(made, threads=threads) as session:
            found.append(np.concatenate([session.run(image[np.newaxis]) for image in images]))
            assert np.array_equal(session.run(images), found[-1])  # ONNX Runtime: an image a thread
            assert session.executed_precisions()[products] >= 6  # type: ignore[attr-defined]
            assert session.kernels in kernels.here("onnxruntime")  # type: ignore[attr-defined]
    return found


def test_pixels_out_of_range_are_clipped_as_in_the_graph(exported: Callable[[str], Artifact]) -> None:
    images = np.full((1, 3, 32, 32), 300, np.float32)
    images[0, 1] = -7
    images[0, 2] = 99.6
    with open_session(exported(TARGET), threads=1) as session:
        engine: Any = session  # `run` refuses such pixels before the operations see them
        outside, inside = (engine._logits(each) for each in (images, np.rint(np.clip(images, 0, 255))))
    assert np.array_equal(outside, inside)


def test_a_changed_graph_is_refused(exported: Callable[[str], Artifact], tmp_path: Path) -> None:
    made = exported(TARGET)
    text = made.path.read_text()
    assert 'kernel="3"' in text
    changed = tmp_path / made.path.name
    changed.write_text(text.replace('kernel="3"', 'kernel="2"'))
    changed.with_suffix(".bin").write_bytes(made.path.with_suffix(".bin").read_bytes())
    with pytest.raises(ArtifactError, match=r"OpenVINO .* refuses .*A model that it can run was expected"):
        open_session(replace(made, path=changed), threads=1)


def test_an_ir_of_an_earlier_version_is_refused(exported: Callable[[str], Artifact], tmp_path: Path) -> None:
    made = exported(TARGET)
    text = made.path.read_text()
    now = f' version="{kernels.VERSION}"'
    assert text.count(now) >= 3
    earlier = tmp_path / made.path.name
    earlier.write_text(text.replace(now, ""))
    earlier.with_suffix(".bin").write_bytes(made.path.with_suffix(".bin").read_bytes())
    expected = r"expected operations of version 3, not those of an earlier lc2fer; export it again"
    with pytest.raises(ArtifactError, match=rf"OpenVINO .* refuses .*{expected}"):
        open_session(replace(made, path=earlier), threads=1)


def attribute(name: str, value: object) -> Callable[[onnx.ModelProto], None]:
    """Changes it in all operations that have it."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            for place, there in enumerate(node.attribute):
                if node.domain == kernels.DOMAIN and there.name == name:
                    node.attribute[place].CopyFrom(onnx.helper.make_attribute(name, value))

    return change


def earlier(model: onnx.ModelProto) -> None:
    """The attributes are those of the first version."""
    for node in model.graph.node:
        for place, there in enumerate(node.attribute):
            if there.name == "version":
                del node.attribute[place]
                break


def shorter(model: onnx.ModelProto) -> None:
    """The first block's depthwise taps lose their bias."""
    tensor = next(each for each in model.graph.initializer if each.name == "block.1.0")
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor)[:-1], tensor.name))


def computed(model: onnx.ModelProto) -> None:
    """The first block's depthwise taps come out of a node, which may change from image to image."""
    node = next(each for each in model.graph.node if each.name == "block.1")
    node.input[1] = "taps"
    place = list(model.graph.node).index(node)
    model.graph.node.insert(place, onnx.helper.make_node("RandomNormalLike", ["block.1.0"], ["taps"]))


def larger(model: onnx.ModelProto) -> None:
    """The image is one that no camera takes."""
    for size in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        size.dim_value = 100_000
    del model.graph.value_info[:]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (larger, "expected an image of 1 to 4096 pixels a side"),
        (attribute("kernel", 2), "expected constants of the image's and the attributes' shapes"),
        (attribute("kernel", -1), "expected a kernel of 1 to 3, and an image not smaller"),
        (attribute("precision", "int4"), "expected a precision of int8, bf16 or fp32"),
        (attribute("precision", "bf16"), "expected constants of the image's and the attributes' shapes"),
        (attribute("precision", "as good as it gets"), "Result buffer is not large enough"),
        (attribute("version", 1), "expected operations of version 3, not those of an earlier lc2fer; export it again"),
        (attribute("channels", 12), "expected 8, 16, 24 .. 512 channels"),
        (earlier, "expected operations of version 3, not those of an earlier lc2fer; export it again"),
        (attribute("stride", 0), "expected a stride of 1 to 4096 pixels"),
        (attribute("stride", 1 << 32), "expected a stride of 1 to 4096 pixels"),
        (shorter, "expected constants of the image's and the attributes' shapes"),
        (computed, "expected a constant behind the image"),
    ],
)
def test_a_changed_graph_of_onnx_is_refused(
    change: Callable[[onnx.ModelProto], None], expected: str, exported: Callable[[str], Artifact], tmp_path: Path
) -> None:
    made = exported("ort-int8-fused")
    model = onnx.load(made.path)
    change(model)
    changed = tmp_path / made.path.name
    onnx.save_model(model, changed)
    with pytest.raises(ArtifactError, match=rf"ONNX Runtime .* refuses .*{expected}.*A model that it can run was"):
        open_session(replace(made, path=changed), threads=1)


def test_a_budget_has_nothing_to_give_back() -> None:
    from lc2fer.targets import check_budget_target

    for target in (TARGET, "ort-int8-fused"):
        with pytest.raises(UsageError, match=f"A budget was given for {target}. Expected one of onnx-int8"):
            check_budget_target(target)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("precision", ["int8", "fp16", "fp32"])
def test_every_variant_gives_the_same_bits(
    engine: str, precision: str, exported: Callable[[str], Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = exported(f"{engine}-{precision}-fused")
    images = noise(made.input_spec.size)
    engine = "onnxruntime" if engine == "ort" else engine
    found, names = {}, kernels.here(engine)
    for name in names:
        monkeypatch.setenv("LC2FER_CPU", name)
        ran = kernels.chosen(engine, precision)
        assert names.index(ran) >= names.index(name)
        for threads in (1, 2):
            with open_session(made, threads=threads) as session:
                found[ran, threads] = np.concatenate([session.run(image[np.newaxis]) for image in images])
    assert len(found) >= 2
    first, *others = found.values()
    assert all(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize("target", [TARGET, "ort-int8-fused"])
def test_a_processor_that_is_not_there(
    target: str, exported: Callable[[str], Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = exported(target)
    able = ", ".join(kernels.here("openvino"))
    for asked in ("sse9", "avx2 generic"):
        monkeypatch.setenv("LC2FER_CPU", asked)
        with pytest.raises(UsageError) as raised:
            open_session(made, threads=1)
        assert str(raised.value) == (
            f"LC2FER_CPU is {asked}. What this processor can run was expected: {able}. Set it to one of these, or not "
            "at all."
        )
    monkeypatch.setenv("LC2FER_CPU", "")
    open_session(made, threads=1).close()


def test_an_engine_says_no_to_it_too(exported: Callable[[str], Artifact], monkeypatch: pytest.MonkeyPatch) -> None:
    made = exported("ort-int8-fused")
    monkeypatch.setattr(kernels, "_check_cpu", lambda opened: None)
    monkeypatch.setenv("LC2FER_CPU", "sse9")
    with pytest.raises(ArtifactError, match=r"refuses .*expected LC2FER_CPU to be one of .*generic, not sse9"):
        open_session(made, threads=1)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_missing_is_told_before_images_are_read(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path / "cache"))
    build.library.cache_clear()
    pipeline = Pipeline("C8", tmp_path, data=tmp_path / "no faces")
    with pytest.raises(TargetUnavailable, match="there is no no-such-compiler"):
        pipeline.export(f"{engine}-int8-fused")


@pytest.mark.parametrize("target", ["ort-int8", "openvino-int8"])
def test_so_is_a_processor_whose_sums_overflow(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "has_exact_products", lambda: False)
    pipeline = Pipeline("C8", tmp_path, data=tmp_path / "no faces")
    with pytest.raises(TargetUnavailable, match=f"^C8-{target} cannot be trusted here: .*, or a target that ends in"):
        pipeline.export(target)

"""The compiled operations: the numbers of the Q/DQ graph, on every shape that the eight have, and what they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from lc2fer.export.formats import qdq
from lc2fer.export.pipeline import Pipeline
from numpy.typing import NDArray

from lc2fer import kernels, open_session
from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError, TargetUnavailable, UsageError
from lc2fer.inputs import InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build
from lc2fer.variants import VARIANTS

TARGET = "openvino-int8-fused"
# What each engine calls the precisions.
ENGINES = {
    "openvino": {"fp32": "f32", "fp16": "bf16", "int8": "i8"},
    "ort": {"fp32": "float", "fp16": "bfloat16", "int8": "int8"},
}
here = pytest.mark.skipif(
    not kernels._cpu_flags() >= kernels.NEEDED["int8"], reason="this processor has no AVX-512 VNNI"
)


@pytest.fixture
def anew() -> Iterator[None]:
    """What was found out about this machine is forgotten, before and after."""
    kernels.library.cache_clear()
    yield
    kernels.library.cache_clear()


@here
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("config", "size"), [("C1", 50), ("C7", 38), ("C8", 100)])
def test_it_computes_what_the_graph_with_qdq_says(
    engine: str, config: str, size: int, tmp_path: Path, write_faces: Callable[..., Path]
) -> None:
    """Lines of 1 to 49 pixels, 40 to 512 channels, kernels 2 and 3, stem strides 2 and 4; ONNX Runtime in float32."""
    pipeline = scattered(config, size, tmp_path, write_faces)
    made = pipeline.export(f"{engine}-int8-fused")
    assert made.recipe is not None
    graph = tmp_path / "graph.onnx"
    recipe = replace(made.recipe, form="folded")
    qdq.make(pipeline.checkpoint, recipe, pipeline.calibration(recipe), graph)
    images = noise(size)
    with open_session(replace(made, kind="onnx", path=graph), threads=1) as session:
        expected = session.run(images)
    found = on_one_and_two_threads(made, images, ENGINES[engine]["int8"])
    assert np.abs(expected - found[0]).max() < 5e-3 * np.abs(expected).max()
    assert np.abs(found[0] - found[1]).max() < 5e-3 * np.abs(expected).max()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 2e-4), ("fp16", 2e-2)])
@pytest.mark.parametrize(("config", "size"), [("C1", 50), ("C7", 38), ("C8", 100)])
def test_in_float_it_computes_what_the_trained_network_does(
    engine: str,
    config: str,
    size: int,
    precision: str,
    tolerance: float,
    tmp_path: Path,
    write_faces: Callable[..., Path],
) -> None:
    """GELU's polynomial is off by 7.5e-5; bfloat16 rounds by 2e-3, layer after layer."""
    if not kernels._cpu_flags() >= kernels.NEEDED[precision]:
        pytest.skip("this processor lacks an instruction")
    pipeline = scattered(config, size, tmp_path, write_faces)
    images = noise(size)
    with open_session(pipeline.checkpoint, threads=1) as session:
        expected = session.run(images)
    made = pipeline.export(f"{engine}-{precision}-fused")
    found = on_one_and_two_threads(made, images, ENGINES[engine][precision])
    assert np.abs(expected - found[0]).max() < tolerance * np.abs(expected).max()
    assert np.abs(found[0] - found[1]).max() < tolerance * np.abs(expected).max()


def scattered(config: str, size: int, tmp_path: Path, write_faces: Callable[..., Path]) -> Pipeline:
    """Random weights, also where a new network has ones and zeros."""
    torch.manual_seed(1)
    network = build(VARIANTS[config])
    with torch.no_grad():
        for name, value in network.named_parameters():
            if "norm" in name or "grn" in name or "bias" in name:
                value.add_(0.3 * torch.randn_like(value))
    weights = checkpoint.save(network, tmp_path, "mine", input_spec=InputSpec(size=size), training={})
    faces = write_faces(tmp_path / "faces", train=30, test=1)
    return Pipeline(config, tmp_path / "out", weights=weights.path, data=faces, calibration_images=32)


def noise(size: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).integers(0, 256, (4, 3, size, size)).astype(np.float32)


def on_one_and_two_threads(made: Artifact, images: NDArray[np.float32], products: str) -> list[NDArray[np.float32]]:
    found = []
    for threads in (1, 2):
        with open_session(made, threads=threads) as session:
            found.append(session.run(images))
            assert session.executed_precisions()[products] >= 6  # type: ignore[attr-defined]
    return found


@here
def test_pixels_out_of_range_are_clipped_as_in_the_graph(exported: Callable[[str], Artifact]) -> None:
    images = np.full((1, 3, 32, 32), 300, np.float32)
    images[0, 1] = -7
    images[0, 2] = 99.6
    with open_session(exported(TARGET), threads=1) as session:
        outside, inside = (session.run(each) for each in (images, np.rint(np.clip(images, 0, 255))))
    assert np.array_equal(outside, inside)


@here
def test_a_changed_graph_is_refused(exported: Callable[[str], Artifact], tmp_path: Path) -> None:
    made = exported(TARGET)
    text = made.path.read_text()
    assert 'kernel="3"' in text
    changed = tmp_path / made.path.name
    changed.write_text(text.replace('kernel="3"', 'kernel="2"'))
    changed.with_suffix(".bin").write_bytes(made.path.with_suffix(".bin").read_bytes())
    with pytest.raises(ArtifactError, match=r"OpenVINO .* refuses .*A model that it can run was expected"):
        open_session(replace(made, path=changed), threads=1)


def attribute(name: str, value: object) -> Callable[[onnx.ModelProto], None]:
    """Changes it in all operations that have it."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            for place, there in enumerate(node.attribute):
                if node.domain == kernels.DOMAIN and there.name == name:
                    node.attribute[place].CopyFrom(onnx.helper.make_attribute(name, value))

    return change


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


@here
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (larger, "expected an image of 1 to 4096 pixels a side"),
        (attribute("kernel", 2), "expected constants of the image's and the attributes' shapes"),
        (attribute("kernel", -1), "expected a kernel of 1 to 3, and an image not smaller"),
        (attribute("precision", "int4"), "expected a precision of int8, bf16 or fp32"),
        (attribute("precision", "bf16"), "expected constants of the image's and the attributes' shapes"),
        (attribute("precision", "as good as it gets"), "Result buffer is not large enough"),
        (attribute("stride", 0), "expected an image of three colours and at least 4 x 4 pixels"),
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


def test_another_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anew: None) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nflags\t\t: fpu avx2 avx512f avx512bw avx512dq avx512vl\n")
    monkeypatch.setattr(kernels, "_CPUINFO", cpuinfo)
    with pytest.raises(TargetUnavailable) as raised:
        Pipeline("C8", tmp_path).check(TARGET)
    assert str(raised.value) == (
        "The fused operations cannot run here: the processor has no avx512_vnni. AVX-512 with VNNI was expected (Intel "
        "Ice Lake, AMD Zen 4 or newer, on Linux). Export openvino-int8, which runs everywhere, instead."
    )
    with pytest.raises(TargetUnavailable, match=r"Export ort-int8, which runs everywhere, instead\.$"):
        Pipeline("C8", tmp_path).check("ort-int8-fused")
    with pytest.raises(TargetUnavailable) as raised:
        Pipeline("C8", tmp_path).check("openvino-fp16-fused")
    assert str(raised.value) == (
        "The fused operations cannot run here: the processor has no avx512_bf16. AVX-512 with BF16 was expected (Intel "
        "Cooper Lake or Sapphire Rapids, AMD Zen 4 or newer, on Linux). Export openvino-fp16, which runs everywhere, "
        "instead."
    )


@here
@pytest.mark.parametrize(
    ("compiler", "text"),
    [
        (
            "no-such-compiler",
            "The fused operations cannot run here: there is no no-such-compiler. A C++17 compiler was expected. Run: "
            "apt-get install g++, or name one in CXX, or export openvino-int8, which runs everywhere.",
        ),
        (
            "false",
            "The fused operations cannot run here: false says exit code 1. A compiler that knows AVX-512 was "
            "expected (GCC 11, Clang 12 or newer). Name one in CXX, or export openvino-int8, which runs everywhere.",
        ),
    ],
)
def test_no_compiler(compiler: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anew: None) -> None:
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path))
    with pytest.raises(TargetUnavailable) as raised:
        kernels.library("openvino", "int8")
    assert str(raised.value) == text
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@here
def test_it_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anew: None) -> None:
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path))
    built = kernels.library("openvino", "int8")
    first = built.stat().st_mtime_ns
    kernels.library.cache_clear()
    assert (kernels.library("openvino", "int8"), built.stat().st_mtime_ns) == (built, first)
    assert built.parent.parent == tmp_path

"""Levels 3 and 4: all eight variants in all four forms, compiled by TensorRT-RTX's builder on the CPU, and computed.

Compiled by TensorRT-RTX is not tested on TensorRT: it is NVIDIA's parser, typing and builder of the TensorRT 11 age,
through our builder's code, and it says nothing of TensorRT 10.3's. The weights are random, so no accuracy is told;
images are noise of several scales.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from lc2fer.deploy.sessions import onnxruntime as deploy
from lc2fer.export.formats import onnx as float_onnx
from lc2fer.export.formats import qdq
from lc2fer.export.formats import tensorrt as engines
from lc2fer.export.formats import tensorrt_builder as tensorrt
from lc2fer.export.int8 import lint
from onnx import TensorProto, helper, numpy_helper

from lc2fer import cli, metrics, open_session
from lc2fer.artifact import Artifact, load, record_of
from lc2fer.errors import TargetUnavailable
from lc2fer.inputs import InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build
from lc2fer.recipe import PRECISIONS
from lc2fer.targets import TARGETS
from lc2fer.variants import VARIANTS

rtx = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed here: pip install 'lc2fer[rtx]'")

FORMS = ("onnx-fp32", "onnx-fp16", "onnx-int8", "onnx-int8-fp16")
GATE = ("onnx-fp32", "onnx-int8-fp16")  # of C8


def silent(phase: str, done: int, steps: int) -> None: ...


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Float32 [4,3,100,100]: noise, smooth in blocks of 1, 4, 10 and 25 pixels."""
    rng = np.random.default_rng(0)
    blocks = [rng.integers(0, 256, (3, 100 // side, 100 // side)) for side in (1, 4, 10, 25)]
    return np.stack([np.kron(block, np.ones((1, side, side))) for block, side in zip(blocks, (1, 4, 10, 25))]).astype(
        np.float32
    )


class Images:
    """What the makers ask of a calibration set."""

    fingerprint = "random patterns"

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.batch(place, place + 1) for place in range(len(self)))

    def batch(self, begin: int, end: int) -> np.ndarray:
        return self.images[begin:end]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, images: np.ndarray) -> Callable[[str, str], Artifact]:
    """The ONNX artifact of a variant and a target, of random weights, as the exporter makes it; each is made once."""
    import torch

    out = tmp_path_factory.mktemp("graphs")
    calibration: Any = Images(images)
    found: dict[tuple[str, str], Artifact] = {}

    @lru_cache
    def parent(variant: str) -> Artifact:
        torch.manual_seed(0)
        network = build(VARIANTS[variant])
        with torch.no_grad():
            for name, value in network.named_parameters():
                if "norm" in name or "grn" in name or "bias" in name:
                    value.add_(0.1 * torch.randn_like(value))  # all zeros and ones otherwise
        return checkpoint.save(network, out, f"{variant}-torch", input_spec=InputSpec(), training={})

    def artifact(variant: str, target: str) -> Artifact:
        if (variant, target) not in found:
            plan = TARGETS[target]
            recipe = plan.recipe
            path = out / f"{variant}-{target}.onnx"
            {"onnx": float_onnx.make, "qdq": qdq.make}[plan.maker](parent(variant), recipe, calibration, path)
            found[variant, target] = Artifact(
                path=path,
                kind="onnx",
                target=target,
                variant=variant,
                input_spec=InputSpec(),
                files=(record_of(path),),
                recipe=recipe,
            )
        return found[variant, target]

    return artifact


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "forms"), [("C8", GATE), *(pytest.param(name, FORMS, marks=pytest.mark.every) for name in VARIANTS)]
)
def test_l3_l4_every_form_compiles_and_computes(
    variant: str,
    forms: tuple[str, ...],
    made: Callable[[str, str], Artifact],
    images: np.ndarray,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    import openvino

    logits: dict[str, np.ndarray] = {}
    for target in forms:
        artifact = made(variant, target)
        model = artifact.path.read_bytes()
        assert artifact.recipe is not None
        assert lint.lint(onnx.load_model_from_string(model), artifact.recipe) == []  # level 2
        start = time.perf_counter()
        built = tensorrt.build(rtx, model, timing=None, progress=silent)
        build_s = time.perf_counter() - start
        assert len(built.engine) > 1_000_000
        assert not [line for line in built.log if line.startswith("ERROR")]
        with deploy.load(artifact, optimize=False) as session:
            logits[target] = session.run(images)
        compiled = openvino.Core().compile_model(
            str(artifact.path), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        )
        other = np.concatenate([compiled(image[None])[0] for image in images])
        sqnr = metrics.sqnr_db(logits["onnx-fp32"], logits[target]) if target != "onnx-fp32" else np.inf
        beside = metrics.sqnr_db(logits[target], other)
        record_testsuite_property(
            f"{variant} {target}",
            f"built in {build_s:.2f} s, {len(built.engine)} bytes, {sqnr:.1f} dB against fp32, "
            f"OpenVINO {beside:.1f} dB against ONNX Runtime",
        )
        assert np.isfinite(logits[target]).all()
        least = PRECISIONS[artifact.recipe.precision].sqnr_db
        assert sqnr > least, target
        assert beside > least, target


# -- what has to be rejected is rejected ------------------------------------------------------------------------------


def edited(artifact: Artifact, edit: Callable[[onnx.GraphProto], None]) -> bytes:
    model = onnx.load_model(artifact.path)
    edit(model.graph)
    return model.SerializeToString()


def int32_bias(graph: onnx.GraphProto) -> None:
    """ONNX Runtime's default: a bias as int32 behind a DequantizeLinear."""
    node = next(node for node in graph.node if node.op_type == "Conv")
    bias = next(tensor for tensor in graph.initializer if tensor.name == node.input[2])
    values = numpy_helper.to_array(bias)
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.round(values * 1000).astype(np.int32), "bias.int32"),
            numpy_helper.from_array(np.full(len(values), 0.001, np.float32), "bias.scale"),
        ]
    )
    node.input[2] = "bias.value"
    graph.node.insert(0, helper.make_node("DequantizeLinear", ["bias.int32", "bias.scale"], ["bias.value"], axis=0))


def asymmetric(graph: onnx.GraphProto) -> None:
    zeros = {node.input[2] for node in graph.node if node.op_type == "QuantizeLinear"}
    for tensor in graph.initializer:
        if tensor.name in zeros:
            tensor.CopyFrom(numpy_helper.from_array(np.array(3, np.int8), tensor.name))


def mixed_add(graph: onnx.GraphProto) -> None:
    """float16 + float32 without a cast, at the logits."""
    last = graph.node[-1]
    last.output[0] = "before"
    graph.initializer.append(numpy_helper.from_array(np.zeros((1, 7), np.float16), "half"))
    graph.node.append(helper.make_node("Add", ["before", "half"], [graph.output[0].name]))


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (int32_bias, "Int32"),
        (asymmetric, "[Zz]ero.point"),
        (mixed_add, "type"),
    ],
)
def test_l3_what_tensorrt_does_not_take_is_refused(
    edit: Callable[[onnx.GraphProto], None], text: str, made: Callable[[str, str], Artifact]
) -> None:
    artifact = made("C8", "onnx-int8")
    with pytest.raises(tensorrt.Refused, match=text):
        tensorrt.build(rtx, edited(artifact, edit), timing=None, progress=silent)


def convolution(*shape: int | str) -> bytes:
    """A model of one convolution whose input has that shape."""
    weight = numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "weight")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["pixels", "weight"], ["logits"])],
        "one",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()


def test_l3_an_open_batch_is_fixed_or_gets_a_profile_and_an_open_side_neither() -> None:
    fixed = tensorrt.build(rtx, convolution(1, 3, 32, 32), timing=None, progress=silent).engine
    assert len(tensorrt.build(rtx, convolution("N", 3, 32, 32), timing=None, progress=silent).engine) == len(fixed)
    profiled = tensorrt.build(rtx, convolution("N", 3, 32, 32), timing=None, progress=silent, batch=8).engine
    assert len(profiled) > len(fixed)
    with pytest.raises(tensorrt.Refused, match=r"input pixels has the shape \[1, 3, 32, -1\]; only its batch may be"):
        tensorrt.build(rtx, convolution(1, 3, 32, "W"), timing=None, progress=silent)


def test_l3_a_network_compiles_for_batches(made: Callable[[str, str], Artifact]) -> None:
    built = tensorrt.build(rtx, made("C8", "onnx-int8-fp16").path.read_bytes(), timing=None, progress=silent, batch=16)
    assert len(built.engine) > 1_000_000
    assert not [line for line in built.log if line.startswith("ERROR")]


def test_l3_the_builder_tells_its_progress() -> None:
    seen: list[tuple[str, int, int]] = []
    tensorrt.build(rtx, convolution(1, 3, 32, 32), timing=None, progress=lambda *step: seen.append(step))
    assert seen[0] == ("Building engine", 0, seen[0][2])
    assert seen[-1] == ("Building engine", seen[0][2], seen[0][2])

    def stop(phase: str, done: int, steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tensorrt.build(rtx, convolution(1, 3, 32, 32), timing=None, progress=stop)


# -- TensorRT-RTX as a target -----------------------------------------------------------------------------------------


def test_an_rtx_engine_is_built_and_says_that_it_ran_nowhere(
    clean: None,
    export: Callable[[str], Artifact],
    said: list[str],
    small_weights: Path,
    small_faces: Path,
    small_exports: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small_exports.into(tmp_path, "onnx-int8-fp16")
    arguments = ["--config", "C8", "--target", "rtx-int8", "--weights", str(small_weights), "--data", str(small_faces)]
    assert cli.run("export", [*arguments, "--calibration-images", "40", "--out", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["proof"] is None
    artifact = load(Path(document["manifest"]))
    assert (artifact.path.name, artifact.kind, len(artifact.files)) == ("C8-rtx-int8.engine", "tensorrt", 2)
    assert artifact.device is not None
    assert (artifact.device["library"], artifact.device["version"]) == ("tensorrt_rtx", rtx.__version__)
    assert artifact.device["checked"] == "compiled by TensorRT-RTX's builder on a CPU; it has run nowhere"
    assert artifact.device["attempts"][0]["source"] == "C8-onnx-int8-fp16"
    assert (artifact.device["name"], artifact.device["layers"]) == (None, None)
    assert artifact.device["checked"] in " ".join(captured.err.split())
    assert export("rtx-int8").sha256 == artifact.sha256
    assert said[-1] == "C8-rtx-int8.engine: reused, its sources, TensorRT-RTX and device are the same"
    with pytest.raises(
        TargetUnavailable,
        match=r"C8-rtx-int8.engine cannot be opened here: neither .* It runs with TensorRT-RTX on an RTX GPU. Open it",
    ):
        open_session(artifact.path)


def test_without_tensorrt_rtx_the_target_says_what_to_install(
    clean: None, export: Callable[[str], Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(TargetUnavailable) as refusal:
        export("rtx-fp16")
    assert str(refusal.value) == (
        "TensorRT-RTX cannot be used here: the package tensorrt_rtx is not installed. It builds engines without a GPU "
        "where it is installed. Run: pip install 'lc2fer[rtx]'."
    )


@pytest.mark.parametrize("target", ["onnx-int8", "onnx-int8-fp16"])
def test_l3_polygraphy_finds_the_graph_fully_supported(
    target: str, made: Callable[[str, str], Artifact], tmp_path: Path
) -> None:
    pytest.importorskip("polygraphy", reason="polygraphy is not installed here")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("polygraphy")), "inspect", "capability", str(made("C8", target).path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "POLYGRAPHY_USE_TENSORRT_RTX": "1", "POLYGRAPHY_AUTOINSTALL_DEPS": "0"},
        timeout=120,
    )
    assert "Graph is fully supported by TensorRT" in done.stdout + done.stderr, done.stdout + done.stderr


def test_labels_tell_compiled_from_run() -> None:
    assert "has run nowhere" in engines.COMPILED
    assert "ran on this device" in engines.RAN

"""Tiny models, images and engines for the harness."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lc2fer.artifact import Artifact, publish, record_of, staged
from lc2fer.inputs import InputSpec
from lc2fer.recipe import Recipe

SIZE = 8
SPEC = InputSpec(size=SIZE)

# An engine with the names of ONNX Runtime's that a session needs. The model file holds what it does when it runs.
ENGINE = """
import os, signal
import numpy as np

__version__ = "0.0"

class GraphOptimizationLevel:
    ORT_DISABLE_ALL = 0

class SessionOptions:
    def add_session_config_entry(self, name, value):
        pass

class _Input:
    name = "input"

class InferenceSession:
    def __init__(self, path, options, providers):
        print("chatter", flush=True)
        os.write(1, b'{"event": "done"}\\n')
        self._behaviour = open(path).read()
        self._runs = 0
        if self._behaviour == "memory":
            self._kept = np.ones(50_000_000, np.uint8)

    def get_inputs(self):
        return [_Input()]

    def run(self, names, feeds):
        self._runs += 1
        image = feeds["input"]
        if self._behaviour == "crash" and self._runs > 3:
            os.write(2, b"engine: bad kernel\\n\\n")
            os.kill(os.getpid(), signal.SIGSEGV)
        if self._behaviour == "raise":
            raise RuntimeError("no such kernel")
        logits = np.zeros((1, 7), np.float32)
        logits[0, int(image[0, 0].mean() / 32) % 7] = 1 + image.mean() / 1000
        if self._behaviour == "nan":
            logits[0, 3] = np.nan
        if self._behaviour == "off" and image[0, 0].mean() < 32:
            logits = np.roll(logits, 1, axis=1)
        return [logits]
"""


@pytest.fixture
def engine(tmp_path, monkeypatch) -> None:
    """Puts the fake engine before the real one in every process that the harness starts."""
    folder = tmp_path / "engine"
    folder.mkdir()
    (folder / "onnxruntime.py").write_text(ENGINE)
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.fixture
def tiny():
    """Makes ONNX artifacts."""
    return _tiny


def _tiny(folder: Path, stem: str, content: bytes, *, target: str = "onnx-fp32", spec: InputSpec = SPEC) -> Artifact:
    """An ONNX artifact with that content."""
    with staged(folder) as staging:
        path = staging / f"{stem}.onnx"
        path.write_bytes(content)
        artifact = Artifact(
            path=path,
            kind="onnx",
            target=target,
            variant="C6",
            input_spec=spec,
            files=(record_of(path),),
            recipe=Recipe("fp32"),
            parent_sha256="p" * 64,
        )
        return publish(artifact, folder)


@pytest.fixture
def real_model() -> bytes:
    """ONNX [1,3,8,8] -> ReduceMean -> MatMul -> logits [1,7]."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    weights = np.arange(21, dtype=np.float32).reshape(3, 7) / 100
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 7])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([2, 3], np.int64), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def faces(tmp_path_factory) -> Path:
    """RAF-DB's folder layout: 10 test images a class, of a red that tells it; the fake engine finds the class."""
    root = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    for split, count in (("train", 1), ("test", 10)):
        for label in range(7):
            folder = root / split / str(label + 1)
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
                pixels[:, :, 0] = 32 * label + 16
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root

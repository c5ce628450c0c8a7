"""Tiny models, images and engines for the harness."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from lc2fer.benchmarks.measuring.conditions import Conditions
from lc2fer.benchmarks.measuring.machine import Machine
from lc2fer.benchmarks.measuring.memory import Memory
from lc2fer.benchmarks.report.document import Data, Launch, Outputs, Parent, Report, Row
from PIL import Image

from lc2fer.artifact import Artifact, publish, record_of, staged
from lc2fer.inputs import LABELS, InputSpec
from lc2fer.recipe import Recipe

SIZE = 8
SPEC = InputSpec(size=SIZE)

# An engine with the names of ONNX Runtime's that a session needs. The model file holds what it does when it runs.
ENGINE = """
import json, os, signal
import numpy as np

__version__ = "0.0"

class GraphOptimizationLevel:
    ORT_DISABLE_ALL = 0

class SessionOptions:
    def add_session_config_entry(self, name, value):
        pass

    add_free_dimension_override_by_name = add_session_config_entry

class _Input:
    name = "input"
    shape = (1, 7)  # as an output

class _Binding(dict):
    def bind_cpu_input(self, name, array):
        self[name] = array

    def bind_output(self, name):
        pass

class InferenceSession:
    def __init__(self, path, options, providers, **rest):
        print("chatter", flush=True)
        os.write(1, b'{"event": "done"}\\n')
        self._behaviour = open(path).read()
        self._runs = 0
        if self._behaviour == "memory":
            self._kept = np.ones(50_000_000, np.uint8)

        self._profile = getattr(options, "profile_file_prefix", None)

    def get_inputs(self):
        return [_Input()]

    get_outputs = get_inputs

    def io_binding(self):
        return _Binding()

    def run_with_iobinding(self, binding):
        return self.run(None, binding)

    def end_profiling(self):
        nodes = [("Conv", "int8"), ("Conv", "int8"), ("Gemm", "float"), ("DequantizeLinear", "int8")]
        events = [
            {"name": "n_kernel_time", "args": {"op_name": kind, "input_type_shape": [{dtype: [1]}]}}
            for kind, dtype in nodes
        ]
        open(self._profile, "w").write(json.dumps([{"name": "session"}, *events]))
        return self._profile

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


MACHINE = Machine(
    "Some CPU", ("avx2",), 2, 4, 2, 8 << 30, "Linux x86_64", "6.1", "3.12.0", {"torch": "2.9"}, None, 0.25
)
LABEL_IDS = (0, 1, 2, 3, 4, 5, 6, 0, 1, 2)


def outputs(predictions, scale=1.0):
    logits = np.full((len(predictions), 7), np.float32(-0.1))
    logits[np.arange(len(predictions)), predictions] = scale / 3
    return Outputs.of(logits)


def launch(p50_ns=2_000_000, **changes):
    """300 samples of that and 100 of 3 ms."""
    made = Launch(
        samples_ns=tuple([p50_ns] * 100 + [3_000_000] * 50 + [p50_ns] * 100 + [3_000_000] * 50 + [p50_ns] * 100),
        compute_ns=(p50_ns // 2,) * 30,
        frame_ns=(4_000_000,) * 30,
        warm_up_ns=(9_000_000,) * 50,
        settled=True,
        throughput=(64, 64 * p50_ns),
        import_s=0.5,
        load_s=0.25,
        compile_s=0.125,
        first_s=0.01,
        memory=Memory("pss", {"baseline": 30_000_000, "import": 40_000_000, "steady": 75_500_000}),
        threads=2,
        cores=(0, 1),
        inputs=64,
        executed={"bf16": 12, "f32": 3, "i32": 1},
        before=Conditions(0.5, 3000.0, 7),
        after=Conditions(0.6, 3000.0, 7),
        others_cores=0.1,
        energy_mj=None,
    )
    return replace(made, **changes)


def row(target, outputs, p50_ns=2_000_000, **changes):
    made = Row(
        name=f"C6-{target}",
        target=target,
        variant="C6",
        sha256="a" * 64,
        parent_sha256=None,
        size_bytes=1_234_567,
        input_size=100,
        precision="fp32",
        weights="trained",
        graph={"Conv": 12, "QuantizeLinear": 3},
        launches=tuple(launch(p50_ns + 1_000 * number) for number in range(3)),
        outputs=outputs,
        perturbed={},
    )
    return replace(made, **changes)


@pytest.fixture(scope="session")
def samples() -> SimpleNamespace:
    """Parts of a report that were never measured."""
    return SimpleNamespace(MACHINE=MACHINE, LABEL_IDS=LABEL_IDS, launch=launch, row=row, outputs=outputs)


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


@pytest.fixture
def planted(samples):
    """Makes a report of C6: its parent right on all of `images`, and rows with the given flips, latency and changes."""

    def make(images=3068, machine=MACHINE, **rows) -> Report:
        labels = np.arange(images) % 7
        data = Data("faces", f"f{images}", images, tuple(f"{place}.png" for place in range(images)), (), LABELS)
        parent_wrong = max(better for _, better, *_ in rows.values())

        def answers(worse, better):
            predicted = labels.copy()
            predicted[better:parent_wrong] += 1  # what the parent finds wrong and the row too
            predicted[parent_wrong : parent_wrong + worse] += 1
            return outputs((predicted % 7).tolist())

        made = [row("torch", answers(0, 0))]
        for name, (worse, better, *rest) in rows.items():
            latency_ns, changes = (*rest, *(2_000_000, {})[len(rest) :])
            made.append(row(name.replace("_", "-"), answers(worse, better), latency_ns, **changes))
        data = replace(data, labels=tuple(labels.tolist()))
        return Report(machine, data, tuple(made), (Parent("C6", "a" * 64, made[0].outputs, {}),))

    return make

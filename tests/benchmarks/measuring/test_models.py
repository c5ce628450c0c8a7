import pytest
from lc2fer.benchmarks.measuring.models import make
from lc2fer.benchmarks.measuring.worker import WorkerError

from lc2fer.artifact import Artifact
from lc2fer.errors import ParityError, TargetUnavailable

# Replaces the hub's way to the exporters in the process that makes the models.
EXPORTING = """
import os, sys, types
module = types.ModuleType("lc2fer.spokes")

class Exporter:
    def __init__(self, config, out, *, weights, data, images, reading, say):
        self.config, self.out, self.say = config, out, say
        self.source = f"{weights} and {data} ({images})"

    def check(self, target):
        from lc2fer import errors
        if target == "trt-fp16":
            raise errors.TargetUnavailable("No driver. One was expected. Build it there.")

    def export(self, target):
        from lc2fer import artifact, errors
        print("chatter", flush=True)
        self.say(f"making {target} of {self.source}")
        if target == "onnx-int8":
            raise errors.ParityError("It disagrees. It should agree. Do not use it.")
        if target == "onnx-fp16":
            os._exit(3)
        if target == "openvino-fp32":
            raise RuntimeError("a bug.")
        return artifact.load(self.out / f"{self.config}-{target}.onnx")

module.exporter = Exporter
sys.modules["lc2fer.spokes"] = module
"""


@pytest.fixture
def made(tiny, tmp_path, monkeypatch, capfd):
    (tmp_path / "sitecustomize.py").write_text(EXPORTING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for target in ("torch", "onnx-fp32"):
        tiny(tmp_path, f"C6-{target}", b"model", target=target)
    targets = ["torch", "onnx-int8", "onnx-fp16", "trt-fp16", "openvino-fp32", "onnx-fp32"]
    said = [f"making torch of {tmp_path / 'w'} and synthetic (aligned)"]
    return make("C6", targets, weights=tmp_path / "w", data="synthetic", images="aligned", out=tmp_path, said=said)


def test_each_target_has_its_artifact_or_its_own_error(made, capfd):
    assert [type(result) for result in made.values()] == [
        Artifact,
        ParityError,
        WorkerError,
        TargetUnavailable,
        WorkerError,
        Artifact,
    ]
    assert made["onnx-fp32"].target == "onnx-fp32"
    assert str(made["onnx-int8"]) == "It disagrees. It should agree. Do not use it."
    assert str(made["onnx-fp16"]) == (
        "The process that makes C6 onnx-fp16 ended with exit code 3. A result was expected. What it said is above."
    )
    assert "Making C6 openvino-fp32 failed with RuntimeError: a bug. A result was expected." in str(
        made["openvino-fp32"]
    )
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "making torch of" not in printed.err  # was said before
    assert "making onnx-fp32 of" in printed.err

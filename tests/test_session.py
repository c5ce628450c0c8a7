"""Opening a session by the kind of its artifact, and what is said where the engine is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from lc2fer import open_session
from lc2fer.artifact import Artifact, publish, record_of, staged
from lc2fer.errors import ArtifactError, TargetUnavailable, UsageError
from lc2fer.inputs import InputSpec
from lc2fer.targets import KINDS


def artifact(kind: str = "onnx") -> Artifact:
    return Artifact(Path("C6-x.onnx"), kind, "x", "C6", InputSpec())


def engine(monkeypatch: pytest.MonkeyPatch, load: Any) -> None:
    """Put a made-up engine where the table names ONNX Runtime's."""
    module = types.ModuleType(KINDS["onnx"].session)
    module.load = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, KINDS["onnx"].session, module)


def test_the_file_is_checked_before_the_engine_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine(monkeypatch, lambda artifact, **options: (artifact, options))
    with staged(tmp_path) as staging:
        path = staging / "C6.onnx"
        path.write_bytes(b"graph")
        made = publish(Artifact(path, "onnx", "onnx-fp32", "C6", InputSpec(), files=(record_of(path),)), tmp_path)
    assert open_session(str(made.path), threads=1) == (made, {"threads": 1})
    assert open_session(made) == (made, {})
    made.path.write_bytes(b"graff")
    with pytest.raises(ArtifactError, match="is not the file that its manifest describes"):
        open_session(made.path)


def test_an_unknown_kind_is_refused_in_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "C6.tflite").write_bytes(b"graph")
    (tmp_path / "C6.json").write_text('{"format": 1, "kind": "tflite"}')
    with pytest.raises(ArtifactError) as refused:
        open_session(tmp_path / "C6.tflite")
    assert str(refused.value) == (
        f"{tmp_path / 'C6.json'} has format 1 and kind 'tflite'. This version reads format 1 and the kinds "
        f"{', '.join(KINDS)}. Use the version that made it, or export the model again."
    )


def test_a_missing_engine_names_its_package_and_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(artifact: Artifact, **options: Any) -> None:
        raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")

    engine(monkeypatch, load)
    with pytest.raises(TargetUnavailable) as refused:
        open_session(artifact())
    assert refused.value.exit_code == 3
    assert str(refused.value) == (
        "C6-x.onnx cannot be opened here: the package onnxruntime is not installed. "
        "It comes with the extra [cpu]. Run: pip install 'lc2fer[cpu]'."
    )


def test_a_missing_module_of_ours_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, KINDS["onnx"].session, None)
    with pytest.raises(TargetUnavailable) as refused:
        open_session(artifact())
    assert str(refused.value) == (
        "C6-x.onnx needs lc2fer.deploy.sessions.onnxruntime, which this installation does not have. Expected the whole "
        "package. Install lc2fer again."
    )


@pytest.mark.parametrize(
    ("kind", "package", "extra"), [("onnx", "onnxruntime", "cpu"), ("openvino", "openvino", "openvino")]
)
def test_a_real_engine_that_is_not_installed(kind: str, package: str, extra: str, python: Any) -> None:
    done = python(
        f"""
from pathlib import Path
from lc2fer import InputSpec, open_session
from lc2fer.artifact import Artifact
try:
    open_session(Artifact(Path("C6-x.bin"), {kind!r}, "x", "C6", InputSpec()))
except Exception as error:
    print(type(error).__name__, error, sep=": ")
""",
        block=[package],
    )
    assert done.stdout.strip() == (
        f"TargetUnavailable: C6-x.bin cannot be opened here: the package {package} is not installed. "
        f"It comes with the extra [{extra}]. Run: pip install 'lc2fer[{extra}]'."
    ), done.stderr


def test_engines_do_not_report_home(python: Any) -> None:
    done = python(
        "import sys; from lc2fer.telemetry import refuse_telemetry; refuse_telemetry(); import openvino;"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry.')])"
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


@pytest.mark.parametrize("wanted", [0, -1, 99999, "2", True, 1.5])
def test_threads_that_are_not_there_are_refused_before_anything_is_read(wanted: Any) -> None:
    with pytest.raises(UsageError) as refused:
        open_session("missing.onnx", threads=wanted)
    assert str(refused.value).startswith(f"{wanted!r} threads were asked for. Expected 1")


def test_no_name_is_no_model() -> None:
    with pytest.raises(
        ArtifactError, match=r"^'' is no file\. Expected a model file or its manifest\. Pass its path\.$"
    ):
        open_session("")


def test_a_container_that_lets_no_thread_be_pinned_hears_nothing_of_it(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler")
    (tmp_path / "refuse.c").write_text("int pthread_setaffinity_np(void) { return 22; }\n")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", "refuse.so", "refuse.c"], check=True, cwd=tmp_path)
    helper, nodes = onnx.helper, []
    for kind, given, made in (("GlobalAveragePool", ["pixels"], "mean"), ("Flatten", ["mean"], "row")):
        nodes.append(helper.make_node(kind, given, [made]))
    nodes.append(helper.make_node("MatMul", ["row", "weights"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixels", 1, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", 1, [1, 7])],
        [helper.make_tensor("weights", 1, [3, 7], [1.0] * 21)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with staged(tmp_path) as staging:
        path = staging / "C6.onnx"
        path.write_bytes(model.SerializeToString())
        artifact_ = publish(
            Artifact(path, "onnx", "onnx-fp32", "C6", InputSpec(size=8), files=(record_of(path),)), tmp_path
        )
    program = "import sys, lc2fer; lc2fer.open_session(sys.argv[1]).close()"
    done = subprocess.run(
        [sys.executable, "-c", program, str(artifact_.path)],
        env={**os.environ, "LD_PRELOAD": str(tmp_path / "refuse.so")},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

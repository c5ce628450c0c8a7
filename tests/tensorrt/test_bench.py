"""The bench from end to end on the tests' TensorRT and GPU, in processes of its own as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lc2fer import recorded

FAKES = Path(__file__).resolve().parents[1] / "fakes"
BENCH = "import sys; from lc2fer.cli import run; sys.exit(run('bench'))"


@pytest.mark.slow
@pytest.mark.parametrize("other", ["trt-fp32", pytest.param("trt-int8", marks=pytest.mark.every)])
def test_engines_are_built_measured_and_compared(
    other: str, small_weights: Path, small_faces: Path, small_exports: Any, tmp_path: Path
) -> None:
    small_exports.into(tmp_path / "out", "onnx-fp32", "onnx-fp16")
    paths = [str(FAKES / "gpu"), str(FAKES / "cuda_python")]
    arguments = ["--configs", "C8", "--targets", "torch", "trt-fp16", other, "--weights", str(small_weights)]
    arguments += ["--data", str(small_faces), "--runs", "40", "--seconds", "0", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-c", BENCH, *arguments, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert not report["failures"], report["failures"]
    rows = {row["target"]: row for row in json.loads(done.stdout.splitlines()[-1])["rows"]}
    assert set(rows) == {"torch", "trt-fp16", other}
    assert rows["trt-fp16"]["agreement"] == 1.0
    assert rows[other]["agreement"] > 0.8 if other == "trt-int8" else rows[other]["agreement"] == 1.0
    assert all(row["p50_ms"] > 0 for row in rows.values())
    runs = recorded.read(tmp_path / "out" / "recorded")
    assert [(run.target, run.variant) for run in runs] == [("trt-fp16", "C8"), (other, "C8")]
    assert all(len(run.samples_ns) >= 3 * 40 for run in runs)

"""The bench from end to end on the tests' TensorRT and GPU, in processes of its own as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lc2fer import recorded

FAKES = Path(__file__).resolve().parents[1] / "fakes"
BENCH = "import sys; from lc2fer.cli import run; sys.exit(run('bench'))"


def test_engines_are_built_measured_and_compared(
    small_weights: Path, write_faces: Callable[..., Path], tmp_path: Path
) -> None:
    faces = write_faces(tmp_path / "faces", train=220, test=3)  # 308 images of D^v; INT8 is calibrated on 300
    paths = [str(FAKES / "gpu"), str(FAKES / "cuda_python")]
    arguments = ["--configs", "C8", "--targets", "torch", "trt-fp16", "trt-int8", "--weights", str(small_weights)]
    arguments += ["--data", str(faces), "--runs", "40", "--seconds", "0", "--threads", "1"]
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
    assert set(rows) == {"torch", "trt-fp16", "trt-int8"}
    assert rows["trt-fp16"]["agreement"] == 1.0
    assert rows["trt-int8"]["agreement"] > 0.8
    assert all(row["p50_ms"] > 0 for row in rows.values())
    runs = recorded.read(tmp_path / "out" / "recorded")
    assert [(run.target, run.variant) for run in runs] == [("trt-fp16", "C8"), ("trt-int8", "C8")]
    assert all(len(run.samples_ns) >= 3 * 40 for run in runs)

"""Every ONNX file of a folder in several ONNX Runtimes: `python tests/compatibility/runtimes.py FOLDER --out FILE`.

Each version gets an environment of its own below --work, by pip, and opens each file at all four levels of
optimisation. Its logits on fixed pictures are compared with those of this environment's own session: below --needed-db,
or refused, is a fault. Files whose operations are our own need the library that lc2fer.kernels compiles here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np

import lc2fer
from lc2fer import metrics
from lc2fer.recipe import FUSED

VERSIONS = ("1.20.1", "1.23.2", "")  # "": the newest
LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
PROGRAM = """
import json, os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy as np, onnxruntime as ort
images = np.load(sys.argv[1])
found = {"version": ort.__version__, "logits": {}}
for name, path, library in json.loads(sys.argv[2]):
    for level in sys.argv[3].split():
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        if library:
            options.register_custom_ops_library(library)
        try:
            session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            given = session.get_inputs()[0].name
            logits = [session.run(None, {given: image[None]})[0][0].tolist() for image in images]
            found["logits"][f"{name} {level}"] = logits
        except Exception as error:
            found["logits"][f"{name} {level}"] = str(error).splitlines()[0]
print(json.dumps(found))
"""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--versions", nargs="+", default=list(VERSIONS))
    parser.add_argument("--needed-db", type=float, default=15.0)
    parser.add_argument("--work", type=Path, help="where environments are made and kept (default: a temporary folder)")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    work = given.work or Path(tempfile.mkdtemp(prefix="lc2fer-runtimes-"))
    files, wanted = [], {}
    images = None
    for path in sorted(given.folder.glob("*.onnx")):
        with lc2fer.open_session(path, threads=1) as session:
            if images is None:
                images = _pictures(session.artifact.input_spec.shape)
            wanted[path.name] = session.run(images)
            recipe = session.artifact.recipe
        library = ""
        if recipe is not None and recipe.form == FUSED:
            from lc2fer import kernels

            library = str(kernels.library("onnxruntime", recipe.precision))
        files.append((path.name, str(path.resolve()), library))
    work.mkdir(parents=True, exist_ok=True)
    np.save(work / "images.npy", images)
    document: dict[str, Any] = {}
    for version in given.versions:
        found = _run(_environment(work, version), work / "images.npy", files)
        rows: dict[str, Any] = {}
        for name, _, _ in files:
            for level in LEVELS:
                logits = found["logits"][f"{name} {level}"]
                if isinstance(logits, str):
                    rows[f"{name} {level}"] = {"refused": logits}
                    continue
                theirs = np.asarray(logits, np.float32)
                changed = int((theirs.argmax(axis=1) != wanted[name].argmax(axis=1)).sum())
                rows[f"{name} {level}"] = {
                    "sqnr_db": round(metrics.sqnr_db(wanted[name], theirs), 1),
                    "changed": changed,
                }
        document[found["version"]] = rows
        given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        print(f"{found['version']}: {len(rows)} openings", file=sys.stderr, flush=True)
    wrong = [
        f"{version} {name}"
        for version, rows in document.items()
        for name, row in rows.items()
        if "refused" in row or row["sqnr_db"] < given.needed_db
    ]
    print(json.dumps({"openings": sum(map(len, document.values())), "wrong": wrong}))
    return 1 if wrong else 0


def _pictures(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Smooth ones: float32 [16,3,H,W] in 0..255."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (16, shape[0], 4, 4))
    return np.asarray(np.kron(coarse, np.ones((1, 1, shape[1] // 4, shape[2] // 4))), np.float32)


def _environment(work: Path, version: str) -> Path:
    place = work / f"onnxruntime-{version or 'newest'}"
    python = place / "bin" / "python"
    if not python.exists():
        venv.create(place, with_pip=True)
        wanted = f"onnxruntime=={version}" if version else "onnxruntime"
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "numpy", wanted]
        subprocess.run(command, check=True)
    return python


def _run(python: Path, images: Path, files: list[tuple[str, str, str]]) -> dict[str, Any]:
    command = [str(python), "-c", PROGRAM, str(images), json.dumps(files), " ".join(LEVELS)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{python}: exit code {done.returncode}: {done.stderr[-800:]}")
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

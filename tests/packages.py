"""The wheel in fresh environments: under each Python, and with each extra by itself; prints tables.

python tests/packages.py WHEEL MODEL PICTURE [--pythons PYTHON ...] [--extras EXTRA ...] [--folder DIR]

MODEL is an ONNX file that any processor runs (onnx-int8), PICTURE a photograph with a face. An environment is made by
venv, gets the wheel from pip with constraints.txt, and is removed. Exits 1 where one does not work.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What each extra is for: what has to be imported then. Those that want a GPU's maker or gigabytes are named by hand.
IMPORTS = {
    "": "lc2fer lc2fer.deploy.command lc2fer.benchmarks.gate_command",
    "cpu": "onnxruntime",
    "jetson": "onnxruntime",
    "openvino": "openvino nncf",
    "bench": "scipy psutil",
    "camera": "cv2",
    "web": "starlette uvicorn lc2fer.deploy.camera.web",
    "serve": "starlette uvicorn prometheus_client lc2fer.deploy.serving.metrics",
    "mqtt": "paho.mqtt",
    "completion": "shtab",
    "sign": "cryptography",
    "train": "torch accelerate tensorboard lc2fer.training.train",
    "export": "torch onnx onnxscript onnxruntime lc2fer.export.pipeline",
    "explain": "captum matplotlib sklearn",
    "ray": "ray pyarrow",
    "docs": "mkdocs material mkdocstrings",
    "rtx": "tensorrt_rtx",
}
# A command that each is for, its exit code and what it says: it starts, or names the extra that it lacks besides.
TRIED = {
    "": ("lc2fer-train --config C8 --data synthetic --out OUT", 3, "pip install 'lc2fer[train]'"),
    "cpu": ("lc2fer-predict PICTURE --model MODEL", 0, "happiness"),
    "jetson": ("lc2fer-predict PICTURE --model MODEL", 0, "happiness"),
    "openvino": ("lc2fer-predict PICTURE --model MODEL", 3, "onnxruntime"),
    "bench": ("lc2fer-bench --configs C8", 3, "pip install 'lc2fer[export,openvino,bench]'"),
    "camera": ("lc2fer-deploy run MODEL --source PICTURE", 3, "onnxruntime"),
    "web": ("lc2fer-deploy run MODEL --source PICTURE --web", 3, "pip install 'lc2fer[camera]'"),
    "serve": ("lc2fer-deploy serve MODEL", 3, "pip install 'lc2fer[cpu]'"),
    "mqtt": ("lc2fer-deploy run MODEL --source PICTURE --mqtt mqtt://localhost/a", 3, "pip install 'lc2fer[camera]'"),
    "completion": ("lc2fer completion bash", 0, "lc2fer"),
    "sign": ("lc2fer-deploy bundle --sign KEY --out OUT", 3, "pip install 'lc2fer[export]'"),
    "train": (
        "lc2fer-train --config C8 --data synthetic --epochs 1 --size 32 --limit 64 --batch 32 --out OUT",
        0,
        "epochs",
    ),
    "export": ("lc2fer-export --config C8 --target onnx-fp32 --out OUT", 0, "C8-onnx-fp32.onnx"),
    "explain": ("lc2fer-explain --config C8 --out OUT", 3, "pip install 'lc2fer[train,export,explain]'"),
    "ray": ("lc2fer-predict --engine ray PICTURE --out OUT", 3, "onnxruntime"),
    "docs": ("mkdocs --version", 0, "mkdocs"),
    "rtx": ("lc2fer-export --config C8 --target rtx-fp16 --out OUT", 3, "pip install 'lc2fer[export,openvino]'"),
}


def environment(python: str, wheel: str, folder: Path) -> tuple[Path, float, float, str]:
    """Its bin/, the seconds to make it, its size in MB, and what went wrong."""
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    said = run([python, "-m", "venv", str(folder)])
    there = folder / "bin"
    pip = [str(there / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    said = said or run([*pip, "-c", str(ROOT / "constraints.txt"), wheel])
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return there, time.monotonic() - began, size / 1e6, said


def run(command: list[str]) -> str:
    """The last line of what it said where it failed, else nothing."""
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=1800)
    if done.returncode == 0:
        return ""
    return f"{Path(command[0]).name}: exit {done.returncode}: {(done.stderr.strip() or 'nothing').splitlines()[-1]}"


def tried(extra: str, there: Path, files: dict[str, Path]) -> str:
    """What went wrong with its command of TRIED, else nothing."""
    line, code, says = TRIED[extra]
    command = [str(files.get(word, word)) for word in line.split()]
    done = subprocess.run([str(there / command[0]), *command[1:]], capture_output=True, text=True, cwd="/", timeout=900)
    if done.returncode == code and says in done.stdout + done.stderr:
        return ""
    return f"{line}: exit {done.returncode}, not {code}: {(done.stderr.strip() or 'nothing').splitlines()[-1]}"


def judged(there: Path, model: Path, picture: Path) -> tuple[str, str]:
    """What lc2fer-predict says of the picture, and what went wrong."""
    command = [str(there / "lc2fer-predict"), str(picture), "--model", str(model), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=300)
    if done.returncode:
        return "-", f"lc2fer-predict: exit {done.returncode}: {done.stderr.strip().splitlines()[-1]}"
    return done.stdout.splitlines()[0][:120], ""


def main() -> int:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("wheel", "model", "picture"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--pythons", nargs="*", default=[sys.executable])
    parser.add_argument("--extras", nargs="*", default=list(IMPORTS), choices=list(IMPORTS))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "lc2fer-packages")
    chosen = parser.parse_args()
    wheel, failed = str(chosen.wheel.resolve()), 0
    print("| Python | s | MB | lc2fer-predict | |\n| --- | --: | --: | --- | --- |", flush=True)
    for python in chosen.pythons:
        version = subprocess.run([python, "--version"], capture_output=True, text=True).stdout.strip()
        there, seconds, size, wrong = environment(python, f"{wheel}[cpu]", chosen.folder)
        answer, wrong = ("-", wrong) if wrong else judged(there, chosen.model.resolve(), chosen.picture.resolve())
        failed += bool(wrong)
        print(f"| {version} | {seconds:.0f} | {size:.0f} | {answer} | {wrong or 'ok'} |", flush=True)
    print(
        "\n| extra | s | MB | pip check, lc2fer doctor, imports | its command |\n| --- | --: | --: | --- | --- |",
        flush=True,
    )
    for extra in chosen.extras:
        there, seconds, size, wrong = environment(
            sys.executable, f"{wheel}[{extra}]" if extra else wheel, chosen.folder
        )
        python = str(there / "python")
        wrong = wrong or run([python, "-m", "pip", "check", "--disable-pip-version-check"])
        wrong = wrong or run([str(there / "lc2fer"), "doctor"])
        wrong = wrong or run([python, "-c", f"import {', '.join(IMPORTS[extra].split())}"])
        files = {"MODEL": chosen.model.resolve(), "PICTURE": chosen.picture.resolve(), "OUT": chosen.folder / "out"}
        unlike = "-" if wrong else tried(extra, there, files)
        failed += bool(wrong or unlike)
        how = unlike or f"exit {TRIED[extra][1]}: `{TRIED[extra][0]}`"
        print(f"| {extra or 'none'} | {seconds:.0f} | {size:.0f} | {wrong or 'ok'} | {how} |", flush=True)
    shutil.rmtree(chosen.folder, ignore_errors=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())

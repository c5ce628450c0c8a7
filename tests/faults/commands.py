"""Whole commands on a disk that fails, as writers: disk.py takes these too. $FAULTS_DATA names a folder with `faces`,
a small data set, and `small.safetensors` with its manifest; disk.py imports what they need once, before it forks.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from pathlib import Path

from writers import Writer

from lc2fer import artifact as artifacts
from lc2fer.errors import Lc2ferError
from lc2fer.telemetry import refuse_telemetry

DATA = Path(os.environ.get("FAULTS_DATA", "."))


def command(name: str, *arguments: object) -> None:
    """Run a command as a user does; raises what it ended with, for disk.py to judge."""
    from lc2fer import cli

    os.environ["LC2FER_CACHE"] = str(DATA / "cache")
    document = importlib.import_module(cli.COMMANDS[name][0]).main([str(each) for each in arguments])
    if document.get("exit_code", 0):
        raise Lc2ferError(f"exit code {document['exit_code']}. 0 was expected. {json.dumps(document)}")


def _models(folder: Path, *names: str) -> str:
    """The artifacts of those names, each whole or not there."""
    found = []
    for name in names:
        if (folder / name).exists():
            found.append(artifacts.load(folder / name).sha256[:8])
    return " ".join(found) or "nothing"


def _trained(folder: Path) -> str:
    from lc2fer.training import state

    if (folder / "state.safetensors").exists():
        state.load_file(folder / "state.safetensors")
    if _models(folder, "C8.safetensors") == "nothing":
        return "nothing"
    tensors = state.load_file(folder / "C8.safetensors")  # the order of a header's fields is not kept
    return hashlib.sha256(b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))).hexdigest()


def _report(folder: Path) -> str:
    from lc2fer.benchmarks.report import document

    if not (folder / "report.json").exists():
        return "nothing"
    return " ".join(row.target for row in document.read(folder / "report.json").rows)


def _train(folder: Path) -> None:
    arguments = ("--config", "C8", "--data", DATA / "faces", "--epochs", 1, "--batch", 64, "--size", 32)
    command("train", *arguments, "--out", folder)


def _export(folder: Path) -> None:
    given = ("--config", "C8", "--weights", DATA / "small.safetensors", "--data", DATA / "faces")
    command("export", *given, "--target", "openvino-fp32", "--out", folder)


def _bench(folder: Path) -> None:
    given = ("--models", DATA / "small.safetensors", "--data", DATA / "faces", "--launches", 1, "--runs", 8)
    command("bench", *given, "--seconds", 0, "--threads", 1, "--out", folder)


COMMANDS = {
    "lc2fer-train": Writer(lambda folder: None, _train, _trained, ("nothing",)),
    "lc2fer-export": Writer(
        lambda folder: None, _export, lambda folder: _models(folder, "C8-openvino-fp32.xml"), ("nothing",)
    ),
    "lc2fer-bench": Writer(lambda folder: None, _bench, _report, ("nothing",)),
}


def warm() -> None:
    """Import what the commands import; no engine is opened here, whose threads would not come along in a fork."""
    refuse_telemetry()  # before an engine is imported
    for name in ("torch", "onnx", "onnxruntime", "openvino", "scipy.stats", "psutil", "tensorboard"):
        importlib.import_module(name)
    for name in ("torch.onnx", "onnxscript", "torch.utils.tensorboard", "accelerate", "lc2fer.training.train"):
        importlib.import_module(name)

"""Models of other engines of the edge, which convert and answer in environments of their own (lc2fer/environments.py).

Nothing of this is delivered; the bench holds our targets against it. The network is handed over as it was trained, with
the normalisation in front and in operations that every converter knows.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lc2fer import environments
from lc2fer.artifact import Artifact
from lc2fer.errors import TargetUnavailable
from lc2fer.network import checkpoint
from lc2fer.network.model import EPS, GRN, Network
from lc2fer.recipe import INPUT, OUTPUT, Recipe
from lc2fer.targets import KINDS
from lc2fer.text import remark

from ..int8.calibration import CalibrationSet, Known
from ..peers.program import Program
from . import onnx

TOOLS = ("torch", "onnx", "onnxscript")
_PATIENCE_S = 1800  # for a conversion
_SAID = 300  # characters of an engine's last line that are shown


def make(parent: Artifact, recipe: Recipe, calibration: Known | None, path: Path) -> list[Path]:
    """Write `path` by the engine that its suffix is of, and whatever that engine puts beside it.

    Raises TargetUnavailable where the engine cannot be installed, or does not convert the network.
    """
    kind = next(name for name, row in KINDS.items() if row.suffix == path.suffix)
    environments.make(kind, remark)
    with tempfile.TemporaryDirectory(prefix="lc2fer-peer-") as work:
        program = Program(Path(work), recipe.form, recipe.precision, parent.input_spec.shape)
        hand_over(checkpoint.load(parent.path, parent.variant), program)
        if recipe.precision == "int8":
            assert isinstance(calibration, CalibrationSet)
            np.save(program.images, calibration.batch(0, len(calibration)))
        _run(kind, path.name, {**vars(program), "folder": work, "made": str(path.absolute())}, Path(work))
    return [path, *sorted(set(path.parent.glob(f"{path.stem}.*")) - {path})]


def answers(made: Artifact, images: CalibrationSet) -> NDArray[np.float32]:
    """Logits float32 [N,classes] of a model that was made.

    Raises TargetUnavailable where its engine does not run it.
    """
    with tempfile.TemporaryDirectory(prefix="lc2fer-peer-") as work:
        pixels, logits = Path(work, "images.npy"), Path(work, "logits.npy")
        np.save(pixels, images.batch(0, len(images)))
        job = {"made": str(made.path.absolute()), "images": str(pixels), "logits": str(logits)}
        _run(made.kind, made.path.name, job, Path(work))
        found: NDArray[np.float32] = np.load(logits, allow_pickle=False)
        return found


def hand_over(network: Network, program: Program) -> None:
    """Write a network in the formats that converters read: TorchScript, an exported program, and ONNX of one image."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, GRN):
                setattr(module, name, _Response(child))
    whole = torch.nn.Sequential(onnx.Normalize(), network).eval().requires_grad_(False)
    example = (torch.from_numpy(program.example()),)
    with onnx.errors_only(logging.getLogger("torch.onnx")), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(whole, example).save(str(program.traced))
        exported = torch.export.export(whole, example)
        torch.export.save(exported, program.exported)
        torch.onnx.export(
            exported,
            (),
            program.graph,
            dynamo=True,
            opset_version=18,
            input_names=[INPUT],
            output_names=[OUTPUT],
            external_data=False,
            verbose=False,
        )


class _Response(torch.nn.Module):
    """GRN in operations that every converter knows; the network's own brings a gradient of its own."""

    def __init__(self, grn: GRN) -> None:
        super().__init__()
        self.gamma = torch.nn.Parameter(grn.gamma.detach().view(1, -1, 1, 1))
        self.beta = torch.nn.Parameter(grn.beta.detach().view(1, -1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        norm = torch.sqrt((x * x).sum(dim=(2, 3), keepdim=True))  # [N,C,1,1]
        return x * (1 + self.gamma * (norm / (norm.mean(dim=1, keepdim=True) + EPS))) + self.beta


def _run(kind: str, name: str, job: Mapping[str, Any], work: Path) -> None:
    """Have the engine's own process do a job; raises TargetUnavailable with what keeps it from that."""
    safe = ["-P"] if sys.version_info >= (3, 11) else []  # the current folder is not the process's to import from
    command = [str(environments.interpreter(kind)), *safe, "-m", "lc2fer.export.peers.process"]
    log = work / "log"
    with log.open("wb") as file:
        done = subprocess.run(
            command,
            input=json.dumps({"kind": kind, **job}).encode(),
            stdout=subprocess.PIPE,
            stderr=file,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=work,  # converters leave files where they run
            timeout=_PATIENCE_S,
        )
    reason = json.loads(done.stdout)["reason"] if done.returncode == 0 else _last_words(log, done.returncode)
    if reason is not None:
        raise TargetUnavailable(
            f"{KINDS[kind].engine} ({' '.join(environments.ENVIRONMENTS[kind].packages)}) cannot make or run {name}: "
            f"{reason.rstrip('.')}. A network that it converts was expected. Leave it out of --peers, or report it to "
            "its makers."
        )


def _last_words(log: Path, code: int) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    last = next((line[:_SAID] for line in reversed(lines) if line), "it said nothing")
    return f"its process ended with {code} ({last})"

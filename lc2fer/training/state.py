"""Where a run stands after an epoch, in its folder: what a resumed run starts from."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.optim import Optimizer

from lc2fer import artifact as artifacts
from lc2fer.errors import ArtifactError, UsageError
from lc2fer.network.model import Network

FILE = "state.safetensors"
DESCRIPTION = "run.json"


@dataclass
class Progress:
    """How far a run is, and how good its best epoch was."""

    epoch: int = 0  # finished epochs
    best_epoch: int = 0
    best_accuracy: float = -1.0
    best_loss: float = math.inf
    seconds: float = 0.0

    @property
    def stale(self) -> int:
        return self.epoch - self.best_epoch


def take_up(
    folder: Path, described: dict[str, Any], network: Network, judged: Network, optimizer: Optimizer
) -> Progress | None:
    """Load what `keep` wrote, if it lies there; raises UsageError where it is of a run with another description.

    `judged` is the network itself, or the average of its weights.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        was = json.loads((folder / DESCRIPTION).read_text())
        tensors = load_file(path)
        progress = json.loads(bytes(tensors.pop("progress").tolist()))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ArtifactError(
            f"{path} cannot be resumed from ({error}). A run's state was expected. Pass --restart to begin anew."
        ) from None
    for key, now in json.loads(json.dumps(described)).items():
        if was.get(key) != now and key != "epochs":
            raise UsageError(
                f"{folder} holds a run with {key} {was.get(key)}. This one has {now}. Choose another --out, or "
                "pass --restart to replace that run."
            )
    network.load_state_dict(
        {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}
    )
    if judged is not network:
        judged.load_state_dict(
            {key.removeprefix("averaged."): value for key, value in tensors.items() if key.startswith("averaged.")}
        )
    state = optimizer.state_dict()
    state["state"] = {
        index: {name: tensors[f"optimizer.{index}.{name}"] for name in ("step", "exp_avg", "exp_avg_sq")}
        for index in range(len(list(network.parameters())))
    }
    optimizer.load_state_dict(state)
    return Progress(**progress)


def keep(folder: Path, network: Network, judged: Network, optimizer: Optimizer, progress: Progress) -> None:
    """Write what `take_up` reads, in one step."""
    tensors = {f"network.{key}": value.contiguous() for key, value in network.state_dict().items()}
    if judged is not network:
        tensors |= {f"averaged.{key}": value.contiguous() for key, value in judged.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value.contiguous() for name, value in state.items()}
    tensors["progress"] = torch.tensor(list(json.dumps(asdict(progress)).encode()), dtype=torch.uint8)
    with artifacts.staged(folder) as staging:
        save_file(tensors, staging / FILE)
        (staging / FILE).replace(folder / FILE)

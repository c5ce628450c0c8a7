"""The state in a run's folder, which an interrupted run is resumed from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lc2fer import artifact as artifacts
from lc2fer.errors import MALFORMED, ArtifactError, UsageError
from lc2fer.inputs import LABELS
from lc2fer.settings import Settings
from lc2fer.storage import move
from lc2fer.training.sources import same

_STATE = "state.safetensors"
_RUN = "run.json"
_PROGRESS = "progress"  # the tensor that holds it, as JSON


@dataclass
class Progress:
    """Where a run stands after an epoch; what a resumed run starts from."""

    epoch: int = 0  # finished epochs
    best_epoch: int = 0
    best_accuracy: float = -1.0
    best_loss: float = math.inf
    seconds: float = 0.0

    @property
    def stale(self) -> int:
        return self.epoch - self.best_epoch

    @classmethod
    def of(cls, found: Any) -> Progress:
        """The inverse of `asdict`; raises ValueError for anything else."""
        names = {field.name for field in fields(cls)}
        if not isinstance(found, dict) or set(found) != names:
            raise ValueError(f"its progress has the fields {sorted(found) if isinstance(found, dict) else found}")
        whole = [found[name] for name in ("epoch", "best_epoch")]
        if not all(isinstance(value, (int, float)) for value in found.values()) or not (
            all(isinstance(value, int) for value in whole) and 0 <= whole[1] <= whole[0] >= 1
        ):
            raise ValueError(f"its progress is {found}")
        return cls(**found)


def keep(folder: Path, tensors: Mapping[str, Tensor], progress: Progress) -> None:
    """Write what `read` returns, in one step."""
    told = torch.tensor(list(json.dumps(asdict(progress)).encode()), dtype=torch.uint8)
    with artifacts.staged(folder) as staging:
        save_file({**tensors, _PROGRESS: told}, staging / _STATE)
        move(staging / _STATE, folder / _STATE)


def read(
    folder: Path, described: Mapping[str, Any], wanted: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], Progress] | None:
    """The tensors, of the names and shapes `wanted`, and the progress of the run in a folder; None where there is none.

    Raises UsageError where it is another run than `described`, and ArtifactError where it is damaged.
    """
    path = folder / _STATE
    if not path.is_file():
        return None
    try:
        was = json.loads((folder / _RUN).read_text(encoding="utf-8"))
        if not isinstance(was, dict):
            raise ValueError(f"{_RUN} holds no run")
        tensors = load_file(path)
        progress = Progress.of(json.loads(bytes(tensors.pop(_PROGRESS).tolist())))
    except (OSError, *MALFORMED, SafetensorError) as error:
        raise _damaged(
            path, f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
        ) from None
    for key, then, now in _differences(was, described):
        raise UsageError(
            f"{folder} holds a run with {key} {then}. This one has {now}. Choose another --out, or pass --restart to "
            "replace that run."
        )
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors or name not in wanted:
            raise _damaged(path, f"{name} is {'missing' if name in wanted else 'not of this run'}")
        if tensors[name].shape != wanted[name].shape or tensors[name].dtype != wanted[name].dtype:
            found = f"{name} is {tensors[name].dtype} {list(tensors[name].shape)}"
            raise _damaged(path, f"{found}, where {wanted[name].dtype} {list(wanted[name].shape)} belongs")
    return tensors, progress


def refuse_others(weights: Path, described: Mapping[str, Any]) -> None:
    """Raise UsageError where another run's weights lie in the place of this one's, which would replace them."""
    if not weights.is_file():
        return
    try:
        was = artifacts.load(weights).training or {}
    except ArtifactError:
        was = {}
    if any(_differences(was, described)):
        raise UsageError(
            f"{weights} is there and is not of this run, which would replace it. A folder without other weights was "
            "expected. Choose another --out, or pass --restart to replace them."
        )


def _differences(was: Mapping[str, Any], described: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """What makes it another run: an entry's name, what it was and what it is; more epochs do not."""
    usual = {"alignment": "none"}
    # runs of before a setting, or the labels, were written down
    was = usual | {"labels": list(LABELS)} | {field.name: field.default for field in fields(Settings)} | dict(was)
    for key, now in (usual | json.loads(json.dumps(described))).items():
        if key != "epochs" and not same(was.get(key), now):
            yield key, was.get(key), now


def epochs(folder: Path) -> object:
    """How many the run in a folder, which `read` has taken, was to have until now."""
    return json.loads((folder / _RUN).read_text(encoding="utf-8")).get("epochs")


def forget(folder: Path) -> None:
    """Remove the state, so that the next run begins anew."""
    (folder / _STATE).unlink(missing_ok=True)


def _damaged(path: Path, reason: str) -> ArtifactError:
    return ArtifactError(
        f"{path} cannot be resumed from ({reason}). A run's state was expected. Pass --restart to begin anew."
    )

"""The session of another engine's model, in the environment that the engine is installed in."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer.artifact import Artifact
from lc2fer.opened import Opened
from lc2fer.targets import KINDS

from .program import Run


class PeerSession(Opened):
    """A model in another engine, which takes one image at a time."""

    def __init__(self, artifact: Artifact, threads: int) -> None:
        super().__init__(artifact, KINDS[artifact.kind].engine, alone=True)
        self._run: Run | None = opened(artifact.kind, artifact.path, threads)

    def _logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        assert self._run is not None
        return np.stack([answer(self._run, batch[place : place + 1]) for place in range(len(batch))])

    def _release(self) -> None:
        self._run = None


def load(artifact: Artifact, *, threads: int | None = None) -> PeerSession:
    """Open a model with that many threads, or one; raises ModuleNotFoundError outside its environment."""
    return PeerSession(artifact, threads or 1)


def engine(kind: str) -> Any:
    """The module of an engine."""
    return importlib.import_module(f".{kind}", __package__)


def opened(kind: str, path: Path, threads: int) -> Run:
    """What runs one image."""
    run: Run = engine(kind).opened(path, threads)
    return run


def answer(run: Run, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits float32 [classes] of float32 [1,3,H,W]."""
    return np.asarray(run(image), np.float32).reshape(-1)

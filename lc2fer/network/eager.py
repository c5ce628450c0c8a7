"""The reference session: the trained network itself, on PyTorch, in float32."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from lc2fer import header
from lc2fer.artifact import Artifact
from lc2fer.errors import UsageError
from lc2fer.network import checkpoint
from lc2fer.network.model import normalize
from lc2fer.opened import Opened

_CHUNK = 8  # images at once: what lies between two layers stays in the caches

# The process in which PyTorch last had more than one thread: in a fork of it, more than one wait for ever.
_parallel_pid: int | None = None


class EagerSession(Opened):
    """A checkpoint in PyTorch on the CPU."""

    def __init__(self, artifact: Artifact, threads: int | None) -> None:
        super().__init__(artifact, "PyTorch")
        if threads is not None:
            torch.set_num_threads(threads)
        _check_pool(artifact)
        self._network = checkpoint.load(artifact.path, artifact.variant).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        header.check(artifact.path, artifact.input_spec, self._network.num_classes)
        if artifact.target == "stock-torch-compile":
            self._network.compile()

    @torch.inference_mode()
    def _logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        chunks = torch.from_numpy(batch if batch.flags.writeable else batch.copy()).split(_CHUNK)
        logits = [self._network(normalize(x).contiguous(memory_format=torch.channels_last)) for x in chunks]
        result: NDArray[np.float32] = torch.cat(logits).numpy()
        return result

    def bind(self, batch: NDArray[np.float32]) -> Callable[[], object]:
        """What runs the network alone on a batch, which is in its place; the logits stay a tensor."""
        self._check_open()
        x = torch.from_numpy(batch).contiguous(memory_format=torch.channels_last)

        @torch.inference_mode()
        def compute() -> object:
            return self._network(normalize(x))

        return compute

    def _release(self) -> None:
        del self._network


def _check_pool(artifact: Artifact) -> None:
    """Raise UsageError where PyTorch would wait for threads that stayed behind in the process that was forked."""
    global _parallel_pid
    if torch.get_num_threads() == 1:
        return
    if _parallel_pid not in (None, os.getpid()):
        raise UsageError(
            f"{artifact.path} was to be opened with {torch.get_num_threads()} threads in process {os.getpid()}, a fork "
            f"of process {_parallel_pid}, in which PyTorch had threads. One thread was expected in such a fork. "
            'Pass threads=1, or start processes with multiprocessing\'s "spawn".'
        )
    _parallel_pid = os.getpid()


def load(artifact: Artifact, *, threads: int | None = None) -> EagerSession:
    """Open a checkpoint; `threads` is the process's own setting in PyTorch."""
    return EagerSession(artifact, threads)

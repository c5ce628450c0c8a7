"""The reference session: the trained network itself, on PyTorch, in float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from lc2fer import header
from lc2fer.artifact import Artifact
from lc2fer.network import checkpoint
from lc2fer.network.model import normalize
from lc2fer.session import Closing, check_batch

_CHUNK = 8  # images at once: what lies between two layers stays in the caches


class EagerSession(Closing):
    """A checkpoint in PyTorch on the CPU."""

    def __init__(self, artifact: Artifact, threads: int | None) -> None:
        self.artifact = artifact
        if threads is not None:
            torch.set_num_threads(threads)
        self._network = checkpoint.load(artifact.path, artifact.variant).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        header.check(artifact.path, artifact.input_spec, self._network.num_classes)
        if artifact.target == "stock-torch-compile":
            self._network.compile()

    @torch.inference_mode()
    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        check_batch(batch, self.artifact)
        chunks = torch.from_numpy(batch).split(_CHUNK)
        logits = [self._network(normalize(x).contiguous(memory_format=torch.channels_last)) for x in chunks]
        result: NDArray[np.float32] = torch.cat(logits).numpy()
        return result

    def bind(self, batch: NDArray[np.float32]) -> Callable[[], object]:
        """What runs the network alone on a batch, which is in its place; the logits stay a tensor."""
        x = torch.from_numpy(batch).contiguous(memory_format=torch.channels_last)

        @torch.inference_mode()
        def compute() -> object:
            return self._network(normalize(x))

        return compute

    def close(self) -> None:
        del self._network


def load(artifact: Artifact, *, threads: int | None = None) -> EagerSession:
    """Open a checkpoint; `threads` is the process's own setting in PyTorch."""
    return EagerSession(artifact, threads)

"""A training step as a CUDA graph: captured once, then replayed by a single launch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_WARM_UP = 5  # steps before the capture: compiling, choosing of algorithms, AdamW's first state

Step = Callable[[Tensor], tuple[Tensor, ...]]


class Replay:
    """A step that takes the places of a batch's images, int64 [N] of one N, and returns tensors on the device.

    What it returns is overwritten by the next call. It may not wait for the device, nor decide by anything that changes
    between calls but the device's memory and its random numbers. Where CUDA cannot capture it, it runs as it is, and
    `refused` says why.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._steps = 0
        self._stream = torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None
        self.refused = ""

    def __call__(self, index: Tensor) -> tuple[Tensor, ...]:
        if self._graph is None and not self.refused:
            self._steps += 1
            if self._steps <= _WARM_UP:
                return self._aside(index)
            self._capture(index)
        if self._graph is None:
            return self._step(index)
        self._index.copy_(index)
        self._graph.replay()
        return self._returned

    def _aside(self, index: Tensor) -> tuple[Tensor, ...]:
        """On a stream of its own, as a capture needs what comes before it to be."""
        here, aside = torch.cuda.current_stream(), self._stream
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            returned = self._step(index)
        here.wait_stream(aside)
        return returned

    def _capture(self, index: Tensor) -> None:
        self._index = index.clone()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._returned = self._step(self._index)
        except RuntimeError as error:
            self.refused = str(error).splitlines()[0]
            torch.cuda.synchronize()
            return
        self._graph = graph

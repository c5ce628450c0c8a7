"""Muon: steps of matrices whose singular values are all near 1, here for the pointwise kernels.

Keller Jordan et al. 2024, with the size of a step of arXiv 2502.16982: its root mean square is that of AdamW's, so that
both take one learning rate. PyTorch's own takes no kernels of convolutions and cannot be captured as a CUDA graph.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
_SHARES = (3.4445, -4.7750, 2.0315)  # of X, XX'X and XX'XX'X in a turn
_TURNS = 5
_RMS = 0.2  # of AdamW's steps


def is_pointwise(parameter: Tensor) -> bool:
    """Whether it is a pointwise convolution's kernel, [outputs,inputs,1,1]: a matrix."""
    return parameter.ndim == 4 and parameter.shape[2:] == (1, 1)


def orthogonalized(matrices: Tensor) -> Tensor:
    """Matrices [...,M,N] with the same singular vectors, and singular values between 0.5 and 1.5 or so.

    By Newton and Schulz: five turns of a polynomial that is steep at 0. A matrix of zeros stays one.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    one, three, five = _SHARES
    for _ in range(_TURNS):
        square = x @ x.mT
        x = one * x + (three * square + five * square @ square) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Of kernels [outputs,inputs,1,1], those of one shape together; the rate may be a tensor on the device."""

    def __init__(self, params: Iterable[Tensor], lr: float | Tensor, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every kernel that has a gradient."""
        for group in self.param_groups:
            rate, decay = group["lr"], group["weight_decay"]
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for kernel in group["params"]:
                if kernel.grad is not None:
                    alike[kernel.shape].append(kernel)
            for (outputs, inputs, *_), kernels in alike.items():
                turned = orthogonalized(torch.stack([self._direction(kernel) for kernel in kernels]))
                size = _RMS * math.sqrt(max(outputs, inputs))
                for kernel, matrix in zip(kernels, turned):
                    kernel.mul_(1 - rate * decay)
                    kernel.sub_(matrix[:, :, None, None] * (rate * size))

    def _direction(self, kernel: Tensor) -> Tensor:
        """Of the next step, by Nesterov's momentum: [outputs,inputs]."""
        assert kernel.grad is not None
        state = self.state[kernel]
        if not state:
            state["momentum"] = torch.zeros_like(kernel)
        momentum: Tensor = state["momentum"].lerp_(kernel.grad, 1 - MOMENTUM)
        return kernel.grad.lerp(momentum, MOMENTUM).flatten(1)

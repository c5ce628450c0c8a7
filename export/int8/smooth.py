"""Factors that even out the channels between GRN and the pointwise layer after it, before they are quantised.

GRN spreads the channels' ranges, and INT8 has one scale for all of them: quantising the input of the layer after GRN
does most of the damage. As in SmoothQuant (Xiao et al., arXiv 2211.10438, equation 4) a channel is divided by
max|activation|^a / max|weight|^(1-a) and its weights are multiplied by it. GRN multiplies each channel anyway, so here
this costs nothing at run time (lc2fer/network/fuse.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lc2fer.network.fuse import DeployBlock, deploy_form
from lc2fer.network.model import Network

from .calibration import CalibrationSet, Known
from .recorded import Ranges

_CHUNK = 20  # images at once
_LEAST = 1e-5  # of a range; a dead channel's factor stays finite


@torch.inference_mode()
def largest(network: Network, images: CalibrationSet) -> list[Tensor]:
    """The largest magnitude of each channel behind each block's GRN over the images, [4C] a block."""
    deployed = deploy_form(network)
    grns = [block.grn for block in _blocks(deployed)]
    seen: dict[nn.Module, Tensor] = {}

    def look(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        found = output.abs().amax(dim=(0, 2, 3))
        seen[module] = torch.maximum(seen.get(module, found), found)

    for grn in grns:
        grn.register_forward_hook(look)
    for begin in range(0, len(images), _CHUNK):
        deployed(torch.from_numpy(images.batch(begin, min(begin + _CHUNK, len(images)))))
    return [seen[grn] for grn in grns]


@torch.inference_mode()
def factors(network: Network, images: Known, strength: float) -> list[Tensor]:
    """One vector [4C] for each block, mean 1, from the largest activations over `images`; `strength` is a, 0..1."""
    seen = [torch.tensor(one) for one in images.largest] if isinstance(images, Ranges) else largest(network, images)
    found = []
    for block, activation in zip(_blocks(deploy_form(network)), seen, strict=True):
        weight = block.project.weight.abs().amax(dim=(0, 2, 3)).clamp_min(_LEAST)
        factor = activation.clamp_min(_LEAST) ** strength / weight ** (1 - strength)
        found.append(factor / factor.mean())
    return found


def _blocks(deployed: nn.Module) -> list[DeployBlock]:
    return [module for module in deployed.modules() if isinstance(module, DeployBlock)]

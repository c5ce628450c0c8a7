"""Factors that even out the channels between GRN and the pointwise layer after it, before they are quantised.

GRN spreads the channels' ranges, and INT8 has one scale for all of them: quantising the input of the layer after GRN
does most of the damage. As in SmoothQuant (Xiao et al., arXiv 2211.10438, equation 4) a channel is divided by
max|activation|^a / max|weight|^(1-a) and its weights are multiplied by it. GRN multiplies each channel anyway, so here
this costs nothing at run time (lc2fer/network/fuse.py).

The best a, and where to clip what is divided so, differ from block to block: early blocks want nearly all of the range
in the weights, the last one, whose channels are loud on few images, wants room above what was seen. Both are chosen for
the least squared error of what the layer gives. Each half of the images judges what the other half's ranges do, since
ranges look better on their own images than they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from lc2fer.network.fuse import DeployBlock, deploy_form
from lc2fer.network.model import Network
from lc2fer.recipe import LEAST_ERROR

from .calibration import CalibrationSet, Known
from .ranges import LEVELS
from .recorded import Ranges

STRENGTHS = (0.6, 0.7, 0.8, 0.9, 1.0)  # a
# Of a layer whose rows have steps of their own, on 500 images of D^v: 37.9, 37.3 and 40.5 dB of the logits (C6, C8, C5)
# by 0.5, 37.8, 37.3 and 40.1 by none, 37.3, 37.1 and 40.4 by 0.7; with one range for all images 33.7, 32.9 and 38.2.
FREE_STRENGTH = 0.5
SHARES = (0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3)  # of the largest divided magnitude, to clip at
_PIXELS = 8  # of an image, of those that a block gives
_CHUNK = 20  # images at once
_LEAST = 1e-5  # of a range; a dead channel's factor stays finite


@dataclass(frozen=True)
class Smoothing:
    """What one network's blocks divide by, in the order of the forward pass."""

    strengths: tuple[float, ...]  # a
    largest: list[Tensor]  # [4C] each: the channels' magnitudes behind GRN over the images
    factors: list[Tensor]  # [4C] each, mean 1
    clips: Mapping[str, float] = field(default_factory=dict)  # layer after GRN -> its clip, where it was chosen too


@dataclass(frozen=True)
class _Seen:
    """What one block's layer after GRN read of each image."""

    largest: Tensor  # [N,4C] magnitudes
    pixels: Tensor  # [N,pixels,4C], drawn


@torch.inference_mode()
def smoothing(network: Network, images: Known, strength: float | str, free: Collection[str] = ()) -> Smoothing:
    """Factors by a strength a, 0..1, or LEAST_ERROR, from the largest activations over `images`.

    The layers `free` of a range for all images get FREE_STRENGTH and no clip.
    """
    blocks = {f"{name}.project": block for name, block in _blocks(deploy_form(network))}
    clips: dict[str, float] = {}
    if isinstance(images, Ranges):
        largest = [torch.tensor(one) for one in images.largest]
        strengths = dict(zip(blocks, images.strengths, strict=True))
    else:
        seen = _look(network, images)
        largest = [one.largest.amax(dim=0) for one in seen]
        if isinstance(strength, float):
            strengths = dict.fromkeys(blocks, strength)
        else:
            assert strength == LEAST_ERROR
            chosen = {
                layer: _choose(block, one) for (layer, block), one in zip(blocks.items(), seen) if layer not in free
            }
            strengths = {layer: its for layer, (its, _) in chosen.items()}
            clips = {layer: clip for layer, (_, clip) in chosen.items()}
    strengths |= dict.fromkeys(free, FREE_STRENGTH)
    used = tuple(strengths[layer] for layer in blocks)
    factors = [_factor(*three) for three in zip(blocks.values(), largest, used)]
    return Smoothing(used, largest, factors, clips)


def _look(network: Network, images: CalibrationSet) -> list[_Seen]:
    deployed = deploy_form(network)
    grns = [block.grn for _, block in _blocks(deployed)]
    found: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {grn: [] for grn in grns}
    draws: dict[nn.Module, np.random.Generator] = {grn: np.random.default_rng(0) for grn in grns}

    def look(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        rows = output.flatten(2)  # [N,4C,H*W]
        count = rows.shape[2]
        places = [torch.from_numpy(draws[module].permutation(count)[:_PIXELS]) for _ in rows]
        pixels = torch.stack([row[:, place].t() for row, place in zip(rows, places)])
        found[module].append((rows.abs().amax(dim=2), pixels))

    for grn in grns:
        grn.register_forward_hook(look)
    for begin in range(0, len(images), _CHUNK):
        deployed(torch.from_numpy(images.batch(begin, min(begin + _CHUNK, len(images)))))
    return [_Seen(*(torch.cat(parts) for parts in zip(*found[grn]))) for grn in grns]


def _choose(block: DeployBlock, seen: _Seen) -> tuple[float, float]:
    """Strength and clip."""
    halves = [(seen.largest[turn::2].amax(dim=0), seen.pixels[1 - turn :: 2]) for turn in (0, 1)]
    least, best = np.inf, (STRENGTHS[0], 1.0)
    for strength in STRENGTHS:
        errors = np.zeros(len(SHARES))
        for magnitudes, others in halves:
            factor = _factor(block, magnitudes, strength)
            top = float((magnitudes / factor).max())
            errors += _errors(block, others.flatten(0, 1), factor, [share * top for share in SHARES])
        if errors.min() < least:
            least, best = float(errors.min()), (strength, SHARES[int(errors.argmin())])
    strength, share = best
    magnitudes = seen.largest.amax(dim=0)
    return strength, share * float((magnitudes / _factor(block, magnitudes, strength)).max())


def _errors(block: DeployBlock, rows: Tensor, factor: Tensor, clips: Sequence[float]) -> list[float]:
    """The squared error of what the layer gives of rows [R,4C], by each clip, but for the mean, which a bias mends."""
    weight = block.project.weight.flatten(1)
    exact = rows @ weight.t()
    divided, scaled = rows / factor, weight * factor
    step = (scaled.abs().amax(dim=1, keepdim=True) / LEVELS).clamp_min(_LEAST / LEVELS)
    rounded = (scaled / step).round() * step
    found = []
    for clip in clips:
        scale = max(clip, _LEAST) / LEVELS
        error = (divided / scale).round_().clamp_(-LEVELS - 1, LEVELS).mul_(scale) @ rounded.t() - exact
        found.append(float(error.var(dim=0, correction=0).sum()))
    return found


def _factor(block: DeployBlock, magnitudes: Tensor, strength: float) -> Tensor:
    weight = block.project.weight.abs().amax(dim=(0, 2, 3)).clamp_min(_LEAST)
    factor = magnitudes.clamp_min(_LEAST) ** strength / weight ** (1 - strength)
    return factor / factor.mean()


def _blocks(deployed: nn.Module) -> list[tuple[str, DeployBlock]]:
    return [(name, module) for name, module in deployed.named_modules() if isinstance(module, DeployBlock)]

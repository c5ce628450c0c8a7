"""The deploy form: the same function as the trained network, written for engines.

All foldings are exact up to rounding; they are computed in float64.
- The input is raw pixels. Normalisation goes into the stem's convolution, which has no padding; the graph begins with
  x - 128, so that symmetric INT8 of scale 1 holds every pixel exactly.
- LayerNorm's weight and bias go into the pointwise, downsample or linear layer that follows. The stem's own LayerNorm
  keeps them: a residual connection reads its output.
- GRN's beta goes into the next convolution's bias; one multiply a channel remains.
- Smoothing factors, where there are any, ride in that multiply: the channel is divided by its factor there and the next
  convolution's weights are multiplied by it. Nothing is added at run time.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lc2fer.model import EPS, GRN, MEAN, STD, Block, Downsample, LayerNorm, Network, Stage, Stem

CENTRE = 128.0  # pixel value that becomes zero

_Layer = TypeVar("_Layer", nn.Conv2d, nn.Linear)


class Standardise(nn.Module):
    """LayerNorm over the channels of [N,C,H,W], in float32 whatever the dtype; with weight and bias or without.

    Its form is the recipe's: "transpose" is one LayerNormalization node between transposes, "reduce" needs none.
    """

    def __init__(self, form: str, affine: LayerNorm | None = None) -> None:
        super().__init__()
        self.form = form
        self.register_buffer("weight", None if affine is None else affine.weight.detach())
        self.register_buffer("bias", None if affine is None else affine.bias.detach())
        self.weight: Tensor | None
        self.bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        return self.standard(x.float()).to(x.dtype)

    def standard(self, x: Tensor) -> Tensor:
        if self.form == "transpose":
            x = x.permute(0, 2, 3, 1)  # NCHW -> NHWC
            return functional.layer_norm(x, (x.shape[-1],), self.weight, self.bias, EPS).permute(0, 3, 1, 2)
        centred = x - x.mean(dim=1, keepdim=True)
        standard = centred / torch.sqrt((centred * centred).mean(dim=1, keepdim=True) + EPS)
        if self.weight is None or self.bias is None:
            return standard
        return standard * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


class ResponseScale(nn.Module):
    """GRN without beta: x times one number a channel, equation (1).

    The norm is taken in float32: in float16 its sum of squares overflows where RMS(x) * sqrt(H*W) > 256.
    """

    def __init__(self, gamma: Tensor, divisor: Tensor) -> None:
        super().__init__()
        self.register_buffer("gamma", (gamma / divisor).view(1, -1, 1, 1))
        self.register_buffer("one", (1 / divisor).view(1, -1, 1, 1))
        self.gamma: Tensor
        self.one: Tensor

    def forward(self, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x.float(), dim=(2, 3), keepdim=True)  # [N,C,1,1]
        return x * (self.one + self.gamma * (norm / (norm.mean(dim=1, keepdim=True) + EPS))).to(x.dtype)


class DeployBlock(nn.Module):
    def __init__(self, block: Block, norm_form: str, smoothing: Tensor | None) -> None:
        super().__init__()
        factors = torch.ones_like(block.grn.gamma) if smoothing is None else smoothing
        self.depthwise = block.depthwise
        self.norm = Standardise(norm_form)
        self.expand = _after_norm(block.expand, block.norm)
        self.grn = ResponseScale(block.grn.gamma.detach(), factors)
        self.project = _after_grn(block.project, block.grn, factors)

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(self.norm(self.depthwise(x)))
        return x + self.project(self.grn(functional.gelu(y)))


class DeployStem(nn.Module):
    def __init__(self, stem: Stem, norm_form: str) -> None:
        super().__init__()
        self.conv = _on_pixels(stem.conv)
        self.norm = Standardise(norm_form, stem.norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class DeployDownsample(nn.Module):
    def __init__(self, downsample: Downsample, norm_form: str) -> None:
        super().__init__()
        self.norm = Standardise(norm_form)
        self.conv = _after_norm(downsample.conv, downsample.norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(x))


class DeployNetwork(nn.Module):
    """Raw RGB pixels float32 [N,3,H,W] in 0..255 -> logits float32 [N,num_classes].

    `dtype` is that of the convolutions; normalisations, the pool and the classifier stay in float32.
    """

    def __init__(
        self, network: Network, norm_form: str, dtype: torch.dtype, smoothing: Sequence[Tensor] | None
    ) -> None:
        super().__init__()
        factors = iter(smoothing or [])
        self.variant = network.variant
        self.dtype = dtype
        stages: list[nn.Module] = []
        for stage in network.stages:
            assert isinstance(stage, Stage)
            down = stage.downsample
            first = DeployStem(down, norm_form) if isinstance(down, Stem) else DeployDownsample(down, norm_form)
            blocks = [DeployBlock(cast(Block, block), norm_form, next(factors, None)) for block in stage.blocks]
            stages.append(nn.Sequential(first, *blocks))
        self.stages = nn.Sequential(*stages)
        self.linear = _after_norm(network.head.linear, network.head.norm)
        for module in self.stages.modules():
            if isinstance(module, nn.Conv2d):
                module.to(dtype)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.stages((pixels - CENTRE).to(self.dtype))  # whole numbers -128..127, exact in float16 too
        x = x.float().mean(dim=(2, 3))  # [N,C]
        return self.linear(functional.layer_norm(x, (x.shape[-1],), eps=EPS))


def deploy_form(
    network: Network,
    norm_form: str = "transpose",
    dtype: torch.dtype = torch.float32,
    smoothing: Sequence[Tensor] | None = None,
) -> DeployNetwork:
    """The deploy form of a trained network, in eval mode; the network is left as it is.

    `norm_form` is one of lc2fer.recipe.FORMS; `smoothing` has one vector of positive factors [4C] for each block, in
    the order of the forward pass.
    """
    return DeployNetwork(copy.deepcopy(network), norm_form, dtype, smoothing).eval()


def _on_pixels(conv: nn.Conv2d) -> nn.Conv2d:
    """The convolution of (pixel - MEAN) / STD as one of pixel - CENTRE."""
    weight = conv.weight.detach().double()
    return _like(conv, weight / STD, _bias(conv) + weight.sum(dim=(1, 2, 3)) * ((CENTRE - MEAN) / STD))


def _after_norm(layer: _Layer, norm: LayerNorm | nn.LayerNorm) -> _Layer:
    """The layer of x * norm.weight + norm.bias as one of x; it has no padding."""
    weight = layer.weight.detach().double()
    columns = (1, -1) + (1,) * (weight.ndim - 2)
    scaled = weight * norm.weight.detach().double().view(columns)
    shift = (weight * norm.bias.detach().double().view(columns)).flatten(1).sum(dim=1)
    return _like(layer, scaled, _bias(layer) + shift)


def _after_grn(conv: nn.Conv2d, grn: GRN, factors: Tensor) -> nn.Conv2d:
    """The 1x1 convolution of x + grn.beta as one of x / factors."""
    weight = conv.weight.detach().double()
    return _like(
        conv, weight * factors.double().view(1, -1, 1, 1), _bias(conv) + weight.flatten(1) @ grn.beta.detach().double()
    )


def _bias(layer: nn.Conv2d | nn.Linear) -> Tensor:
    assert layer.bias is not None
    return layer.bias.detach().double()


def _like(layer: _Layer, weight: Tensor, bias: Tensor) -> _Layer:
    """A copy of the layer with that weight and bias, rounded to the layer's own dtype."""
    folded = copy.copy(layer)  # the parameters are replaced, not shared
    folded._parameters = {}
    folded.weight = nn.Parameter(weight.to(layer.weight.dtype), requires_grad=False)
    folded.bias = nn.Parameter(bias.to(layer.weight.dtype), requires_grad=False)
    return folded

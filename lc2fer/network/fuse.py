"""The deploy form: the same function as the trained network, written for engines.

All foldings are exact up to rounding; they are computed in float64.
- The input is raw pixels. Normalisation goes into the stem's convolution, which has no padding; the graph begins with
  x - 128, so that symmetric INT8 of scale 1 holds every pixel exactly.
- LayerNorm's weight and bias go into the pointwise, downsample or linear layer that follows. The stem's own LayerNorm
  keeps them: a residual connection reads its output. In the form "folded" the centring, which is linear, goes the same
  way, and the stem's into its convolution.
- GRN's beta goes into the next convolution's bias; one multiply a channel remains.
- Smoothing factors, where there are any, ride in that multiply: the channel is divided by its factor there and the next
  convolution's weights are multiplied by it. Nothing is added at run time.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lc2fer.network.model import EPS, GRN, MEAN, STD, Block, Downsample, LayerNorm, Network, Stage, Stem

CENTRE = 128.0  # pixel value that becomes zero

_Layer = TypeVar("_Layer", nn.Conv2d, nn.Linear)


class Standardise(nn.Module):
    """LayerNorm over the channels of [N,C,H,W] without weight and bias, in float32 whatever the dtype.

    It is one LayerNormalization node between transposes or, `folded`, only the division by the standard deviation: the
    layer that follows does the centring.
    """

    def __init__(self, folded: bool) -> None:
        super().__init__()
        self.folded = folded

    def forward(self, x: Tensor) -> Tensor:
        return self.standard(x.float()).to(x.dtype)

    def standard(self, x: Tensor) -> Tensor:
        if not self.folded:
            return _channel_norm(x)
        mean = x.mean(dim=1, keepdim=True)
        variance = functional.relu(_mean_square(x) - mean * mean)  # rounding may take it below zero
        return x * torch.rsqrt(variance + EPS)


class StandardiseStem(nn.Module):
    """The stem's LayerNorm over [N,C,H,W], in float32; `folded` where the stem's convolution gives centred channels."""

    def __init__(self, norm: LayerNorm, folded: bool) -> None:
        super().__init__()
        self.folded = folded
        self.weight = nn.Parameter(norm.weight.detach(), requires_grad=False)
        self.bias = nn.Parameter(norm.bias.detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        if not self.folded:
            y = _channel_norm(y, self.weight, self.bias)
        else:
            y = y * torch.rsqrt(_mean_square(y) + EPS) * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return y.to(x.dtype)


def _channel_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """LayerNorm over the channels of [N,C,H,W]: one LayerNormalization node between transposes."""
    return _channels_first(functional.layer_norm(_channels_last(x), (x.shape[1],), weight, bias, EPS))


def _mean_square(x: Tensor) -> Tensor:
    """Over the channels of [N,C,H,W]."""
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return norm * norm * (1 / x.shape[1])


class ResponseScale(nn.Module):
    """GRN without beta: x times one number a channel, equation (1).

    The norm is taken in float32: in float16 its sum of squares overflows where RMS(x) * sqrt(H*W) > 256.
    """

    def __init__(self, gamma: Tensor, divisor: Tensor, fused_norm: bool) -> None:
        super().__init__()
        self.fused_norm = fused_norm
        self.register_buffer("gamma", (gamma / divisor).view(1, -1, 1, 1))
        self.register_buffer("one", (1 / divisor).view(1, -1, 1, 1))
        self.gamma: Tensor
        self.one: Tensor

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        if self.fused_norm:  # one ReduceL2 node: fast on OpenVINO, six times slower than its parts on ONNX Runtime
            norm = torch.linalg.vector_norm(y, dim=(2, 3), keepdim=True)  # [N,C,1,1]
        else:
            norm = torch.sqrt((y * y).sum(dim=(2, 3), keepdim=True))
        return x * (self.one + self.gamma * (norm / (norm.mean(dim=1, keepdim=True) + EPS))).to(x.dtype)


def gelu(x: Tensor) -> Tensor:
    """GELU with the error function, in the order in which every engine finds it and makes it one operation."""
    return x * (torch.erf(x / math.sqrt(2)) + 1) * 0.5


class DeployBlock(nn.Module):
    """On [N,C,H,W], its pointwise layers as 1x1 convolutions."""

    def __init__(self, block: Block, norm_form: str, smoothing: Tensor | None) -> None:
        super().__init__()
        factors = torch.ones_like(block.grn.gamma) if smoothing is None else smoothing
        folded = norm_form == "folded"
        self.depthwise = block.depthwise
        self.norm = Standardise(folded)
        self.expand = _after_norm(block.expand, block.norm, centre=folded)
        self.grn = ResponseScale(block.grn.gamma.detach(), factors, fused_norm=folded)
        self.project = _after_grn(block.project, block.grn, factors)

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(self.norm(self.depthwise(x)))
        return x + self.project(self.grn(gelu(y)))


class Rows(nn.Module):
    """A pointwise layer on rows of channels: [N,H*W,C_in] -> [N,H*W,C_out]."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.bias is not None
        self.weight = nn.Parameter(conv.weight.detach().flatten(1).t().contiguous(), requires_grad=False)
        self.bias = nn.Parameter(conv.bias.detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(x, self.weight) + self.bias


class DeployStem(nn.Module):
    def __init__(self, stem: Stem, norm_form: str) -> None:
        super().__init__()
        self.conv = _on_pixels(stem.conv, centre=norm_form == "folded")
        self.norm = StandardiseStem(stem.norm, norm_form == "folded")

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class DeployDownsample(nn.Module):
    def __init__(self, downsample: Downsample, norm_form: str) -> None:
        super().__init__()
        self.norm = Standardise(norm_form == "folded")
        self.conv = _after_norm(downsample.conv, downsample.norm, centre=norm_form == "folded")

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(x))


class RowsStem(nn.Module):
    """[N,3,H,W] -> [N,H',W',C]."""

    def __init__(self, stem: DeployStem) -> None:
        super().__init__()
        self.conv = stem.conv
        self.norm = stem.norm

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        return functional.layer_norm(_channels_last(self.conv(x)), norm.weight.shape, norm.weight, norm.bias, EPS)


class RowsDownsample(nn.Module):
    """[N,H,W,C] -> [N,H',W',C']."""

    def __init__(self, downsample: DeployDownsample) -> None:
        super().__init__()
        self.conv = downsample.conv

    def forward(self, x: Tensor) -> Tensor:
        return _channels_last(self.conv(_channels_first(_row_norm(x.flatten(1, 2)).reshape(x.shape))))


class RowsBlock(nn.Module):
    """On [N,H,W,C], for engines that multiply matrices better than they convolve: all but depthwise on rows."""

    def __init__(self, block: DeployBlock) -> None:
        super().__init__()
        self.depthwise = block.depthwise
        self.expand = Rows(block.expand)
        self.grn = block.grn
        self.project = Rows(block.project)

    def forward(self, x: Tensor) -> Tensor:
        rows = _channels_last(self.depthwise(_channels_first(x))).flatten(1, 2)  # [N,H*W,C]
        y = gelu(self.expand(_row_norm(rows)))
        norm = torch.sqrt(torch.matmul(torch.ones(1, rows.shape[1]), y * y))  # [N,1,4C]; faster than a sum over rows
        scale = self.grn.one.flatten() + self.grn.gamma.flatten() * (norm / (norm.mean(dim=2, keepdim=True) + EPS))
        return x + self.project(y * scale).reshape(x.shape)


def _on_rows(layer: nn.Module) -> nn.Module:
    if isinstance(layer, DeployStem):
        return RowsStem(layer)
    if isinstance(layer, DeployDownsample):
        return RowsDownsample(layer)
    assert isinstance(layer, DeployBlock)
    return RowsBlock(layer)


def _row_norm(rows: Tensor) -> Tensor:
    """LayerNorm of [N,L,C] without weight and bias. As an instance's norm it takes ONNX Runtime 0.7 of the time."""
    return functional.instance_norm(rows, eps=EPS)


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)  # NCHW -> NHWC


def _channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)  # NHWC -> NCHW


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
        self.rows = norm_form == "rows"
        self.dtype = dtype
        stages: list[nn.Module] = []
        for stage in network.stages:
            assert isinstance(stage, Stage)
            down = stage.downsample
            layers: list[nn.Module] = [
                DeployStem(down, norm_form) if isinstance(down, Stem) else DeployDownsample(down, norm_form),
                *(DeployBlock(cast(Block, block), norm_form, next(factors, None)) for block in stage.blocks),
            ]
            stages.append(nn.Sequential(*(map(_on_rows, layers) if self.rows else layers)))
        self.stages = nn.Sequential(*stages)
        self.linear = _after_norm(network.head.linear, network.head.norm, centre=False)
        for module in self.stages.modules():
            if isinstance(module, nn.Conv2d):
                module.to(dtype)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.stages((pixels - CENTRE).to(self.dtype))  # whole numbers -128..127, exact in float16 too
        x = x.float().mean(dim=(1, 2) if self.rows else (2, 3))  # [N,C]
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


def _on_pixels(conv: nn.Conv2d, *, centre: bool) -> nn.Conv2d:
    """The convolution of (pixel - MEAN) / STD as one of pixel - CENTRE, its channels' mean taken out if `centre`."""
    weight = conv.weight.detach().double()
    bias = _bias(conv) + weight.sum(dim=(1, 2, 3)) * ((CENTRE - MEAN) / STD)
    if centre:
        weight, bias = weight - weight.mean(dim=0), bias - bias.mean()
    return _like(conv, weight / STD, bias)


def _after_norm(layer: _Layer, norm: LayerNorm | nn.LayerNorm, *, centre: bool) -> _Layer:
    """The layer of x * norm.weight + norm.bias as one of x, or of x before its channels' mean is taken out if `centre`.

    It has no padding.
    """
    weight = layer.weight.detach().double()
    columns = (1, -1) + (1,) * (weight.ndim - 2)
    scaled = weight * norm.weight.detach().double().view(columns)
    shift = (weight * norm.bias.detach().double().view(columns)).flatten(1).sum(dim=1)
    if centre:
        scaled = scaled - scaled.mean(dim=1, keepdim=True)
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

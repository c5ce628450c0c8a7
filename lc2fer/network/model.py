"""The trained network: LC2FER, a light ConvNeXt V2 for facial expression recognition.

Architecture of Long et al. (HOUJS 2024): stages of one downsample and B blocks (there called CX2FER), then the head.
Pointwise layers are 1x1 convolutions, the same function as the usual linear layers and faster to train on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lc2fer.variants import EXPANSION, KERNEL, LABEL_COUNT, Variant

EPS = 1e-6  # of LayerNorm and GRN, as in ConvNeXt V2; the paper does not state it

# Normalised images are (pixel - MEAN) / STD. The paper does not state its normalisation; this one maps 0..255 to -2..2.
MEAN = 127.5
STD = 63.75


def normalize(pixels: Tensor) -> Tensor:
    """Raw pixels 0..255, [N,3,H,W] of any real dtype -> what the trained network takes, float32."""
    return (pixels.float() - MEAN) / STD


class LayerNorm(nn.Module):
    """Layer normalisation over the channels of [N,C,H,W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)  # NCHW -> NHWC, no copy in channels_last
        x = functional.layer_norm(x, (x.shape[-1],), self.weight, self.bias, EPS)
        return x.permute(0, 3, 1, 2)


class _GRN(torch.autograd.Function):
    """Equation (1) and its gradient in closed form: autograd's own took a third of a training step on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        exact = torch.promote_types(x.dtype, torch.float32)
        norm = (x * x).sum(dim=(2, 3), keepdim=True, dtype=exact).sqrt()  # [N,C,1,1]
        mean = norm.mean(dim=1, keepdim=True) + EPS  # [N,1,1,1]
        scale = 1 + gamma.view(1, -1, 1, 1) * (norm / mean)
        ctx.save_for_backward(x, gamma, norm, mean, scale)
        return torch.addcmul(beta.view(1, -1, 1, 1).to(x.dtype), x, scale.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (grad,) = outputs
        x, gamma, norm, mean, scale = ctx.saved_tensors
        scale_grad = (grad * x).sum(dim=(2, 3), keepdim=True, dtype=norm.dtype)
        ratio_grad = scale_grad * gamma.view(1, -1, 1, 1)
        norm_grad = ratio_grad / mean - (ratio_grad * norm).sum(dim=1, keepdim=True) / (mean**2 * norm.shape[1])
        x_share = (norm_grad / norm).masked_fill(norm == 0, 0).to(x.dtype)  # a dead channel has no slope
        x_grad = torch.addcmul(grad * scale.to(x.dtype), x, x_share)
        return x_grad, (scale_grad * norm / mean).sum(dim=(0, 2, 3)), grad.sum(dim=(0, 2, 3), dtype=norm.dtype)


class GRN(nn.Module):
    """Global response normalisation, the paper's equation (1).

    X_grn = gamma * (X * ||X||_2 / (E(||X||_2) + eps)) + beta + X; the norm is over space, E over channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = _GRN.apply(x, self.gamma, self.beta)  # type: ignore[no-untyped-call]
        return result


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution, its weight gradient as sums that Inductor compiles: oneDNN's takes 6 times as long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return functional.conv2d(x, weight, bias, padding=KERNEL // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (grad,) = outputs
        x, weight = ctx.saved_tensors
        height, width = x.shape[2:]
        exact = torch.promote_types(x.dtype, torch.float32)
        x_grad = functional.conv2d(grad, weight.flip(2, 3), padding=KERNEL // 2, groups=len(weight))
        windows = functional.pad(x, [KERNEL // 2] * 4).unfold(3, width, 1)  # [N,C,H+6,7,W]
        rows = [  # each image's sum first: a single sum over all was slower
            (windows[:, :, row : row + height].to(exact) * grad[:, :, :, None].to(exact)).sum(dim=(2, 4)).sum(dim=0)
            for row in range(KERNEL)
        ]
        weight_grad = torch.stack(rows, dim=1)[..., None].permute(0, 3, 1, 2)  # strides of a channels_last weight
        return x_grad, weight_grad.to(x.dtype), grad.sum(dim=(0, 2, 3))


# How a depthwise convolution is trained on a kind of device, where its own code is not the fastest: "summed" as above,
# when compiled, or "contiguous", in NCHW.
DEPTHWISE = {"cpu": "summed"}


class Depthwise(nn.Conv2d):
    """Depthwise 7x7 convolution of [N,C,H,W], stride 1, the same size out."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        kind = x.device.type
        how = DEPTHWISE.get(kind) if self.training else None
        if how == "contiguous":
            return super().forward(x.contiguous()).contiguous(memory_format=torch.channels_last)
        if how is None or not torch.compiler.is_compiling():
            return super().forward(x)
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        assert self.bias is not None
        result: Tensor = _Depthwise.apply(  # type: ignore[no-untyped-call]
            x.to(dtype), self.weight.to(dtype), self.bias.to(dtype)
        )
        return result


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): in training, drops the branch of whole images with probability `rate`."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = torch.rand(x.shape[0], 1, 1, 1, device=x.device) >= self.rate
        return x * (keep.to(x.dtype) / (1 - self.rate))


class Block(nn.Module):
    """CX2FER block: depthwise 7x7, LayerNorm, C -> 4C, GELU, GRN, 4C -> C, drop path, plus its input."""

    def __init__(self, channels: int, drop_path: float) -> None:
        super().__init__()
        hidden = EXPANSION * channels
        self.depthwise = Depthwise(channels)
        self.norm = LayerNorm(channels)
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.grn = GRN(hidden)
        self.project = nn.Conv2d(hidden, channels, 1)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(self.norm(self.depthwise(x)))
        y = self.project(self.grn(functional.gelu(y)))
        return x + self.drop_path(y)


class Stem(nn.Module):
    """The first stage's downsample: convolution without padding, then LayerNorm."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, kernel, stride)
        self.norm = LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Downsample(nn.Module):
    """A later stage's downsample: LayerNorm, then convolution without padding."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.norm = LayerNorm(inputs)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(x))


class Stage(nn.Module):
    """A downsample and its blocks."""

    def __init__(self, downsample: Stem | Downsample, blocks: list[Block]) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))


class Head(nn.Module):
    """Global average pool, LayerNorm, linear."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(self.features(x)))

    @staticmethod
    def features(x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))  # [N,C]


class Network(nn.Module):
    """Normalised images float [N,3,H,W] -> logits [N,num_classes]."""

    def __init__(self, variant: Variant, num_classes: int, drop_path: float) -> None:
        super().__init__()
        self.variant = variant
        self.num_classes = num_classes
        rates = iter(torch.linspace(0, drop_path, sum(variant.blocks)).tolist())  # deeper blocks drop more often
        stages: list[Stage] = []
        inputs = 3
        for (kernel, stride), count, width in zip(variant.downsamples, variant.blocks, variant.widths):
            first = not stages
            downsample = Stem(width, kernel, stride) if first else Downsample(inputs, width, kernel, stride)
            stages.append(Stage(downsample, [Block(width, next(rates)) for _ in range(count)]))
            inputs = width
        self.stages = nn.Sequential(*stages)
        self.head = Head(inputs, num_classes)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(x))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        assert module.bias is not None
        nn.init.zeros_(module.bias)


def grow(network: Network, shallower: Network, classes: Sequence[int | None] | None = None) -> None:
    """Give `network`, freshly made, the function of one with fewer blocks: those beyond begin as the identity.

    `classes` are, for each of its classes, the other's place of the same one, or None for one that begins anew; without
    them the classes are the same.
    """
    weights = shallower.state_dict()
    for name in ("head.linear.weight", "head.linear.bias") if classes is not None else ():
        fresh = network.state_dict()[name].clone()
        for place, other in enumerate(classes or ()):
            if other is not None:
                fresh[place] = weights[name][other]
        weights[name] = fresh
    for stage in network.stages:
        assert isinstance(stage, Stage)
        for block in stage.blocks:
            assert isinstance(block, Block)
            nn.init.zeros_(block.project.weight)  # its bias is zero already
    network.load_state_dict(network.state_dict() | weights)


def build(variant: Variant, num_classes: int = LABEL_COUNT, drop_path: float = 0.0) -> Network:
    """A freshly initialised network of that variant (truncated normal of 0.02, as ConvNeXt V2).

    Its parameters are registered in the order of the forward pass. `drop_path` is the last block's rate; the paper
    uses drop path and does not state the rate.
    """
    return Network(variant, num_classes, drop_path)

"""What a trained network shows of itself: its answers, its features and its Grad-CAM heat maps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lc2fer.network.model import Network, normalize
from lc2fer.variants import KERNEL, Variant

_CHUNK = 8  # images at once: more are slower on a CPU, whose caches they leave


def outputs(network: Network, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits [N, classes] and features [N, C], the input of the head's linear layer, of images [N, size, size, 3]."""
    logits, features = [], []
    head = network.head
    with torch.inference_mode():
        for images in _batches(pixels):
            found = head.norm(head.features(network.stages(images)))
            features.append(found)
            logits.append(head.linear(found))
    return torch.cat(logits).numpy(), torch.cat(features).numpy()


def grad_cam(network: Network, pixels: NDArray[np.uint8], classes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Heat of one class an image on the last stage's grid, [N, h, w], 0 or more.

    Grad-CAM (Selvaraju et al., ICCV 2017): the stage's channels weighted by the mean gradient of the class's logit,
    summed, and what is negative dropped.
    """
    from captum.attr import LayerGradCam

    method = LayerGradCam(network, _last(network.stages))
    found = [
        method.attribute(images, target=torch.from_numpy(wanted), relu_attributions=True).detach()
        for images, wanted in zip(_batches(pixels), _chunks(classes))
    ]
    maps: NDArray[np.float32] = torch.cat(found)[:, 0].numpy()
    return maps


def centres(variant: Variant, size: int) -> NDArray[np.float64]:
    """Where the cells of the last stage's grid look, by the middle of each on one axis, in pixels of the image.

    The downsamples have no padding, so the grid does not divide the image evenly.
    """
    places = np.arange(size) + 0.5
    for kernel, stride in variant.downsamples:
        count = (len(places) - kernel) // stride + 1
        first, step = places[:kernel].mean(), places[1] - places[0] if len(places) > 1 else 1.0
        places = first + step * stride * np.arange(count)
    return np.asarray(places, np.float64)


def field(variant: Variant) -> int:
    """Pixels a side of the image that a cell of the last stage depends on, GRN's norms over the whole picture aside."""
    seen, step = 1, 1
    for (kernel, stride), blocks in zip(variant.downsamples, variant.blocks):
        seen += (kernel - 1) * step
        step *= stride
        seen += blocks * (KERNEL - 1) * step
    return seen


def _last(stages: nn.Module) -> nn.Module:
    return list(stages.children())[-1]


def _chunks(values: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK)]


def _batches(pixels: NDArray[np.uint8]) -> Iterator[Tensor]:
    """Normalised images [n, 3, size, size], a chunk after the other."""
    for start in range(0, len(pixels), _CHUNK):
        images = torch.from_numpy(pixels[start : start + _CHUNK]).permute(0, 3, 1, 2)
        yield normalize(images).contiguous(memory_format=torch.channels_last)

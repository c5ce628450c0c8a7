"""What a run learns from: images, and for each image a target, the shares of the classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lc2fer import artifact as artifacts
from lc2fer.data import labels_of, read_pixels, votes
from lc2fer.data.dataset import Dataset, Sample
from lc2fer.data.split import Split
from lc2fer.errors import DataError
from lc2fer.inputs import LABELS, InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import Network, normalize
from lc2fer.settings import Settings

CACHED = 16  # images at once on a CPU: what lies between two layers stays in its caches


@dataclass(frozen=True)
class Faces:
    """Images and labels on the device."""

    pixels: Tensor  # uint8 [N,3,H,W]
    labels: Tensor  # int64 [N]


@dataclass(frozen=True)
class Teacher:
    """A trained network, in eval mode, and the images that it takes."""

    network: Network
    spec: InputSpec


def at_once(device: torch.device, batch: int = 256) -> int:
    """How many of a batch's images to take at once: all, or on a CPU the largest equal parts that its caches hold.

    Without `batch`, of any number of images that are only answered.
    """
    if device.type != "cpu":
        return batch
    return next((size for size in range(CACHED, CACHED // 2, -1) if batch % size == 0), batch)


def teacher(path: Path) -> Teacher:
    """The network of a checkpoint, of any variant; raises ArtifactError as `checkpoint.load` does."""
    network = checkpoint.load(path)
    known = path.with_suffix(".json").is_file()
    return Teacher(network, artifacts.load(path).input_spec if known else InputSpec())


def limited(split: Split, limit: int) -> tuple[Sample, ...]:
    """The samples of D^u, or the `limit` first of them by their files' hashes, in the order of the split."""
    if not limit:
        return split.fit
    chosen = sorted(np.argsort(split.fit_sha256, kind="stable")[:limit])
    return tuple(split.fit[place] for place in chosen)


def faces(samples: Sequence[Sample], spec: InputSpec, device: torch.device) -> Faces:
    pixels = torch.from_numpy(read_pixels(samples, spec)).permute(0, 3, 1, 2).contiguous()
    return Faces(pixels.to(device), torch.from_numpy(labels_of(samples)).to(device))


def targets(datasets: Sequence[Dataset], parts: Sequence[Sequence[Sample]], kind: str) -> Tensor:
    """Float32 [N,7]: the labels, or with kind "votes" the crowd's shares where a data set has them.

    Raises DataError where none has, and for votes that cannot be read.
    """
    found, any_votes = [], False
    for dataset, samples in zip(datasets, parts):
        shares = votes.read(dataset.root, samples) if kind == "votes" else None
        any_votes |= shares is not None
        if shares is None:
            shares = np.eye(len(LABELS), dtype=np.float32)[labels_of(samples)]
        found.append(torch.from_numpy(shares))
    if kind == "votes" and not any_votes:
        raise DataError(
            f"{' and '.join(str(dataset.root) for dataset in datasets)} have no {votes.FILE}. Votes were asked for. "
            "Write it as docs/training.md says, or train with --targets labels."
        )
    return torch.cat(found)


@torch.inference_mode()
def answers(
    teachers: Sequence[Teacher],
    samples: Sequence[Sample],
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[None]],
) -> Tensor:
    """The teachers' mean probabilities, float32 [N,classes], of each image and its mirror image."""
    sums = torch.zeros(len(samples), len(LABELS))
    step = at_once(device)
    for one in teachers:
        network = one.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for begin in range(0, len(samples), step):
            images = normalize(faces(samples[begin : begin + step], one.spec, device).pixels)
            for seen in (images, images.flip(-1)):
                with autocast():
                    logits = network(seen.contiguous(memory_format=torch.channels_last))
                sums[begin : begin + step] += functional.softmax(logits.float(), dim=1).cpu()
    return sums / (2 * len(teachers))


def balance(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """A weight for each class, the inverse root of its count, 1 in the mean over the images; float64 [7].

    The root stands halfway between the classes as they are and all classes alike.
    """
    counts = np.bincount(labels, minlength=len(LABELS))
    weights = 1 / np.sqrt(np.maximum(counts, 1))
    return weights / weights[labels].mean()


def order(labels: NDArray[np.int64], settings: Settings, epoch: int) -> Tensor:
    """The images of an epoch, int64 [N]: each once, or with balance "sampling" drawn by the classes' weights."""
    rng = np.random.default_rng((settings.seed, epoch))
    if settings.balance == "sampling":
        weights = balance(labels)[labels]
        return torch.from_numpy(rng.choice(len(labels), size=len(labels), p=weights / weights.sum()))
    return torch.from_numpy(rng.permutation(len(labels)))


def parameter_groups(network: Network, settings: Settings) -> Iterator[dict[str, object]]:
    """Of AdamW: all alike, or without decay of what is no matrix or kernel (biases, norms, GRN)."""
    if settings.decay == "all":
        yield {"params": list(network.parameters())}
        return
    for decay, wanted in ((settings.weight_decay, True), (0.0, False)):
        chosen = [parameter for parameter in network.parameters() if (parameter.ndim > 1) == wanted]
        yield {"params": chosen, "weight_decay": decay}

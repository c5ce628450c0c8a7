"""What a run learns from: images, and for each image a target, the shares of the classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lc2fer.data import labels_of, read_pixels, votes
from lc2fer.data.dataset import Dataset, Sample, places
from lc2fer.data.split import Split
from lc2fer.errors import ArtifactError, DataError
from lc2fer.header import input_spec
from lc2fer.inputs import InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import Network, normalize
from lc2fer.settings import Settings
from lc2fer.variants import LABEL_COUNT

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
    training: Mapping[str, Any] | None = None  # of its manifest, where it has one

    def answers_to(self, labels: Sequence[str], path: Path) -> Teacher:
        """The same with its classes in that order; raises ArtifactError where it tells others apart."""
        if set(self.spec.labels) != set(labels):
            raise ArtifactError(
                f"{path} tells {', '.join(self.spec.labels)} apart. A teacher of the data's classes, "
                f"{', '.join(labels)}, was expected. Pass another --teacher, or none."
            )
        order = [self.spec.labels.index(name) for name in labels]
        linear = self.network.head.linear
        with torch.no_grad():
            linear.weight.copy_(linear.weight[order].clone())
            linear.bias.copy_(linear.bias[order].clone())
        return replace(self, spec=replace(self.spec, labels=tuple(labels)))


def at_once(device: torch.device, batch: int = 256) -> int:
    """How many of a batch's images to take at once: all, or on a CPU the largest equal parts that its caches hold.

    Without `batch`, of any number of images that are only answered.
    """
    if device.type != "cpu":
        return batch
    return next((size for size in range(CACHED, CACHED // 2, -1) if batch % size == 0), batch)


def teacher(path: Path, deepened: str | None = None) -> Teacher:
    """The network of a checkpoint, of any variant, or of `deepened` or one with fewer blocks.

    Raises ArtifactError as `checkpoint.load` and `lc2fer.header.input_spec` do.
    """
    network = checkpoint.load(path, deepened, shallower=True)
    spec, manifest = input_spec(path, network.num_classes)
    return Teacher(network, spec, manifest.training if manifest else None)


def limited(split: Split, limit: int) -> tuple[Sample, ...]:
    """The samples of D^u, or the `limit` first of them by their files' hashes, in the order of the split."""
    if not limit:
        return split.fit
    chosen = sorted(np.argsort(split.fit_sha256, kind="stable")[:limit])
    return tuple(split.fit[place] for place in chosen)


def faces(
    samples: Sequence[Sample], spec: InputSpec, device: torch.device, labels: NDArray[np.int64] | None = None
) -> Faces:
    """The samples' images and labels; `labels` are to be given where they are not the samples' own."""
    pixels = torch.from_numpy(read_pixels(samples, spec)).permute(0, 3, 1, 2).contiguous()
    return Faces(pixels.to(device), torch.from_numpy(labels_of(samples) if labels is None else labels).to(device))


def targets(datasets: Sequence[Dataset], parts: Sequence[Sequence[Sample]], kind: str) -> Tensor:
    """Float32 [N,classes]: the labels, or with kind "votes" the crowd's shares where a data set has them.

    The classes are the first data set's. Raises DataError where none has votes, and for votes that cannot be read.
    """
    labels = datasets[0].labels
    found, any_votes = [], False
    for dataset, samples in zip(datasets, parts):
        shares = _shares(dataset, samples) if kind == "votes" else None
        any_votes |= shares is not None
        if shares is None:
            shares = np.eye(len(dataset.labels), dtype=np.float32)[labels_of(samples)]
        wide = np.zeros((len(samples), len(labels)), np.float32)
        wide[:, places(dataset, labels)] = shares
        found.append(torch.from_numpy(wide))
    if kind == "votes" and not any_votes:
        raise DataError(
            f"{' and '.join(str(dataset.place) for dataset in datasets)} have no {votes.FILE}. Votes were asked for. "
            "Write it as docs/training.md says, or train with --targets labels."
        )
    return torch.cat(found)


def _shares(dataset: Dataset, samples: Sequence[Sample]) -> NDArray[np.float32] | None:
    """The crowd's, float32 [N, the data set's classes]: its own, or those of votes.csv."""
    if dataset.shares is None:
        return votes.read(dataset.root, samples, dataset.labels)
    return np.array([dataset.shares[sample.path] for sample in samples], np.float32).reshape(len(samples), -1)


@torch.inference_mode()
def answers(
    teachers: Sequence[Teacher],
    samples: Sequence[Sample],
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[None]],
) -> Tensor:
    """The teachers' mean probabilities, float32 [N,classes], of each image and its mirror image."""
    sums = torch.zeros(len(samples), teachers[0].network.num_classes)
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


@torch.inference_mode()
def logits(network: Network, faces: Faces) -> NDArray[np.float32]:
    """Float32 [N,classes] of a network in eval mode, on the faces' device."""
    found = []
    for part in faces.pixels.split(at_once(faces.pixels.device)):
        found.append(network(normalize(part).contiguous(memory_format=torch.channels_last)).float().cpu())
    return np.asarray(torch.cat(found).numpy(), np.float32)


def balance(labels: NDArray[np.int64], classes: int = LABEL_COUNT) -> NDArray[np.float64]:
    """A weight for each class, the inverse root of its count, 1 in the mean over the images; float64 [classes].

    The root stands halfway between the classes as they are and all classes alike.
    """
    counts = np.bincount(labels, minlength=classes)
    weights = 1 / np.sqrt(np.maximum(counts, 1))
    return weights / weights[labels].mean()


def order(labels: NDArray[np.int64], settings: Settings, epoch: int) -> Tensor:
    """The images of an epoch, int64 [N]: each once, or with balance "sampling" drawn by the classes' weights."""
    rng = np.random.default_rng((settings.seed, epoch))
    if settings.balance == "sampling":
        weights = balance(labels)[labels]
        return torch.from_numpy(rng.choice(len(labels), size=len(labels), p=weights / weights.sum()))
    return torch.from_numpy(rng.permutation(len(labels)))

"""What a step learns: images as they are augmented, and the shares of the classes that are wanted of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.nn import functional

from lc2fer.network.model import normalize
from lc2fer.settings import Settings
from lc2fer.training.augment import augmentation, erased, mixed
from lc2fer.training.faces import Faces, Teacher


class Batches:
    """Faces and targets float32 [N,classes] on the device, and the teachers that answer each augmented image."""

    def __init__(
        self,
        settings: Settings,
        faces: Faces,
        targets: Tensor,
        teachers: Sequence[Teacher],
        autocast: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.settings = settings
        self.faces = faces
        self.targets = targets
        self.teachers = teachers
        self._autocast = autocast
        self._augment = augmentation(settings.augment)
        for one in teachers:
            one.network.to(targets.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, index: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """Float pixels [N,3,side,side] and targets [N,classes] of the images at these places, int64 [N]."""
        settings = self.settings
        images = self._augment(self.faces.pixels[index].float())
        if settings.erase:
            images = erased(images, settings.erase)
        targets = self.targets[index]
        if self.teachers:
            targets = torch.lerp(targets, self._answers(images), settings.distill)
        images = _resized(images, side)
        if settings.mixup or settings.cutmix:
            images, targets = mixed(images, targets, settings.mixup, settings.cutmix)
        return images, targets

    @torch.no_grad()
    def _answers(self, images: Tensor) -> Tensor:
        """The teachers' mean probabilities [N,classes]; each sees the images in its own size."""
        sums = torch.zeros(len(images), self.targets.shape[1], device=images.device)
        for one in self.teachers:
            seen = normalize(_resized(images, one.spec.size)).contiguous(memory_format=torch.channels_last)
            with self._autocast():
                logits = one.network(seen)
            sums += functional.softmax(logits.float(), dim=1)
        return sums / len(self.teachers)


def _resized(images: Tensor, side: int) -> Tensor:
    if images.shape[-1] == side:
        return images
    return functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True)

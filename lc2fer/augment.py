"""Augmentation on the device, as tables: the paper's second experiment, and none.

The paper gives the ranges; it is silent on the flip's probability (0.5 here) and on what fills the borders (the image's
own reflection here).
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from torch import Tensor

# name -> ranges, all at once and drawn at random for each image
AUGMENTATIONS = MappingProxyType(
    {
        "none": None,
        "paper": {"flip": 0.5, "degrees": 9.0, "translate": 0.1, "zoom": 0.1},  # 9 degrees = 0.05 pi
    }
)


def augmentation(name: str) -> Callable[[Tensor], Tensor]:
    """A function of float images [N,3,H,W] to images of the same shape; randomness is torch's."""
    ranges = AUGMENTATIONS[name]
    if ranges is None:
        return lambda images: images
    from kornia import augmentation as kornia  # a second to import

    both: Any = kornia.AugmentationSequential(
        kornia.RandomHorizontalFlip(p=ranges["flip"]),
        kornia.RandomAffine(
            degrees=ranges["degrees"],
            translate=(ranges["translate"], ranges["translate"]),
            scale=(1 - ranges["zoom"], 1 + ranges["zoom"]),
            padding_mode="reflection",
            p=1.0,
        ),
        data_keys=["input"],
    )

    def augment(images: Tensor) -> Tensor:
        result: Tensor = both(images)
        return result

    return augment

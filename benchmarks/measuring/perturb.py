"""Faces as they are met outside a data set: covered, blurred, too dark or too bright, tilted.

The paper names these factors as what in-the-wild data vary in. A model can lose little on clean images and much here,
and a quantised one more than its parent, so both are scored on the same disturbed images. Each image's disturbance
follows from its place in D^e alone.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # [size, size, 3]

COVERED = 0.35  # side of the covering square, as a share of the image's
BLUR = 0.02  # the Gaussian's standard deviation, as a share of the side
DARK, BRIGHT = 0.5, 1.6  # factors on the pixels
TILT = (10.0, 30.0)  # degrees, either way


def occlusion(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A grey square over a random place."""
    side = round(COVERED * len(pixels))
    top, left = rng.integers(0, len(pixels) - side + 1, 2)
    covered = pixels.copy()
    covered[top : top + side, left : left + side] = 128
    return covered


def blur(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Out of focus."""
    from PIL import Image, ImageFilter

    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(BLUR * len(pixels))), np.uint8)


def brightness(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Half as bright, or so bright that light parts saturate."""
    factor = DARK if rng.random() < 0.5 else BRIGHT
    return np.clip(pixels * factor, 0, 255).astype(np.uint8)


def rotation(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A tilted head, 10 to 30 degrees; the corners that come in are grey."""
    from PIL import Image

    degrees = rng.uniform(*TILT) * rng.choice((-1, 1))
    turned = Image.fromarray(pixels).rotate(degrees, Image.Resampling.BILINEAR, fillcolor=(128, 128, 128))
    return np.asarray(turned, np.uint8)


FACTORS: MappingProxyType[str, Callable[[Pixels, np.random.Generator], Pixels]] = MappingProxyType(
    {"occlusion": occlusion, "blur": blur, "brightness": brightness, "rotation": rotation}
)


def perturb(factor: str, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images uint8 [N, size, size, 3] under a factor, each by its own place's seed."""
    change = FACTORS[factor]
    return np.stack([change(pixels, np.random.default_rng(place)) for place, pixels in enumerate(images)])

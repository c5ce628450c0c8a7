"""What a session takes: float32 pixels in 0..255. Other values are refused; likely mistakes are told once a session."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from lc2fer.artifact import Artifact
from lc2fer.errors import UsageError

# As whole numbers, the bits of floats from 0 upwards are in the order of the floats; negative ones, infinity and NaN
# come after them. So one pass over the pixels finds all that is wrong with them.
_BITS_OF_255 = int(np.float32(255).view(np.uint32))
_BITS_OF_1 = int(np.float32(1).view(np.uint32))

_LOOKED_AT = 16  # images of a session whose colours are looked at
# Levels that the last channel lies above the first on their mean, and the share of them in which it does. Of 400 drawn
# faces red lies 35 above blue; one in fifty, in blue light, is the other way around by 20.
_BLUER, _OFTEN = 25.0, 0.75


class Gate:
    """Checks the batches of one session."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._scaled = False  # whether 0..1 was told of
        self._left = _LOOKED_AT
        self._bluer: list[float] = []

    def passed(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The batch, copied where its strides are negative; raises UsageError for what no model was trained on."""
        highest = check_pixels(batch, self._artifact)
        if highest <= _BITS_OF_1 and not self._scaled and batch.min() != batch.max():
            self._scaled = True
            self._warn("has no value above 1", "Pixels of 0..255 were expected", "Multiply them by 255")
        if self._left and self._bgr(batch):
            self._warn(
                "is bluer than red in most of its first images", "Channels R, G, B were expected", "Turn B, G, R"
            )
        return batch if batch.flags.c_contiguous or min(batch.strides) >= 0 else np.ascontiguousarray(batch)

    def _bgr(self, batch: NDArray[np.float32]) -> bool:
        """Faces are redder than blue; where the first images are the other way around, their channels are too."""
        images = batch[: self._left]
        self._left -= len(images)
        self._bluer += [float(blue - red) for red, blue in images[:, ::2].mean(axis=(2, 3))]
        if self._left:
            return False
        return float(np.mean(self._bluer)) > _BLUER and float(np.mean(np.array(self._bluer) > 0)) >= _OFTEN

    def _warn(self, what: str, expected: str, mend: str) -> None:
        text = f"What {self._artifact.name} is given {what}. {expected}. {mend}, or use artifact.input_spec.apply."
        warnings.warn(text, stacklevel=4)


def check_pixels(batch: NDArray[np.float32], artifact: Artifact) -> int:
    """Raise UsageError unless a session takes the batch; returns the bits of its highest value."""
    check(batch, artifact)
    highest = int(np.maximum.reduce(batch.view(np.uint32), axis=None))
    if highest > _BITS_OF_255:
        _check_values(batch, artifact)
    return highest


def check(batch: NDArray[np.float32], artifact: Artifact) -> None:
    """Raise UsageError unless batch is float32 [N,3,H,W] with N >= 1, as the artifact's InputSpec says."""
    shape = artifact.input_spec.shape
    if (
        not isinstance(batch, np.ndarray)
        or batch.dtype != np.float32
        or batch.ndim != 4
        or batch.shape[1:] != shape
        or len(batch) == 0
    ):
        kind = f"{batch.dtype} {list(batch.shape)}" if hasattr(batch, "dtype") else f"a {type(batch).__name__}"
        raise UsageError(
            f"{artifact.name} was given {kind}. Expected float32 [N, "
            f"{', '.join(map(str, shape))}] of raw RGB pixels, 0..255. Prepare images with session.artifact.input_spec."
            "apply."
        )


def _check_values(batch: NDArray[np.float32], artifact: Artifact) -> None:
    lowest, highest = float(batch.min()), float(batch.max())
    if lowest >= 0 and highest <= 255:  # -0.0
        return
    finite = bool(np.isfinite(batch).all())
    what = f"values from {lowest:g} to {highest:g}" if finite else "values that are not finite (NaN or infinity)"
    raise UsageError(
        f"{artifact.name} was given {what}. Expected raw RGB pixels, 0..255, neither normalized nor of 16 bits. "
        "Prepare images with session.artifact.input_spec.apply."
    )

"""The trained network as other engines' converters read it, in a folder between two processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Run = Callable[[NDArray[np.float32]], Any]  # float32 [1,3,H,W] in 0..255 -> logits, classes in all


@dataclass(frozen=True)
class Program:
    """What is to be converted, and how: input float32 [1,3,H,W] of raw pixels, output the logits."""

    folder: Path
    form: str  # of the recipe, as is the precision
    precision: str
    shape: tuple[int, int, int]  # of an image: 3, H, W

    @property
    def exported(self) -> Path:
        """As torch.export writes it."""
        return self.folder / "network.pt2"

    @property
    def traced(self) -> Path:
        """TorchScript."""
        return self.folder / "network.pt"

    @property
    def graph(self) -> Path:
        """ONNX, of one image."""
        return self.folder / "network.onnx"

    @property
    def images(self) -> Path:
        """To calibrate with, where the precision is int8: float32 [N,3,H,W], .npy."""
        return self.folder / "calibration.npy"

    def example(self) -> NDArray[np.float32]:
        """An input, to trace with."""
        return np.zeros((1, *self.shape), np.float32)

    def calibration(self) -> NDArray[np.float32]:
        found: NDArray[np.float32] = np.load(self.images, allow_pickle=False)
        return found

"""A small network, small faces, and everything that is exported from them, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lc2fer.export.pipeline import Pipeline

from lc2fer import checkpoint
from lc2fer.artifact import Artifact
from lc2fer.inputs import InputSpec
from lc2fer.model import build
from lc2fer.variants import VARIANTS

SIZE = 32


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory, write_faces: Callable[..., Path]) -> Path:
    """60 training and 3 test pictures a class, 32x32: 84 images of D^v."""
    return write_faces(tmp_path_factory.mktemp("export") / "faces", train=60, test=3)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """C8 whose LayerNorms, GRNs and biases do something, for 32x32 pixels."""
    import torch

    torch.manual_seed(3)
    network = build(VARIANTS["C8"])
    with torch.no_grad():
        for name, value in network.named_parameters():
            if "norm" in name or "grn" in name or "bias" in name:
                value.add_(0.3 * torch.randn_like(value))
            elif "head" in name:
                value.mul_(30)  # logits as far apart as a trained network's
    folder = tmp_path_factory.mktemp("weights")
    return checkpoint.save(network, folder, "mine", input_spec=InputSpec(size=SIZE), training={"epoch": 1}).path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, faces: Path, weights: Path) -> Callable[[str], Artifact]:
    """The artifact of a target; each is made once."""
    out = tmp_path_factory.mktemp("out")
    pipeline = Pipeline("C8", out, weights=weights, data=faces, calibration_images=40)
    return pipeline.export

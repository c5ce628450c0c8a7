"""What the tests of the report share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lc2fer import artifact as artifacts
from lc2fer.network import checkpoint


@pytest.fixture(scope="session")
def other_model() -> Callable[[Path, Path, float], Path]:
    """Makes a model "of those weights": the same network with noise in its last layer, and a manifest to say so."""

    def make(weights: Path, folder: Path, noise: float) -> Path:
        network = checkpoint.load(weights)
        torch.manual_seed(1)
        with torch.no_grad():
            network.head.linear.weight.add_(noise * torch.randn_like(network.head.linear.weight))
        origin = artifacts.load(weights)
        made = checkpoint.save(network, folder, "noisy", input_spec=origin.input_spec, training={})
        made = replace(made, target="noisy", parent_sha256=artifacts.hash_file(weights))
        artifacts.write(made.manifest_path, made.to_json())
        return made.path

    return make

"""Muon: what its steps are, beside PyTorch's own, and a run with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from lc2fer.network.model import build
from lc2fer.settings import Settings
from lc2fer.training import command
from lc2fer.training.learner import Learner
from lc2fer.training.muon import Muon, is_pointwise, orthogonalized
from lc2fer.variants import variant


@pytest.mark.parametrize("shape", [(5, 24, 96), (5, 96, 24), (1, 32, 32)])
def test_a_matrix_keeps_its_directions_and_loses_its_lengths(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, lengths, right = torch.linalg.svd(matrices, full_matrices=False)
    found = left.mT @ orthogonalized(1000 * matrices) @ right.mT
    kept = found.diagonal(dim1=-2, dim2=-1)
    assert (found - torch.diag_embed(kept)).abs().max() < 1e-9
    known = lengths > 0.05 * lengths[:, :1]  # shorter ones want more turns
    assert 0.5 < kept[known].min() <= kept[known].max() < 1.3
    assert torch.equal(orthogonalized(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


def test_its_steps_are_pytorchs() -> None:
    """PyTorch's takes matrices, and turns them in bfloat16."""
    torch.manual_seed(0)
    kernels = [torch.randn(outputs, inputs, 1, 1) for outputs, inputs in ((48, 12), (12, 48), (48, 12))]
    ours = [torch.nn.Parameter(one.clone().contiguous(memory_format=torch.channels_last)) for one in kernels]
    theirs = [torch.nn.Parameter(one.flatten(1).clone()) for one in kernels]
    muon = Muon(ours, torch.tensor(0.02), 0.1)
    reference = torch.optim.Muon(theirs, 0.02, 0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for one, other in zip(ours, theirs):
            other.grad = torch.randn(other.shape)
            one.grad = other.grad[:, :, None, None].clone()
        muon.step()
        reference.step()
    for one, other, first in zip(ours, theirs, kernels):
        moved, wanted = one.flatten(1) - first.flatten(1), other - first.flatten(1)
        assert (moved - wanted).norm() < 0.02 * wanted.norm()


def test_a_kernel_without_a_gradient_stays() -> None:
    kernel = torch.nn.Parameter(torch.ones(4, 4, 1, 1))
    Muon([kernel], 0.1, 0.1).step()
    assert torch.equal(kernel, torch.ones(4, 4, 1, 1))


def test_every_weight_is_learned_once() -> None:
    network = build(variant("C5"))
    learner = Learner(Settings("C5", optimizer="muon", decay="weights"), network, Accelerator(cpu=True))
    adamw, muon = ([id(one) for group in each.param_groups for one in group["params"]] for each in learner.optimizers)
    assert sorted(adamw + muon) == sorted(map(id, network.parameters()))
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    matrices = {name for name, parameter in network.named_parameters() if is_pointwise(parameter)}
    assert {names[one] for one in muon} == matrices
    assert len(matrices) == 2 * sum(variant("C5").blocks)
    learner.rate = 0.25
    assert {float(group["lr"]) for each in learner.optimizers for group in each.param_groups} == {0.25}


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(noise_faces: Path, tmp_path: Path) -> None:
    def train(out: str, epochs: int) -> dict[str, Any]:
        given = ["--config", "C8", "--data", str(noise_faces), "--out", str(tmp_path / out), "--size", "32"]
        return command.main([*given, "--batch", "16", "--optimizer", "muon", "--ema", "0.9", "--epochs", str(epochs)])

    train("whole", 2)
    train("parts", 1)
    assert train("parts", 2)["epochs"] == 2
    whole, parts = (load_file(tmp_path / name / "state.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert sum(name.endswith(".momentum") for name in whole) == 2 * sum(variant("C8").blocks)
    for name in whole:
        assert name == "progress" or torch.equal(whole[name], parts[name]), name

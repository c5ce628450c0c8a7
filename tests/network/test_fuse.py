"""The deploy form is the trained network, for all eight."""

from __future__ import annotations

import pytest
import torch

from lc2fer.network.fuse import ResponseScale, deploy_form
from lc2fer.network.model import Network, build, normalize
from lc2fer.recipe import FORMS
from lc2fer.variants import VARIANTS


def shaken(name: str, seed: int = 0) -> Network:
    """A network whose LayerNorms, GRNs and biases do something."""
    torch.manual_seed(seed)
    network = build(VARIANTS[name]).eval()
    with torch.no_grad():
        for key, value in network.named_parameters():
            if "norm" in key or "grn" in key or "bias" in key:
                value.add_(0.5 * torch.randn_like(value))
    return network


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 3, 100, 100), generator=generator).float()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", VARIANTS)
def test_logits_are_those_of_the_trained_form(name: str, form: str, pixels: torch.Tensor) -> None:
    network = shaken(name)
    with torch.inference_mode():
        expected = network(normalize(pixels))
        found = deploy_form(network, form)(pixels)
        again = network(normalize(pixels))
    assert (found - expected).norm() / expected.norm() < 1e-4
    assert (found - expected).abs().max() / expected.abs().max() < 1e-4
    assert torch.equal(again, expected), "the trained network was changed"


def test_foldings_matter() -> None:
    """The comparison above would see a forgotten folding: each parameter that is folded away moves the logits."""
    network = shaken("C8")
    pixels = torch.full((1, 3, 100, 100), 90.0)
    with torch.inference_mode():
        before = deploy_form(network)(pixels)
        folded = [key for key, _ in network.named_parameters() if "norm" in key or "beta" in key]
        assert len(folded) == 2 + 3 * 3 + 2 * 2 + 2  # stem; norm and beta of three blocks; two downsamples; head
        for key in folded:
            parameter = network.get_parameter(key)
            kept = parameter.clone()
            parameter.mul_(1.5)
            assert (deploy_form(network)(pixels) - before).abs().max() > 1e-4, key
            parameter.copy_(kept)


def test_float16_keeps_its_islands() -> None:
    """GRN's sum of squares overflows float16 at RMS * sqrt(H*W) > 256; the island keeps it finite and right."""
    x = torch.full((1, 4, 50, 50), 8.0)  # 8 * 50 = 400 > 256
    scale = ResponseScale(torch.ones(4), torch.ones(4), fused_norm=False)
    assert torch.isinf((x.half() * x.half()).sum())
    assert torch.equal(scale(x.half()).float(), scale(x))


def test_float16_form_is_close(pixels: torch.Tensor) -> None:
    network = shaken("C8")
    with torch.inference_mode():
        expected = network(normalize(pixels))
        found = deploy_form(network, dtype=torch.float16)(pixels)
    assert found.dtype == torch.float32
    assert (found - expected).norm() / expected.norm() < 2e-2


def test_smoothing_moves_ranges_and_nothing_else(pixels: torch.Tensor) -> None:
    network = shaken("C8")
    generator = torch.Generator().manual_seed(2)
    factors = [torch.rand(4 * width, generator=generator) * 4 + 0.1 for width in network.variant.widths]
    plain, smoothed = deploy_form(network), deploy_form(network, smoothing=factors)
    with torch.inference_mode():
        expected, found = plain(pixels), smoothed(pixels)
        x = torch.rand(1, 160, 3, 3, generator=generator)
        before, after = plain.stages[0][1].grn(x), smoothed.stages[0][1].grn(x)  # type: ignore[index]
    assert (found - expected).norm() / expected.norm() < 1e-5
    assert torch.allclose(after * factors[0].view(1, -1, 1, 1), before, rtol=1e-5)

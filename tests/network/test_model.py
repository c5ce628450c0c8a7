"""The network: its size, its order, and equation (1) with its hand-written gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lc2fer.network.model import EPS, GRN, Depthwise, DropPath, LayerNorm, _Depthwise, build, normalize
from lc2fer.variants import VARIANTS, variant


@pytest.mark.parametrize("name", VARIANTS)
def test_parameter_count_is_the_tables(name: str) -> None:
    network = build(variant(name))
    assert sum(parameter.numel() for parameter in network.parameters()) == variant(name).parameter_count()


@pytest.mark.parametrize("name", ["C1", "C2", "C8"])
def test_maps_have_the_tables_sizes(name: str) -> None:
    network = build(variant(name)).eval()
    seen: list[int] = []
    for stage in network.stages:
        stage.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[-1]))
    with torch.inference_mode():
        logits = network(torch.zeros(1, 3, 100, 100))
    assert tuple(seen) == variant(name).feature_sizes()
    assert logits.shape == (1, 7)


@pytest.mark.parametrize("size", [14, 48, 101])
def test_other_sizes_and_batches(size: int) -> None:
    with torch.inference_mode():
        assert build(variant("C8"), num_classes=5).eval()(torch.zeros(2, 3, size, size)).shape == (2, 5)


def test_parameters_are_registered_in_forward_order() -> None:
    network = build(variant("C1")).eval()
    used: list[str] = []
    for name, module in network.named_modules():
        if not list(module.children()) and list(module.parameters()):
            module.register_forward_hook(lambda module, inputs, output, name=name: used.append(name))
    with torch.inference_mode():
        network(torch.zeros(1, 3, 100, 100))
    owners = list(dict.fromkeys(name.rpartition(".")[0] for name, _ in network.named_parameters()))
    assert used == owners


def grn_by_hand(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Equation (1), letter by letter, for one image [C,H,W]."""
    norms = np.array([np.sqrt((channel**2).sum()) for channel in x])
    result = np.empty_like(x)
    for place, channel in enumerate(x):
        result[place] = gamma[place] * (channel * norms[place] / (norms.mean() + EPS)) + beta[place] + channel
    return result


def test_grn_is_equation_1() -> None:
    rng = np.random.default_rng(0)
    x, gamma, beta = rng.normal(size=(2, 5, 4, 3)), rng.normal(size=5), rng.normal(size=5)
    grn = GRN(5).double()
    grn.load_state_dict({"gamma": torch.from_numpy(gamma), "beta": torch.from_numpy(beta)})
    expected = np.stack([grn_by_hand(image, gamma, beta) for image in x])
    np.testing.assert_allclose(grn(torch.from_numpy(x)).detach().numpy(), expected, rtol=0, atol=1e-12)


def test_fresh_grn_is_the_identity() -> None:
    x = torch.randn(2, 4, 3, 3)
    assert torch.equal(GRN(4)(x), x)


def test_gradient_of_grn_is_exact() -> None:
    torch.manual_seed(0)
    grn = GRN(4).double()
    x = torch.randn(2, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    gamma, beta = (torch.randn(4, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def function(x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(grn, {"gamma": gamma, "beta": beta}, (x,))

    assert torch.autograd.gradcheck(function, (x, gamma, beta), eps=1e-6, atol=1e-8)


def test_the_depthwise_gradient_is_right() -> None:
    rng = torch.Generator().manual_seed(0)
    shapes = ((2, 3, 4, 5), (3, 1, 7, 7), (3,))
    x, weight, bias = (torch.randn(shape, generator=rng, dtype=torch.float64, requires_grad=True) for shape in shapes)
    assert torch.autograd.gradcheck(_Depthwise.apply, (x, weight, bias), eps=1e-6, atol=1e-8)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_depthwise_convolution_learns_the_same_compiled(precision: str) -> None:
    torch.manual_seed(0)
    layer = Depthwise(4).train()
    learned = list(layer.parameters())
    x = torch.randn(2, 4, 9, 6, requires_grad=True)
    graphs: list[str] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(graph.code)
        return graph.forward

    found = []
    for function in (layer, torch.compile(layer, backend=backend)):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            output = function(x)
        loss = output.float().square().sum()
        found.append((output, *torch.autograd.grad(loss, [x, *learned])))
    (code,) = graphs
    assert "autograd_function_apply" in code
    for plain, compiled in zip(*found):
        assert plain.dtype == compiled.dtype
        tolerance = 2e-2 if precision == "bf16" else 1e-5
        torch.testing.assert_close(compiled, plain, rtol=tolerance, atol=tolerance * plain.abs().max().item())


def test_gradient_of_grn_is_finite_for_a_dead_channel() -> None:
    grn = GRN(3)
    nn.init.ones_(grn.gamma)
    x = torch.randn(1, 3, 2, 2)
    x[:, 1] = 0
    x.requires_grad_()
    grn(x).square().sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert torch.equal(x.grad[:, 1], torch.zeros(1, 2, 2))


def test_layer_norm_is_over_channels() -> None:
    torch.manual_seed(0)
    norm = LayerNorm(6)
    x = torch.randn(2, 6, 3, 3) * 5 + 2
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    torch.testing.assert_close(norm(x), (x - mean) / torch.sqrt(variance + EPS))


def test_drop_path_drops_whole_images_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25).train()
    out = drop(torch.ones(4000, 2, 3, 3))
    kept = out[:, 0, 0, 0] != 0
    assert torch.equal(out[kept], torch.full_like(out[kept], 4 / 3))
    assert torch.equal(out[~kept], torch.zeros_like(out[~kept]))
    assert out.mean().item() == pytest.approx(1, abs=0.03)  # 4 standard errors
    x = torch.randn(3, 2, 2, 2)
    assert drop.eval()(x) is x
    assert DropPath(0.0).train()(x) is x


def test_deeper_blocks_drop_more_often() -> None:
    rates = [module.rate for module in build(variant("C5"), drop_path=0.5).modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_pixels_are_normalised_to_plus_minus_2() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert normalize(pixels).tolist() == pytest.approx([-2.0, -1.2, 2.0])
    assert normalize(pixels).dtype == torch.float32


def test_initial_weights_follow_the_seed() -> None:
    torch.manual_seed(3)
    first = build(variant("C8"))
    torch.manual_seed(3)
    second = build(variant("C8"))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))
    weight = first.stages[1].blocks[0].expand.weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert first.stages[1].blocks[0].expand.bias.abs().max().item() == 0

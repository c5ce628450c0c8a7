"""Where a network looks: the maps of heat hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("captum")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from lc2fer import artifact as artifacts
from lc2fer import metrics
from lc2fer.data import synthetic
from lc2fer.data.face import regions
from lc2fer.explain import maps as explain_maps
from lc2fer.explain import model as explain_model
from lc2fer.network import checkpoint
from lc2fer.network.model import build, normalize
from lc2fer.variants import KERNEL, VARIANTS


def test_grad_cam_is_the_channels_weighted_by_their_mean_gradient() -> None:
    torch.manual_seed(0)
    network = build(VARIANTS["C8"]).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 40, 40, 3)).astype(np.uint8)
    labels = np.arange(9) % 7
    found = explain_model.grad_cam(network, pixels, labels)
    stage = network.stages(normalize(torch.from_numpy(pixels).permute(0, 3, 1, 2))).detach().requires_grad_()
    network.head(stage)[torch.arange(9), torch.from_numpy(labels)].sum().backward()
    assert stage.grad is not None
    wanted = (stage.grad.mean(dim=(2, 3), keepdim=True) * stage).sum(dim=1).clamp(min=0).detach().numpy()
    assert found.shape == wanted.shape == (9, 3, 3)
    assert found.max() > 0
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["C1", "C2", "C6"])
def test_cells_look_where_their_gradient_says(name: str) -> None:
    """Through the downsamples alone, with all weights equal, the gradient's middle is where the cell looks."""
    image = torch.zeros(1, 1, 100, 100, requires_grad=True)
    x = image
    for kernel, stride in VARIANTS[name].downsamples:
        x = torch.nn.functional.conv2d(x, torch.ones(1, 1, kernel, kernel), stride=stride)
    found = explain_model.centres(VARIANTS[name], 100)
    assert len(found) == x.shape[-1]
    for place in (0, len(found) - 1):
        (grad,) = torch.autograd.grad(x[0, 0, place, place], image, retain_graph=True)
        rows = grad[0, 0].sum(dim=1).numpy()
        assert found[place] == pytest.approx((rows * (np.arange(100) + 0.5)).sum() / rows.sum())


def test_a_cell_of_c6_depends_on_134_pixels() -> None:
    assert explain_model.centres(VARIANTS["C6"], 100).tolist() == [7, 19, 31, 43, 55, 67, 79, 91]
    assert explain_model.field(VARIANTS["C6"]) == 134
    image = torch.zeros(1, 1, 400, 400, requires_grad=True)
    x = image
    for (kernel, stride), blocks in zip(VARIANTS["C6"].downsamples, VARIANTS["C6"].blocks):
        x = torch.nn.functional.conv2d(x, torch.ones(1, 1, kernel, kernel), stride=stride)
        for _ in range(blocks):
            x = torch.nn.functional.conv2d(x, torch.ones(1, 1, KERNEL, KERNEL), padding=KERNEL // 2)
    (grad,) = torch.autograd.grad(x[0, 0, 15, 15], image)
    assert int((grad[0, 0].sum(dim=1) > 0).sum()) == 134


def test_a_grid_is_enlarged_between_its_centres() -> None:
    found = explain_maps.enlarge(np.array([[0.0, 4.0], [0.0, 4.0]]), np.array([1.5, 5.5]), 7)
    assert found[3].tolist() == [0, 0, 1, 2, 3, 4, 4]
    assert (found == found[0]).all()


def test_shares_of_heat_and_area() -> None:
    heat = np.zeros((10, 10))
    heat[2, 3], heat[8, 8] = 3, 1
    boxes = dict.fromkeys(("left_eye", "right_eye", "left_brow", "right_brow"), (0.0, 0.0, 1.0, 1.0))
    found = explain_maps.shares(heat, boxes | {"mouth": (2.5, 1.5, 6.5, 3.5)})
    assert found["mouth"] == (0.75, 0.08)
    assert found["eyes"] == (0.0, 0.01)
    assert found["together"] == (0.75, 0.09)


def test_covering_finds_what_a_model_looks_at() -> None:
    size = 50
    side, starts = explain_maps.patches(size)
    assert (side, starts[0], starts[-1] + side) == (8, 0, size)
    image = np.zeros((3, size, size), np.float32)
    image[:, 20:24, 30:34] = 200

    def brightest(batch: Any) -> Any:
        return np.stack([batch.max(axis=(1, 2, 3)), np.zeros(len(batch))], axis=1)

    drops = explain_maps.occlusion(brightest, image, 0)
    down, across = ([begin <= first and begin + side >= first + 4 for begin in starts] for first in (20, 30))
    hidden = np.outer(down, across)
    assert hidden.any()
    colour = float(image.mean())
    np.testing.assert_allclose(drops, np.where(hidden, 200 - colour, 0), rtol=1e-6)
    assert explain_maps.correlation(drops, 3 * drops + 1) == pytest.approx(1)
    assert explain_maps.correlation(drops, np.ones_like(drops)) is None


def test_c6_looks_at_mouth_eyes_and_brows() -> None:
    """Measured on 210 faces: 31.5 % of the heat on 13.8 % of the picture."""
    weights = artifacts.bundled("C6")
    assert weights is not None
    faces = [synthetic.sample(place % 7, np.random.default_rng((5, place))) for place in range(42)]
    pixels = np.stack([np.asarray(synthetic.draw(face)) for face in faces])
    network = checkpoint.load(weights)
    logits, _ = explain_model.outputs(network, pixels)
    cells = explain_model.centres(network.variant, 100)
    maps = explain_model.grad_cam(network, pixels, metrics.predictions(logits))
    heats = [explain_maps.enlarge(grid, cells, 100) for grid in maps]
    found = explain_maps.attention(heats, [regions(face) for face in faces])
    assert found["together"]["low"] > 1.5 * found["together"]["chance"]
    assert found["eyes"]["low"] > found["eyes"]["chance"]
    assert found["together"]["low"] < found["together"]["heat"] < found["together"]["high"]
    assert found["together"]["another_face"] == pytest.approx(found["together"]["heat"] - found["together"]["gain"])

"""Smoothing before quantisation: what it evens out, and that a fragile network is helped by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from lc2fer.export.int8 import smooth
from lc2fer.export.int8.calibration import CalibrationSet, Validation
from lc2fer.export.int8.smooth import smoothing as smoothed
from lc2fer.export.pipeline import Pipeline
from numpy.typing import NDArray

from lc2fer.data import open_dataset
from lc2fer.inputs import InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.fuse import DeployBlock, deploy_form
from lc2fer.network.model import Network
from lc2fer.recipe import LEAST_ERROR
from lc2fer.targets import TARGETS


@pytest.fixture(scope="module")
def images(faces: Path) -> CalibrationSet:
    return Validation(open_dataset(faces), InputSpec(size=32)).draw(40, 0)


@pytest.fixture
def network(weights: Path) -> Network:
    return checkpoint.load(weights)


def spread(network: Network, smoothing: list[torch.Tensor] | None, images: CalibrationSet) -> list[float]:
    """For each block the largest activation after GRN over the median of the channels' largest."""
    deployed = deploy_form(network, smoothing=smoothing)
    found: list[float] = []

    def look(module: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        largest = output.abs().amax(dim=(0, 2, 3))
        found.append(float(largest.max() / largest.median()))

    for module in deployed.modules():
        if isinstance(module, DeployBlock):
            module.grn.register_forward_hook(look)
    with torch.inference_mode():
        deployed(torch.from_numpy(images.batch(0, 40)))
    return found


def test_ranges_become_more_alike(network: Network, images: CalibrationSet) -> None:
    before = spread(network, None, images)
    after = spread(network, smoothed(network, images, 0.6).factors, images)
    assert all(now < was for now, was in zip(after, before))


def test_full_strength_makes_them_equal(network: Network, images: CalibrationSet) -> None:
    assert spread(network, smoothed(network, images, 1.0).factors, images) == pytest.approx([1, 1, 1], rel=1e-3)


def test_a_fragile_network_is_helped(network: Network, faces: Path, tmp_path: Path) -> None:
    """A few channels whose GRN is far louder than the others' ruin one scale for all."""
    from lc2fer.export import pipeline

    with torch.no_grad():
        for stage in network.stages:
            block = stage.blocks[0]
            block.grn.gamma[:3] = 60.0
            block.project.weight[:, :3] /= 60.0
    trained = checkpoint.save(network, tmp_path, "fragile", input_spec=InputSpec(size=32), training={}).path
    found: dict[float | str | None, float] = {}
    for strength in (None, 0.6, LEAST_ERROR):
        plan = replace(
            TARGETS["onnx-int8"], recipe=replace(TARGETS["onnx-int8"].recipe, smoothing=strength, behind_grn=None)
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipeline, "TARGETS", {**TARGETS, "onnx-int8": plan})
            out = tmp_path / str(strength)
            made = Pipeline("C8", out, weights=trained, data=faces, calibration_images=40).export("onnx-int8")
        assert made.proof is not None
        found[strength] = made.proof["sqnr_db"]
    assert found[0.6] > found[None] + 3
    assert found[LEAST_ERROR] > found[0.6] - 0.5


@torch.inference_mode()
def test_the_choice_loses_less_than_one_strength_for_all(network: Network, images: CalibrationSet) -> None:
    """On the images that it was made by; the one strength clips at the largest magnitude."""
    chosen = smoothed(network, images, LEAST_ERROR)
    assert set(chosen.strengths) <= set(smooth.STRENGTHS)
    assert list(chosen.clips) == [f"stages.{stage}.1.project" for stage in range(3)]
    for (_, block), seen, factor, clip in zip(
        smooth._blocks(deploy_form(network)), smooth._look(network, images), chosen.factors, chosen.clips.values()
    ):
        assert float(factor.mean()) == pytest.approx(1, rel=1e-5)
        rows = seen.pixels.flatten(0, 1)
        plain = smooth._factor(block, seen.largest.amax(dim=0), 0.6)
        top = float((seen.largest.amax(dim=0) / plain).max())
        (kept,), (alone,) = smooth._errors(block, rows, factor, [clip]), smooth._errors(block, rows, plain, [top])
        assert kept < alone


@torch.inference_mode()
def test_layers_without_one_range_need_no_clip(network: Network, images: CalibrationSet) -> None:
    rows = TARGETS["ort-int8-fused"].recipe.without_range(network.variant.blocks)
    assert rows == ("stages.2.1.project",)
    chosen, plain = (smoothed(network, images, LEAST_ERROR, one) for one in (rows, ()))
    assert list(chosen.clips) == list(plain.clips)[:2]
    assert chosen.strengths == (*plain.strengths[:2], 0.5)
    assert torch.equal(chosen.factors[0], plain.factors[0])
    assert not torch.equal(chosen.factors[2], plain.factors[2])


def test_it_does_not_depend_on_how_images_are_cut(
    network: Network, images: CalibrationSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = smoothed(network, images, LEAST_ERROR)
    monkeypatch.setattr(smooth, "_CHUNK", 7)
    parts = smoothed(network, images, LEAST_ERROR)
    assert parts.strengths == whole.strengths
    assert parts.clips == pytest.approx(whole.clips, rel=1e-4)


def layer_of(seed: int) -> tuple[DeployBlock, smooth._Seen]:
    """A layer of 12 channels, some of them loud, and what it reads of 9 images: now a few loud pixels, now many."""
    rng = np.random.default_rng(seed)
    loud = rng.lognormal(0, rng.uniform(0.2, 2), 12)
    read = rng.standard_t(rng.choice([1.5, 3, 30]), (9, 64, 12)) * loud + rng.uniform(0, 1, 12)
    project = torch.nn.Conv2d(12, 5, 1)
    with torch.no_grad():
        project.weight[:] = torch.from_numpy(rng.normal(0, 1, (5, 12, 1, 1)) / loud[:, None, None] ** rng.uniform(0, 1))
    largest, pixels = np.abs(read).max(axis=1), read[:, :8]
    seen = smooth._Seen(torch.from_numpy(largest).float(), torch.from_numpy(pixels).float())
    return cast(DeployBlock, SimpleNamespace(project=project)), seen


def factor_of(weight: NDArray[np.float64], largest: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    """Equation 4 of SmoothQuant, with mean 1."""
    found = largest**strength / np.abs(weight).max(axis=0) ** (1 - strength)
    return np.asarray(found / found.mean())


def error_of(weight: NDArray[np.float64], rows: NDArray[np.float64], factor: NDArray[np.float64], clip: float) -> float:
    """What rounding to s8 does to the layer's outputs, beside their means, row by row and weight by weight."""
    steps = np.abs(weight * factor).max(axis=1) / 127
    rounded = np.array([[round(w * f / step) * step for w, f in zip(row, factor)] for row, step in zip(weight, steps)])
    scale = clip / 127
    errors = []
    for row in rows:
        read = [min(max(round(value / f / scale), -128), 127) * scale for value, f in zip(row, factor)]
        errors.append([np.dot(read, w) - np.dot(row, exact) for w, exact in zip(rounded, weight)])
    return float(np.var(errors, axis=0).sum())


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 7, 9, 10, 19, 20, 28, 34, 46])  # every strength and share is chosen once
@torch.inference_mode()
def test_the_choice_is_the_least_error_of_a_plain_loop(seed: int) -> None:
    """Each half of the images judges what the other half's ranges do."""
    block, seen = layer_of(seed)
    weight = block.project.weight.double().numpy()[:, :, 0, 0]
    largest, pixels = (tensor.double().numpy() for tensor in (seen.largest, seen.pixels))
    halves = [(range(0, 9, 2), range(1, 9, 2)), (range(1, 9, 2), range(0, 9, 2))]
    errors = {}
    for strength in (0.6, 0.7, 0.8, 0.9, 1.0):
        for share in (0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3):
            errors[strength, share] = 0.0
            for ranges, judges in halves:
                factor = factor_of(weight, largest[ranges].max(axis=0), strength)
                clip = share * (largest[ranges].max(axis=0) / factor).max()
                errors[strength, share] += error_of(weight, pixels[judges].reshape(-1, 12), factor, clip)
    best, share = min(errors, key=lambda one: errors[one])
    every = largest.max(axis=0)
    factor = factor_of(weight, every, best)
    rows, clips = pixels.reshape(-1, 12), [every.max() / 3, every.max()]
    found = smooth._errors(block, torch.from_numpy(rows).float(), torch.from_numpy(factor).float(), clips)
    assert found == pytest.approx([error_of(weight, rows, factor, clip) for clip in clips], rel=1e-3)
    strength, clip = smooth._choose(block, seen)
    assert strength == best
    assert clip == pytest.approx(share * (every / factor).max(), rel=1e-5)

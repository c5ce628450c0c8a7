"""Smoothing before quantisation: what it evens out, and that a fragile network is helped by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lc2fer.export.int8 import smooth
from lc2fer.export.int8.calibration import CalibrationSet, Validation
from lc2fer.export.int8.smooth import smoothing as smoothed
from lc2fer.export.pipeline import Pipeline

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
    assert chosen.strengths == (*plain.strengths[:2], smooth.FREE_STRENGTH)
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

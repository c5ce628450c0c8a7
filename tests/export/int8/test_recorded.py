"""Ranges that travel with the weights: the same INT8 without a picture at hand, and said so."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lc2fer.export import pipeline as pipelines
from lc2fer.export.formats import qdq
from lc2fer.export.int8.calibration import CalibrationSet
from lc2fer.export.int8.recorded import FORMS, KEY, Ranges
from lc2fer.export.pipeline import Pipeline

from lc2fer import artifact as artifacts
from lc2fer.errors import ArtifactError
from lc2fer.network import checkpoint
from lc2fer.recipe import FOLDED, STAGES, Calibration
from lc2fer.targets import TARGETS

RECIPE = TARGETS["onnx-int8"].recipe
assert RECIPE is not None


@pytest.fixture(scope="module")
def known(pipeline: Pipeline, checkout: Path) -> dict[str, Any]:
    """What tools/record_ranges.py writes of 40 images, said to be of as many as the recipe asks for."""
    sys.path.insert(0, str(checkout / "tools"))
    try:
        import record_ranges
    finally:
        sys.path.pop(0)
    patch = pytest.MonkeyPatch()
    patch.setattr(record_ranges, "Pipeline", lambda *_, **__: pipeline)
    assert pipeline.weights is not None
    found = record_ranges.record(pipeline.weights, "").to_manifest()
    patch.undo()
    found["about"]["images"] = Calibration().count
    return json.loads(json.dumps(found))


@pytest.mark.parametrize(
    ("form", "behind_grn"), [*((form, None) for form in FORMS), *((FOLDED, one) for one in STAGES)]
)
def test_the_same_int8_comes_of_figures_as_of_images(
    pipeline: Pipeline, known: dict[str, Any], tmp_path: Path, form: str, behind_grn: str | None
) -> None:
    recipe = replace(RECIPE, form=form, behind_grn=behind_grn)
    ranges = Ranges.of({KEY: known})
    images = pipeline.validation.draw(40, 0)
    assert ranges is not None
    rows = recipe.without_range(pipeline.variant.blocks)
    _, one = qdq.quantized(pipeline.checkpoint, recipe, images, tmp_path / "one.onnx", rows)
    _, other = qdq.quantized(pipeline.checkpoint, recipe, ranges, tmp_path / "other.onnx", rows)
    assert one.keys() == other.keys()
    for layer, numbers in one.items():
        again = other[layer]
        assert again.scale == pytest.approx(numbers.scale, rel=2e-3), layer  # a float16 number each
        assert np.abs(again.weight.astype(int) - numbers.weight).max() <= 1
        assert (again.weight == numbers.weight).mean() > 0.99
        spread = np.abs(numbers.bias).max()
        np.testing.assert_allclose(again.bias, numbers.bias, atol=1e-3 * spread, err_msg=layer)


def test_ranges_that_are_recorded_after_an_export_are_taken(
    known: dict[str, Any], weights: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.safetensors"
    for suffix in (".safetensors", ".json"):
        shutil.copy(weights.with_suffix(suffix), mine.with_suffix(suffix))
    Pipeline("C8", tmp_path / "out", weights=mine).export("torch")
    manifest = json.loads(mine.with_suffix(".json").read_text())
    manifest["training"] = {**(manifest["training"] or {}), KEY: known}
    mine.with_suffix(".json").write_text(json.dumps(manifest))
    wanted = Pipeline("C8", tmp_path / "out", weights=mine).wanted("onnx-int8")
    assert wanted.calibration is not None
    assert wanted.calibration["recorded"] == "with the weights"


def test_they_fit_their_own_recipe_alone(known: dict[str, Any]) -> None:
    ranges = Ranges.of({KEY: known})
    assert ranges is not None
    assert ranges.fits(RECIPE)
    assert RECIPE.calibration is not None
    for other in (
        replace(RECIPE, smoothing=0.5),
        replace(RECIPE, bias_correction=False),
        replace(RECIPE, calibration=replace(RECIPE.calibration, method="max")),
        replace(RECIPE, calibration=replace(RECIPE.calibration, count=40)),
    ):
        assert not ranges.fits(other)
    fused = TARGETS["ort-int8-fused"].recipe
    assert fused is not None
    assert ranges.fits(fused)
    assert not replace(ranges, row_errors={}).fits(fused)  # as earlier versions recorded them
    assert Ranges.of(None) is None


def test_an_export_without_faces_takes_them_and_says_so(
    known: dict[str, Any], faces: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = checkpoint.load(weights)
    spec = artifacts.load(weights).input_spec
    made = checkpoint.save(network, tmp_path / "w", "C8", input_spec=spec, training={KEY: known})
    monkeypatch.setattr(pipelines, "SYNTHETIC", str(faces))  # small ones in place of drawn ones
    said: list[str] = []
    exported = Pipeline("C8", tmp_path / "out", weights=made.path, data=faces, say=said.append).export("onnx-int8")
    assert exported.calibration == {**known["about"], "recorded": "with the weights", "proof": known["proof"]}
    assert said[-1].endswith(
        f" drawn faces. Its ranges are of photographs: {known['proof']['sqnr_db']:.1f} dB and "
        f"{known['proof']['agreement']:.1%} on {known['proof']['images']:.0f} of them, as onnx-int8"
    )
    assert (
        "C8: INT8 takes the ranges that came with the weights, of 300 faces of their own D^v. Pass --data, or "
        "--calibration-images, for others."
    ) in said
    asked = Pipeline("C8", tmp_path / "asked", weights=made.path, data=faces, calibration_images=40)
    assert isinstance(asked.calibration(replace(RECIPE, calibration=Calibration("mse", 40))), CalibrationSet)
    monkeypatch.setattr(pipelines, "SYNTHETIC", "synthetic")
    given = Pipeline("C8", tmp_path / "given", weights=made.path, data=faces)
    small = replace(RECIPE, calibration=Calibration("mse", 40))
    assert isinstance(given.calibration(small), CalibrationSet)


@pytest.mark.parametrize(
    "damage",
    [
        {"clips": None},
        {"largest": [["x"]]},
        {"errors": {form: {"head": [float("nan")]} for form in FORMS}},
        {"about": {"images": float("inf"), "seed": 0}},
    ],
)
def test_damaged_figures_are_refused(known: dict[str, Any], damage: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError) as refused:
        Ranges.of({KEY: known | damage})
    assert str(refused.value).startswith("The ranges that came with the weights are damaged (")
    assert str(refused.value).endswith(
        "). Figures that lc2fer wrote were expected. Copy the manifest again, or take new ones: pass --data with faces."
    )

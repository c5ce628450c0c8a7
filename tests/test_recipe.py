"""Recipes: those that cannot work are refused when they are written down."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lc2fer.errors import ArtifactError, UsageError
from lc2fer.recipe import Calibration, Recipe


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"precision": "bf16"},
            "There is no precision 'bf16'. Expected one of fp32, fp16, int8. Choose one.",
        ),
        (
            {"precision": "int8"},
            "A recipe of precision int8 lacks a calibration. int8 needs one and nothing else may have one. "
            "Correct the recipe.",
        ),
        (
            {"precision": "fp16", "calibration": Calibration()},
            "A recipe of precision fp16 has a calibration. int8 needs one and nothing else may have one. "
            "Correct the recipe.",
        ),
        (
            {"precision": "fp32", "opset": 21},
            "Opset 21 was asked for. Expected 17 (LayerNormalization is one node) to 20 (the newest that TensorRT "
            "10.3 reads). Choose one of these.",
        ),
        (
            {"precision": "fp32", "opset": 16},
            "Opset 16 was asked for. Expected 17 (LayerNormalization is one node) to 20 (the newest that TensorRT "
            "10.3 reads). Choose one of these.",
        ),
        (
            {"precision": "fp32", "batch": 0},
            "A batch of 0 was asked for. Sessions run a batch of 1. Correct the recipe.",
        ),
    ],
)
def test_a_bad_recipe_is_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as refused:
        Recipe(**fields)
    assert str(refused.value) == text


def test_a_bad_calibration_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        Calibration("average")
    assert str(refused.value) == ("There is no calibration method 'average'. Expected one of max, nncf. Choose one.")
    with pytest.raises(UsageError) as refused:
        Calibration(count=31)
    assert str(refused.value) == (
        "31 calibration images were asked for. At least 32 are needed for ranges that hold. Raise --calibration-images."
    )


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("fp32"),
        Recipe("fp16", opset=20, form="reduce"),
        Recipe("int8", calibration=Calibration("nncf", 32, 5), smoothing=0.5),
    ],
)
def test_the_manifests_form_is_reversible(recipe: Recipe) -> None:
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"precision": "int4"}, "There is no precision 'int4'."),
        ({"speed": "high"}, "unexpected keyword argument 'speed'"),
        ({"smoothing": 0.5}, "Smoothing of 0.5 was asked for with fp32."),
        ({"calibration": {"count": 1}}, "1 calibration images were asked for."),
        ({"opset": "18"}, "'<=' not supported"),
    ],
)
def test_a_damaged_recipe_is_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ArtifactError) as refused:
        Recipe.from_json({**Recipe("fp32").to_json(), **change})
    assert str(refused.value).startswith("The manifest's recipe is damaged (")
    assert text in str(refused.value)
    assert str(refused.value).endswith("Expected the fields of Recipe. Export the artifact again.")

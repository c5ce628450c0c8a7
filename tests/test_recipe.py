"""Recipes: those that cannot work are refused when they are written down."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from lc2fer.errors import ArtifactError, UsageError
from lc2fer.recipe import Calibration, Recipe
from lc2fer.targets import TARGETS


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
            {"precision": "int8", "calibration": Calibration(), "form": "fused"},
            "The form fused was asked for in int8, keeping nothing. It keeps the depthwise convolutions, no more and "
            "no less. Choose the form folded.",
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
            "A batch of 0 was asked for. Files take any batch, or 1 alone. Correct the recipe.",
        ),
        (
            {"precision": "fp16", "rest": "fp16"},
            "A rest of 'fp16' was asked for with fp16. Expected one of fp32, fp16, and fp32 for anything but int8. "
            "Correct the recipe.",
        ),
        (
            {"precision": "int8", "rest": "bf16", "calibration": Calibration()},
            "A rest of 'bf16' was asked for with int8. Expected one of fp32, fp16, and fp32 for anything but int8. "
            "Correct the recipe.",
        ),
        (
            {"precision": "int8", "rest": "fp16", "calibration": Calibration()},
            "Opset 18 was asked for with an int8 graph whose rest is fp16. Its scales are float16, which opset 19 is "
            "the first to allow. Choose opset 19 or 20.",
        ),
        (
            {"precision": "fp32", "kept": ("stages.0.0.conv",)},
            "A recipe of precision fp32 keeps layers. Only int8 has what that is for. Correct the recipe.",
        ),
        (
            {"precision": "fp16", "bias_correction": True},
            "A recipe of precision fp16 corrects biases. Only int8 has what that is for. Correct the recipe.",
        ),
        (
            {"precision": "int8", "kept": ("a", "b", "a"), "calibration": Calibration()},
            "The layers to keep are a, b, a. Each was expected once. Correct the recipe.",
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
    assert str(refused.value) == (
        "There is no calibration method 'average'. Expected one of max, percentile, entropy, mse. Choose one."
    )
    for fields in (
        {"method": "percentile"},
        {"method": "mse", "percentile": 99.9},
        {"method": "percentile", "percentile": 9.9},
    ):
        with pytest.raises(UsageError) as refused:
            Calibration(**fields)
        assert str(refused.value) == (
            f"Calibration by {fields['method']} was given the percentile {fields.get('percentile')}. Expected 50 to "
            "100 for the method percentile and none for any other. Correct the recipe."
        )
    with pytest.raises(UsageError) as refused:
        Calibration(count=31)
    assert str(refused.value) == (
        "31 calibration images were asked for. At least 32 are needed for ranges that hold. Raise --calibration-images."
    )


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("fp32"),
        Recipe("fp16", opset=20, form="folded"),
        Recipe("int8", calibration=Calibration("entropy", 32, 5), smoothing=0.5),
        Recipe("int8", calibration=Calibration("percentile", percentile=99.9), kept=("stages.2.1.project",)),
        Recipe("int8", calibration=Calibration("mse"), rest="fp16", opset=19, bias_correction=True),
        Recipe("int8", calibration=Calibration("mse"), form="folded", behind_grn="all"),
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
        ({"behind_grn": "all"}, "No one range behind GRN in 'all' was asked for with fp32."),
    ],
)
def test_a_damaged_recipe_is_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ArtifactError) as refused:
        Recipe.from_json({**Recipe("fp32").to_json(), **change})
    assert str(refused.value).startswith("The manifest's recipe is damaged (")
    assert text in str(refused.value)
    assert str(refused.value).endswith("Expected the fields of Recipe. Export the artifact again.")


def test_layers_without_one_range_follow_from_the_blocks() -> None:
    recipe = TARGETS["ort-int8-fused"].recipe
    assert recipe is not None
    assert recipe.without_range((2, 2, 2)) == ("stages.2.1.project", "stages.2.2.project")
    assert replace(recipe, behind_grn="all").without_range((1, 1)) == ("stages.0.1.project", "stages.1.1.project")
    assert replace(recipe, behind_grn=None).without_range((1, 1)) == ()

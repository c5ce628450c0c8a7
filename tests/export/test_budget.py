"""INT8 has to earn its place: a fragile network is rescued layer by layer, or INT8 is refused with both figures."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lc2fer.export import budget, pipeline
from lc2fer.export.pipeline import Pipeline
from lc2fer.export.sensitivity import Simulation

from lc2fer import artifact as artifacts
from lc2fer import cli
from lc2fer.artifact import Artifact
from lc2fer.errors import TargetUnavailable, UsageError
from lc2fer.network import checkpoint
from lc2fer.network.model import Block, Stage
from lc2fer.recipe import Budget, Recipe
from lc2fer.targets import BUDGETED, TARGETS

LOUD, LOUD_CHANNELS = 100.0, 4
IMAGES = 100
INT8 = ", ".join(BUDGETED)


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled C8, as accurate as ever in float, with a few channels after each GRN far louder than the others."""
    trained = artifacts.bundled("C8")
    assert trained is not None
    network = checkpoint.load(trained)
    with torch.no_grad():
        for stage in network.stages:
            assert isinstance(stage, Stage)
            block = stage.blocks[0]
            assert isinstance(block, Block)
            loudest = block.grn.gamma.abs().topk(LOUD_CHANNELS).indices
            block.grn.gamma[loudest] *= LOUD
            block.grn.beta[loudest] *= LOUD
            block.project.weight[:, loudest] /= LOUD
    spec = artifacts.load(trained).input_spec
    return checkpoint.save(network, tmp_path_factory.mktemp("fragile"), "C8", input_spec=spec, training={}).path


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """INT8 as it usually comes: the largest magnitudes, nothing smoothed, no bias corrected; and fewer images."""
    recipe = replace(TARGETS["onnx-int8"].recipe, smoothing=None, behind_grn=None, bias_correction=False)
    assert recipe.calibration is not None
    recipe = replace(recipe, calibration=replace(recipe.calibration, method="max"))
    plan = replace(TARGETS["onnx-int8"], recipe=recipe)
    monkeypatch.setattr(pipeline, "TARGETS", {**TARGETS, "onnx-int8": plan})
    monkeypatch.setattr(budget, "IMAGES", IMAGES)
    monkeypatch.setattr(budget, "RANKING_IMAGES", 12)
    return recipe


@pytest.mark.every
def test_a_fragile_network_is_rescued_or_refused(
    fragile: Path, stock: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    source = Pipeline("C8", tmp_path, weights=fragile, calibration_images=32, say=said.append)
    images = source.validation.policy(IMAGES)
    calibration = source.calibration(replace(stock, calibration=replace(stock.calibration, count=32)))  # type: ignore[type-var]
    assert calibration is not None
    simulation = Simulation(source.checkpoint, stock, calibration, images)
    assert budget._drop(images, simulation.reference, simulation.logits(())) >= 0.03

    made = budget.deliver(source, "onnx-int8", Budget(0.01, min_speedup=0.01))
    assert (made.target, made.path.name) == ("onnx-int8", "C8-onnx-int8.onnx")
    assert made.recipe is not None
    assert made.budget is not None
    assert 1 <= len(made.recipe.kept) <= 4
    assert set(made.recipe.kept) & {f"stages.{stage}.1.project" for stage in range(3)}
    assert made.budget["verdict"] == "kept"
    assert made.budget["reason"] is None
    assert made.budget["drop"] <= 0.01
    assert made.budget["kept"] == list(made.recipe.kept)
    assert made.budget["images"] == IMAGES
    assert made.budget["rival"] in ("onnx-fp32", "onnx-fp16", "ort-fp32")
    assert made.budget["speedup"] > 0.01
    assert artifacts.load(made.path) == made
    assert re.fullmatch(
        r"C8-onnx-int8.onnx: (loses|gains) \d\.\d\d points on 100 validation images, \d+\.\d\d times as fast as "
        r"C8-(?:onnx|ort)-fp(?:32|16), stages\.\d\.1\.project.* kept in float",
        said[-1],
    )

    # The same artifact where more is asked of it than it can be: it is refused, and what was there stays.
    trial = budget._Trial(made, made.budget["drop"], made.recipe.kept)
    monkeypatch.setattr(budget, "_within", lambda *arguments: trial)
    refused = budget.deliver(source, "onnx-int8", Budget(0.02, min_speedup=1000))
    assert refused.target in ("onnx-fp32", "onnx-fp16", "ort-fp32")
    assert refused.budget is not None
    assert refused.budget["verdict"] == "refused"
    assert refused.budget["speedup"] < 1000
    assert artifacts.load(refused.path) == refused
    assert artifacts.load(made.path) == made
    assert said[-1] == refused.budget["reason"]
    assert re.fullmatch(
        r"C8-onnx-int8 was refused: it is \d+\.\d\d times as fast as C8-(?:onnx|ort)-fp(?:32|16) "
        r"\(\d+\.\d\d against \d+\.\d\d ms\) and (loses|gains) \d+\.\d\d points on 100 validation images "
        r"\(at most 2\.00 may be lost\), stages\.\d\.1\.project.* kept in float\. "
        r"At least 1000\.00 times was expected\. C8-(?:onnx|ort)-fp(?:32|16) is delivered instead; "
        r"lower --min-speedup, or measure on another machine\.",
        said[-1],
    )


def test_a_network_that_nothing_rescues_is_refused(
    small_exports: Any,
    faces: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def hopeless(*arguments: Any) -> budget._Trial:
        return budget._Trial(None, 0.05, ("stages.0.0.conv", "stages.1.0.conv"))

    small_exports.into(tmp_path, "onnx-fp32", "onnx-fp16", "ort-fp32")
    monkeypatch.setattr(budget, "_within", hopeless)
    monkeypatch.setattr(budget, "_ROUNDS", 2)
    arguments = ["--config", "C8", "--target", "onnx-int8", "--weights", str(weights), "--data", str(faces)]
    assert cli.run("export", [*arguments, "--out", str(tmp_path), "--max-drop", "0.3"]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    rival = document["target"]
    assert rival in ("onnx-fp32", "onnx-fp16", "ort-fp32")
    assert document["budget"]["speedup"] is None
    assert document["budget"]["reason"] == (
        "C8-onnx-int8 was refused: with stages.0.0.conv, stages.1.0.conv kept in float it still loses 5.00 points on "
        "84 validation images (at most 0.30 may be lost). An INT8 artifact within the budget was expected. "
        f"C8-{rival} is delivered instead; raise --max-drop, or train the network for INT8."
    )
    assert not (tmp_path / "C8-onnx-int8.onnx").exists()


def test_openvino_int8_within_its_budget(pipeline: Pipeline, exported: Callable[[str], Artifact]) -> None:
    made = budget.deliver(pipeline, "openvino-int8", Budget(0.9, min_speedup=0.001))
    assert made.target == "openvino-int8"
    assert made.budget is not None
    assert made.budget["rival"] in ("openvino-fp32", "openvino-fp16")
    assert exported("openvino-int8") == made  # nothing was kept: it is what is exported without a budget


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (
            ["--target", "onnx-fp32", "--max-drop", "0.3"],
            f"UsageError: A budget was given for onnx-fp32. Expected one of {INT8}: "
            "only INT8 has to earn its place. Leave --max-drop and --min-speedup out, or export one of these.",
        ),
        (
            ["--target", "onnx-int8", "--min-speedup", "1.2"],
            "UsageError: --min-speedup 1.2 was given without --max-drop. Expected both, or --max-drop alone. "
            "Add --max-drop, for example 0.3.",
        ),
        (
            ["--target", "onnx-int8", "--max-drop", "-1"],
            "UsageError: A budget of -1 percentage points and a speedup of 1.05 were asked for. Expected 0 to 100 "
            "points and a speedup above 0. Correct --max-drop or --min-speedup.",
        ),
        (
            ["--target", "onnx-int8", "--sensitivity-images", "50"],
            "UsageError: --sensitivity-images 50 was given without --sensitivity. Expected 1 or more, with it. "
            "Correct or leave out --sensitivity-images.",
        ),
    ],
)
def test_flags_that_do_not_go_together(flags: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run("export", ["--config", "C8", *flags]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == text


def test_a_budget_is_a_usage_error_where_it_cannot_be() -> None:
    with pytest.raises(UsageError, match=r"a speedup of 0 were asked for"):
        Budget(0.003, min_speedup=0)


def test_a_rival_that_cannot_be_opened_leaves_no_other_open(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    def opened(artifact: str) -> object:
        if artifact == "bad":
            raise TargetUnavailable("Not here. It was expected. Go there.")
        return closing(SimpleNamespace(close=lambda: closed.append(artifact)))

    monkeypatch.setattr(budget, "open_session", opened)
    with pytest.raises(TargetUnavailable):
        budget.interleaved_ms(["good", "bad"], [])  # type: ignore[arg-type, list-item]
    assert closed == ["good"]

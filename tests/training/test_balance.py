"""The setting in which rare classes count more: what is chosen on D^v, written down, and exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lc2fer.export.pipeline import Pipeline

from lc2fer import artifact as artifacts
from lc2fer.errors import UsageError
from lc2fer.inputs import InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build
from lc2fer.training import command
from lc2fer.training.balance import MOST_LOST, balanced
from lc2fer.variants import variant


def test_rare_classes_are_found_more_often_and_little_is_lost() -> None:
    """Two classes, one in ten: the network knows the frequency and too little else."""
    rng = np.random.default_rng(0)
    labels = (rng.random(4000) < 0.1).astype(np.int64)
    evidence = 1.5 * (labels - 0.5) + rng.normal(0, 1, 4000)
    logits = np.stack([np.full(4000, np.log(0.9)), np.log(0.1) + 1.5 * evidence], axis=1).astype(np.float32)
    found = balanced(logits, labels, np.array([9000, 1000]))
    plain = logits.argmax(axis=1)
    answers = (logits + np.array(found["offsets"])).argmax(axis=1)
    recall = [[(each[labels == one] == one).mean() for one in (0, 1)] for each in (plain, answers)]
    assert found["validation_mean_recall"] == pytest.approx(np.mean(recall[1]), abs=1e-6)
    assert found["validation_accuracy"] == pytest.approx((answers == labels).mean(), abs=1e-6)
    assert np.mean(recall[1]) > np.mean(recall[0]) + 0.05
    assert found["validation_accuracy"] >= (plain == labels).mean() - MOST_LOST
    assert found["offsets"][1] == -found["offsets"][0] > 0


def test_where_nothing_is_gained_nothing_is_added() -> None:
    labels = np.arange(70) % 7
    found = balanced(10 * np.eye(7, dtype=np.float32)[labels], labels, np.arange(1, 8))
    assert (found["strength"], found["offsets"]) == (0.0, [0.0] * 7)


def test_a_run_writes_the_setting_and_export_folds_it_into_the_head(noise_faces: Path, tmp_path: Path) -> None:
    given = ["--config", "C8", "--data", str(noise_faces), "--out", str(tmp_path / "run"), "--size", "32"]
    command.main([*given, "--epochs", "1", "--batch", "16"])
    path = tmp_path / "run" / "C8.safetensors"
    training = artifacts.load(path).training
    assert training is not None
    offsets = [0.5, 0, 0, 0, 0, 0, -0.25]
    assert len(training["balanced"]["offsets"]) == 7
    manifest = json.loads(path.with_suffix(".json").read_text())
    manifest["training"]["balanced"]["offsets"] = offsets  # all classes are alike here: nothing was added
    path.with_suffix(".json").write_text(json.dumps(manifest))
    said: list[str] = []

    def export() -> Any:
        return Pipeline("C8", tmp_path / "out", weights=path, data=noise_faces, setting="balanced", say=said.append)

    made = export().export("onnx-fp32")
    adjusted = artifacts.load(tmp_path / "out" / "C8-torch.safetensors")
    assert made.parent_sha256 == adjusted.sha256
    assert adjusted.training is not None
    assert (adjusted.training["setting"], adjusted.training["setting_of"]) == ("balanced", artifacts.hash_file(path))
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        apart = checkpoint.load(adjusted.path)(images) - checkpoint.load(path)(images)
    torch.testing.assert_close(apart, torch.tensor(offsets).expand(2, 7), atol=1e-5, rtol=0)
    export().export("onnx-fp32")
    assert said[-1] == "C8-onnx-fp32.onnx: reused, its parent, recipe and tools are the same"


def test_weights_without_the_setting_are_refused(tmp_path: Path, write_faces: Callable[..., Path]) -> None:
    made = checkpoint.save(build(variant("C8")), tmp_path, "C8", input_spec=InputSpec(size=32), training={})
    with pytest.raises(UsageError) as refused:
        Pipeline("C8", tmp_path / "out", weights=made.path, setting="balanced").export("onnx-fp32")
    assert str(refused.value) == (
        f"{made.path} has no setting 'balanced' in its manifest. Weights that lc2fer-train wrote have one. Train them "
        "again, or leave --setting out."
    )

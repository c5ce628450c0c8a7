"""Most of D^v trained on too, once everything is chosen."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from lc2fer.export.pipeline import Pipeline

from lc2fer import artifact as artifacts
from lc2fer.data import open_dataset
from lc2fer.data.split import divide
from lc2fer.errors import UsageError
from lc2fer.training import command as train_command


def test_weights_trained_on_most_of_d_v_are_calibrated_on_the_rest(
    tmp_path: Path, noise_faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def tiny(*more: str, out: str = "run") -> None:
        """C8 on 32x32 pictures for 3 epochs of 7 steps, unless told otherwise."""
        given = ["--config", "C8", "--data", str(noise_faces), "--out", str(tmp_path / out), "--size", "32"]
        train_command.main([*given, "--epochs", "3", "--batch", "16", "--lr", "0.004", *more])

    tiny("--validation-images", "14", "--keep", "last", "--patience", "1")
    kept = divide(open_dataset(noise_faces), keep=14)
    assert f"C8: {len(kept.fit)} images to train on, 14 to validate" in capsys.readouterr().err
    written = json.loads((tmp_path / "run" / "split.json").read_text())["noise"]
    assert written["validation"] == list(kept.validation_sha256)
    weights = artifacts.load(tmp_path / "run" / "C8.safetensors")
    assert (weights.training or {})["epoch"] == 3
    with (tmp_path / "run" / "log.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]  # the last is never stale
    pipeline = Pipeline("C8", tmp_path / "made", weights=weights.path, data=noise_faces)
    assert set(pipeline.validation.draw(14, 0).sha256) == set(kept.validation_sha256)
    told = f"{weights.path} was trained on its D^v too, but for 14 images. If these are the same data, pass "
    for number in ("0", "14"):
        tiny("--epochs", "1", "--init", str(weights.path), "--validation-images", number, out=f"from {number}")
        assert (told in capsys.readouterr().err) == (number == "0")
    with pytest.raises(UsageError, match=r"holds a run with validation_images 14\. This one has 0\."):
        tiny()

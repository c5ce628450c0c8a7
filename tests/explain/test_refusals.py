"""What no report can be made of is refused with its reason, and nothing half is left."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("captum")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from lc2fer import artifact as artifacts
from lc2fer.errors import ArtifactError, DataError, Lc2ferError, UsageError
from lc2fer.explain import command as explain
from lc2fer.inputs import InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build
from lc2fer.variants import VARIANTS


def refused(kind: type[Lc2ferError], *arguments: object) -> str:
    with pytest.raises(kind) as error:
        explain.main([str(argument) for argument in arguments])
    return str(error.value)


def test_too_small_a_limit() -> None:
    assert refused(UsageError, "--config", "C8", "--limit", 5) == (
        "--limit 5 was given. t-SNE and the 10 nearest neighbours need 20 images a split or more. Raise --limit, or "
        "leave it out."
    )


def test_too_few_images(write_faces: Callable[..., Path], small_weights: Path, tmp_path: Path) -> None:
    faces = write_faces(tmp_path / "faces", train=20, test=2)
    text = refused(DataError, "--config", "C8", "--weights", small_weights, "--data", faces, "--out", tmp_path / "out")
    assert text == (
        f"D^e of {faces} has 14 images. t-SNE and the 10 nearest neighbours need 20 or more. Add images, or pass a "
        "larger data set as --data."
    )
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    assert refused(UsageError, "--config", "C1") == (
        "C1 has no bundled weights. Weights to explain were expected. Pass --weights, or train them with lc2fer-train."
    )
    missing = tmp_path / "C8.safetensors"
    assert refused(ArtifactError, "--config", "C8", "--weights", missing) == (
        f"{missing} is missing. Expected weights as safetensors. Train them with lc2fer-train, or correct the path."
    )


def test_weights_of_other_classes_and_weights_that_are_not_numbers(tmp_path: Path) -> None:
    five = checkpoint.save(build(VARIANTS["C8"], 5), tmp_path, "five", input_spec=InputSpec(), training={}).path
    assert refused(ArtifactError, "--config", "C8", "--weights", five) == (
        f"{five} tells 5 classes apart. The 7 expressions surprise, fear, disgust, happiness, sadness, anger, neutral "
        "were expected. Pass weights that were trained on them."
    )
    network = build(VARIANTS["C8"])
    with torch.no_grad():
        network.head.linear.bias[2] = float("nan")
    bad = checkpoint.save(network, tmp_path, "bad", input_spec=InputSpec(), training={}).path
    assert refused(ArtifactError, "--config", "C8", "--weights", bad) == (
        f"{bad} holds NaN or infinity in head.linear.bias. Finite weights were expected. Train it again."
    )


def test_a_model_of_other_weights(small_weights: Path, other_model: Callable[..., Path], tmp_path: Path) -> None:
    mine, theirs = artifacts.hash_file(small_weights)[:12], artifacts.bundled("C8")
    assert theirs is not None
    other = other_model(theirs, tmp_path, 0.0)
    assert refused(ArtifactError, "--config", "C8", "--weights", small_weights, "--beside", other) == (
        f"{other} is made from the weights {artifacts.hash_file(theirs)[:12]}.... A model made from the explained "
        f"weights, {mine}..., was expected. Export it again from these weights, or pass its own as --weights."
    )
    assert refused(ArtifactError, "--config", "C6", "--beside", other) == (
        f"{other} is a C8. A model made from the C6 that is explained was expected. Pass --config C8, or another "
        "--beside."
    )


@pytest.mark.parametrize(
    ("failure", "kind", "text"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
        (OSError(errno.ENOSPC, "No space left on device"), Lc2ferError, "is full. Room for the new files was expected"),
    ],
    ids=["interrupted", "full disk"],
)
def test_no_half_report_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failure: BaseException, kind: type[BaseException], text: str
) -> None:
    def fail(*paths: object) -> None:
        raise failure

    (tmp_path / "C8-explain.html").write_text("the last one")
    monkeypatch.setattr(explain, "explain", lambda given, say: ({}, None))
    monkeypatch.setattr("lc2fer.explain.page.page", lambda document, pictures: "the new one")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(kind, match=text):
        explain.main(["--config", "C8", "--out", str(tmp_path)])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("C8-explain.html", "the last one")]


def test_help_needs_no_torch(python: Any) -> None:
    program = "import sys; from lc2fer.explain import command; command.main(sys.argv[1:])"
    done = python(program, "--help", block=["torch", "captum", "sklearn", "matplotlib"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: lc2fer-explain ")


def test_a_place_that_cannot_be_written_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def work(given: object, say: object) -> None:
        raise AssertionError("minutes of work")

    monkeypatch.setattr(explain, "explain", work)
    (tmp_path / "report").touch()
    for place in ("report", "report/below"):
        with pytest.raises(OSError, match="report"):
            explain.main(["--config", "C8", "--out", str(tmp_path / place)])
    with pytest.raises(AssertionError):
        explain.main(["--config", "C8", "--out", str(tmp_path / "new" / "below")])
    assert [path.name for path in tmp_path.iterdir()] == ["report"]

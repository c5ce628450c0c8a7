"""Test images of any classes, in the order of the models that are measured."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import layouts
import numpy as np
import pytest
from lc2fer.benchmarks.judging.figures import scores
from lc2fer.benchmarks.measuring import child, models
from lc2fer.benchmarks.measuring.images import preparer
from lc2fer.benchmarks.measuring.images import test_set as drawn
from lc2fer.benchmarks.report.answers import Outputs

from lc2fer.data import open_dataset
from lc2fer.data.dataset import Dataset, Sample
from lc2fer.errors import ArtifactError, DataError
from lc2fer.inputs import LABELS, InputSpec

EIGHT = (*LABELS, "contempt")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return layouts.folders(tmp_path / "own", ("happy", "tired", "bored"), {"train": 3, "test": 2})


def test_images_are_labelled_as_the_data_or_as_the_models_are(own: Path, tmp_path: Path) -> None:
    dataset = open_dataset(own)
    samples, data = drawn(dataset, "own", None)
    assert data.label_names == ("happiness", "bored", "tired")
    assert [data.label_names[label] for label in data.labels] == [
        {"happy": "happiness"}.get(sample.path.parent.name, sample.path.parent.name) for sample in samples
    ]
    _, other = drawn(dataset, "own", None, ("tired", "bored", "angry", "happiness"))
    assert [other.label_names[label] for label in other.labels] == [data.label_names[label] for label in data.labels]
    assert other.fingerprint != data.fingerprint
    assert preparer(samples, 0, tmp_path, data.label_names)(InputSpec(size=8)).labels == data.label_names


def test_images_of_very_many_classes(tmp_path: Path) -> None:
    names = tuple(f"c{number:03}" for number in range(300))
    samples = []
    for label in range(300):
        (tmp_path / f"{label}.png").write_bytes(bytes(divmod(label, 256)))
        samples.append(Sample(tmp_path / f"{label}.png", label))
    _, data = drawn(Dataset(tmp_path, "folders", (), tuple(samples), names), "many", None)
    assert sorted(data.labels) == list(range(300))
    assert len(data.fingerprint) == 64


def test_images_of_a_class_that_the_models_do_not_know(own: Path) -> None:
    with pytest.raises(
        DataError, match=r"has the class tired, which the model does not know: it tells happiness, bored"
    ):
        drawn(open_dataset(own), "own", None, ("happiness", "bored"))


def test_a_model_of_other_labels_is_not_scored() -> None:
    artifact: Any = SimpleNamespace(path=Path("C8.onnx"), input_spec=InputSpec(size=8, labels=EIGHT))
    child._check(artifact, 8, EIGHT)
    with pytest.raises(ArtifactError) as refused:
        child._check(artifact, 8, LABELS)
    assert str(refused.value) == (
        f"C8.onnx takes images of 8 pixels and the labels {', '.join(EIGHT)}. The images have 8 pixels and the labels "
        f"{', '.join(LABELS)}. Measure it on data that fits it."
    )


@pytest.mark.parametrize("classes", [5, 8])
def test_figures_of_other_numbers_of_classes(classes: int) -> None:
    labels = tuple(range(classes)) * 2
    logits = np.eye(classes, dtype=np.float32)[np.array(labels)]
    logits[-1] = logits[0]
    found = scores(labels, Outputs.of(logits), None)
    assert found.accuracy == pytest.approx(1 - 0.5 / classes)
    assert found.mean_class_accuracy == pytest.approx(1 - 0.5 / classes)


def test_the_labels_are_those_of_the_models(own: Path, tmp_path: Path) -> None:
    import torch

    from lc2fer.network import checkpoint
    from lc2fer.network.model import build
    from lc2fer.variants import variant

    torch.manual_seed(0)
    spec = InputSpec(size=32, labels=EIGHT)
    path = checkpoint.save(build(variant("C8"), 8), tmp_path, "mine", input_spec=spec, training={}).path
    chosen: Any = SimpleNamespace(models=[], weights=None)
    assert models.labels_of(chosen) == LABELS
    assert models.labels_of(SimpleNamespace(models=[path], weights=None)) == EIGHT  # type: ignore[arg-type]
    assert models.labels_of(SimpleNamespace(models=[], weights=path)) == EIGHT  # type: ignore[arg-type]
    path.with_suffix(".json").unlink()
    assert models.labels_of(SimpleNamespace(models=[], weights=path)) == EIGHT  # type: ignore[arg-type]

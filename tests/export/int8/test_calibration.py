"""Which images calibrate, decide and prove: of D^v alone, in an order of their own, and never one twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lc2fer.export.int8.calibration import CalibrationSet, Validation
from PIL import Image

from lc2fer.data import open_dataset, read_pixels
from lc2fer.data.dataset import Dataset, Sample
from lc2fer.errors import DataError
from lc2fer.inputs import LABELS, InputSpec
from lc2fer.recipe import Calibration

SPEC = InputSpec(size=32)
ALL = 84  # images of D^v


@pytest.fixture(scope="module")
def dataset(faces: Path) -> Dataset:
    return open_dataset(faces)


@pytest.fixture(scope="module")
def validation(dataset: Dataset) -> Validation:
    return Validation(dataset, SPEC)


def test_every_part_is_cut_from_one_order(validation: Validation) -> None:
    every = validation.draw(ALL, 0)
    assert len(set(every.sha256)) == validation.available == ALL
    assert validation.draw(40, 0).sha256 == every.first(40).sha256 == every.sha256[:40]
    assert validation.draw(44, 0, skip=40).sha256 == every.sha256[40:]
    assert sorted(validation.draw(ALL, 1).sha256) == sorted(every.sha256)
    assert validation.draw(ALL, 1).sha256 != every.sha256
    assert validation.calibration(Calibration(count=50, seed=1)).sha256 == validation.draw(50, 1).sha256


def test_what_decides_is_not_what_a_large_calibration_saw(dataset: Dataset) -> None:
    validation = Validation(dataset, SPEC, seen=60)
    calibrated = validation.calibration(Calibration(count=60))
    assert not set(validation.policy(24).sha256) & set(calibrated.sha256)
    assert len(set(validation.policy(30).sha256) & set(calibrated.sha256)) == 6
    assert validation.proof_fingerprint == validation.proof.fingerprint


def test_images_come_one_by_one_as_the_network_takes_them(validation: Validation) -> None:
    images = validation.draw(5, 0)
    found = list(images)
    assert [(one.shape, one.dtype) for one in found] == [((1, 3, 32, 32), np.float32)] * 5
    assert np.array_equal(np.concatenate(found).transpose(0, 2, 3, 1), images.pixels)
    assert np.array_equal(images.batch(1, 3), np.concatenate(found[1:3]))
    assert images.first(2).labels.tolist() == images.labels[:2].tolist()
    assert np.array_equal(images.first(2).pixels, images.pixels[:2])


def test_the_fingerprint_is_of_images_preprocessing_and_seed_and_of_nothing_else(validation: Validation) -> None:
    made = CalibrationSet(
        np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2, np.int64), ("ab" * 32, "01" * 32), SPEC, 0, "s", 9
    )
    assert made.fingerprint == "b512035448773a3170e2cf64788c5732418e50365ab34460db144ac1e08318e9"
    assert replace(made, sha256=made.sha256[::-1], split="t", scored=1).fingerprint == made.fingerprint
    others = [replace(made, seed=1), replace(made, sha256=("ab" * 32,)), replace(made, spec=InputSpec(size=48))]
    assert len({made.fingerprint, *(other.fingerprint for other in others)}) == 4
    assert made.to_json() == {
        "images": 2,
        "fingerprint": made.fingerprint,
        "seed": 0,
        "split": "s",
        "none_among_test_images": 9,
    }
    assert validation.draw(3, 0).to_json()["none_among_test_images"] == 21


def test_what_decides_and_proves_is_seen_by_calibration_last(validation: Validation) -> None:
    every = validation.draw(ALL, Calibration().seed)
    assert validation.policy(60).sha256 == every.sha256[24:]  # calibration asks for 300, and has all
    assert validation.policy(100).sha256 == every.sha256
    assert validation.proof.sha256 == every.sha256


def test_a_proof_takes_256_images_behind_those_of_calibration(
    validation: Validation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(Validation, "available", 1000)
    monkeypatch.setattr(Validation, "draw", lambda _, count, seed, *, skip=0: asked.append((count, seed, skip)))
    _ = Validation(validation.dataset, SPEC).proof
    assert asked == [(256, Calibration().seed, 300)]


def test_too_few_images_are_told_with_what_is_needed(dataset: Dataset, validation: Validation) -> None:
    own = Validation(replace(dataset, train=dataset.train[60:], validation=dataset.train[:60]), SPEC)
    split = "D^v, 20 % of the training images"
    for given, images, what in ((validation, ALL, split), (own, 60, "D^v")):
        with pytest.raises(DataError) as alone:
            given.draw(images + 1, 0)
        assert str(alone.value) == (
            f"{dataset.root} has {images} validation images ({what}). {images + 1} are needed to calibrate with. Use a "
            "larger data set, or lower --calibration-images."
        )
        with pytest.raises(DataError) as more:
            given.draw(images - 10, 0, skip=11)
        assert str(more.value) == (
            f"{dataset.root} has {images} validation images ({what}). {images + 1} are needed: 11 to calibrate with "
            f"and {images - 10} to prove with. Use a larger data set."
        )
        assert len(given.draw(images - 10, 0, skip=10)) == images - 10


@pytest.mark.parametrize("anew", [False, True], ids=["the same file", "saved anew"])
def test_an_image_that_is_scored_is_refused_or_left_out(
    tmp_path: Path, write_faces: Callable[..., Path], anew: bool
) -> None:
    root = write_faces(tmp_path / "faces", train=10, test=2)
    plain = open_dataset(root)
    first = Validation(plain, SPEC).split.validation[0].path
    pixels = read_pixels([Sample(first, 0)], SPEC)[0]
    other = pixels.copy()
    other[0, 0] ^= 1
    for path, saved in ((plain.test[0].path, pixels), (plain.test[1].path, other)):
        Image.fromarray(saved).save(path, compress_level=1)
    if not anew:
        plain.test[0].path.write_bytes(first.read_bytes())
    leaky = Validation(plain, SPEC)  # opened before, for opening looks for copies too
    with pytest.raises(DataError) as refused:
        leaky.draw(leaky.available, 0)
    assert str(refused.value) == (
        f"{first} is the same picture as the test image {plain.test[0].path.name}. Calibration and policy may not see "
        "D^e. Remove the copy among the training images."
    )
    kept = Validation(replace(plain, copies=frozenset({first})), SPEC)
    assert kept.available == leaky.available - 1
    assert len(kept.draw(kept.available, 0)) == kept.available


def test_classes_that_the_model_does_not_know_are_refused_unless_nobody_asks(dataset: Dataset) -> None:
    spec = InputSpec(size=32, labels=LABELS[:6])
    with pytest.raises(DataError, match="has the class neutral, which the model does not know"):
        Validation(dataset, spec)
    assert set(Validation(dataset, spec, strict=False).draw(ALL, 0).labels.tolist()) == {-1, 0, 1, 2, 3, 4, 5}

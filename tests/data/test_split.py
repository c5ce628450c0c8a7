"""D^u and D^v: 80 and 20 % of each class, decided by the pictures' bytes and the seed alone."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lc2fer.data import rafdb
from lc2fer.data.rafdb import Dataset
from lc2fer.data.split import Split, divide, images_kept
from lc2fer.errors import DataError

Writer = Callable[..., Path]


@pytest.fixture(scope="module")
def root(write_faces: Writer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("split") / "official", train=20, test=2, side=8)


@pytest.fixture(scope="module")
def dataset(root: Path) -> Dataset:
    return rafdb.load(root)


@pytest.fixture(scope="module")
def split(dataset: Dataset) -> Split:
    return divide(dataset)


def test_each_class_is_divided_80_to_20(dataset: Dataset, split: Split) -> None:
    assert Counter(sample.label for sample in split.fit) == dict.fromkeys(range(7), 16)
    assert Counter(sample.label for sample in split.validation) == dict.fromkeys(range(7), 4)
    assert sorted(split.fit + split.validation, key=lambda sample: sample.path) == sorted(
        dataset.train, key=lambda sample: sample.path
    )


def test_hashes_stand_in_the_samples_order(split: Split) -> None:
    for samples, hashes in ((split.fit, split.fit_sha256), (split.validation, split.validation_sha256)):
        assert hashes == tuple(hashlib.sha256(sample.path.read_bytes()).hexdigest() for sample in samples)


def test_the_test_images_take_no_part(dataset: Dataset, split: Split) -> None:
    chosen = {sample.path for sample in split.fit + split.validation}
    assert not chosen & {sample.path for sample in dataset.test}
    more = replace(dataset, test=dataset.test[:3])
    assert divide(more) == split


def test_both_layouts_and_any_order_give_the_same_split(
    dataset: Dataset, split: Split, write_faces: Writer, tmp_path: Path
) -> None:
    folders = divide(rafdb.load(write_faces(tmp_path / "folders", train=20, test=2, side=8, layout="folders")))
    assert set(folders.validation_sha256) == set(split.validation_sha256)
    assert set(folders.fit_sha256) == set(split.fit_sha256)
    assert folders.fingerprint == split.fingerprint
    assert divide(replace(dataset, train=dataset.train[::-1])) == split


def test_the_seed_decides(dataset: Dataset, split: Split) -> None:
    other = divide(dataset, seed=1)
    assert divide(dataset, seed=1) == other
    assert set(other.validation_sha256) != set(split.validation_sha256)
    assert other.fingerprint != split.fingerprint
    assert (split.seed, other.seed) == (0, 1)


def test_the_split_is_the_recorded_one(split: Split) -> None:
    """Checkpoints record this split's images; a change of the rule would put some of them on the other side."""
    ranks = {}
    for image in split.fit_sha256 + split.validation_sha256:
        ranks[image] = hashlib.sha256(f"0 {image}".encode()).hexdigest()
    for label in range(7):
        fit = [ranks[h] for sample, h in zip(split.fit, split.fit_sha256) if sample.label == label]
        held = [ranks[h] for sample, h in zip(split.validation, split.validation_sha256) if sample.label == label]
        assert max(held) < min(fit)


def test_a_new_picture_moves_no_other_far(dataset: Dataset, split: Split) -> None:
    fewer = divide(replace(dataset, train=dataset.train[7:]))  # one picture of each class is gone
    moved = set(fewer.validation_sha256) ^ set(split.validation_sha256)
    assert len(moved) <= 2 * 7


def test_duplicates_stay_on_one_side(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    pictures = copy / "Image" / "aligned"
    lines = []
    for number in range(140):
        shutil.copy(
            pictures / f"train_{number + 1:05d}_aligned.png", pictures / f"train_{number + 1001:05d}_aligned.png"
        )
        lines.append(f"train_{number + 1001:05d}.png {number % 7 + 1}\n")
    with (copy / "EmoLabel" / "list_patition_label.txt").open("a") as listing:
        listing.write("".join(lines))
    doubled = divide(rafdb.load(copy))
    assert (len(doubled.fit), len(doubled.validation)) == (2 * 112, 2 * 28)
    assert not set(doubled.fit_sha256) & set(doubled.validation_sha256)


def test_one_picture_in_two_classes_stays_on_one_side(dataset: Dataset, split: Split) -> None:
    relabelled = tuple(replace(sample, label=(sample.label + 1) % 7) for sample in dataset.train[:40])
    doubled = divide(replace(dataset, train=dataset.train + relabelled))
    assert len(doubled.fit) + len(doubled.validation) == 180
    assert not set(doubled.fit_sha256) & set(doubled.validation_sha256)


def test_fewer_images_to_validate_leave_more_to_train_on(dataset: Dataset, split: Split) -> None:
    few = divide(dataset, keep=14)
    assert Counter(sample.label for sample in few.validation) == dict.fromkeys(range(7), 2)
    assert set(few.validation) < set(split.validation)
    assert set(few.fit) == set(dataset.train) - set(few.validation)
    assert few.fit_sha256 == tuple(hashlib.sha256(sample.path.read_bytes()).hexdigest() for sample in few.fit)
    assert few.fingerprint != split.fingerprint
    assert divide(replace(dataset, train=dataset.train[::-1]), keep=14) == few
    for all_of_them in (0, 28, 1000):
        assert divide(dataset, keep=all_of_them) == split


def test_a_part_to_validate_on_can_be_trained_on_too(dataset: Dataset) -> None:
    own = replace(dataset, train=dataset.train[70:], validation=dataset.train[:70])
    few = divide(own, keep=10)
    assert 7 <= len(few.validation) <= 14
    assert {sample.label for sample in few.validation} == set(range(7))
    assert set(few.validation) < set(own.validation)
    assert set(few.fit) | set(few.validation) == set(dataset.train)
    assert len(few.fit) + len(few.validation) == 140


@pytest.mark.parametrize("training", [None, {}, {"validation_images": "14"}])
def test_weights_that_do_not_say_how_many_kept_all(training: dict[str, str] | None) -> None:
    assert images_kept(training) == 0
    assert images_kept({"validation_images": 14}) == 14


def test_two_images_of_a_class_go_to_both_sides(write_faces: Writer, tmp_path: Path) -> None:
    split = divide(rafdb.load(write_faces(tmp_path / "two", train=2, test=1, side=8)))
    assert (len(split.fit), len(split.validation)) == (7, 7)


def test_one_image_of_a_class_is_refused(write_faces: Writer, tmp_path: Path) -> None:
    root = write_faces(tmp_path / "one", train=1, test=1, side=8)
    with pytest.raises(DataError) as refused:
        divide(rafdb.load(root))
    assert str(refused.value) == (
        f"{root} has one training image of class 1 (surprise). At least two are needed, one to train on and one to "
        "validate on. Add images of that class."
    )

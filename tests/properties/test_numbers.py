"""Splits, quantisation and verdicts: what must not depend on order, place, unit or side."""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lc2fer.benchmarks.judging import paired, spread
from lc2fer.deploy.camera import address
from lc2fer.export.int8 import ranges
from PIL import Image

from lc2fer import metrics, pictures
from lc2fer.data.dataset import Dataset, Sample
from lc2fer.data.split import divide, hold_out
from lc2fer.recipe import Calibration

seeds = st.integers(0, 2**32 - 1)
labels = st.lists(st.integers(0, 6), min_size=1, max_size=60)


def _written(root: Path, contents: list[tuple[bytes, int]], names: list[str]) -> list[Sample]:
    root.mkdir(parents=True)
    found = []
    for (content, label), name in zip(contents, names):
        (root / name).write_bytes(content)
        found.append(Sample(root / name, label))
    return found


@given(st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 2)), min_size=6, max_size=30), seeds)
def test_a_split_follows_from_the_pictures_alone(drawn: list[tuple[bytes, int]], seed: int) -> None:
    contents = [(bytes([label]) + content + bytes([place % 9]), label) for place, (content, label) in enumerate(drawn)]
    contents += [(b"more %d %d" % (label, number), label) for label in range(3) for number in range(2)]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(contents))
    with tempfile.TemporaryDirectory() as name:
        here = _written(Path(name, "here"), contents, [f"{place}.jpg" for place in range(len(contents))])
        there = _written(Path(name, "else/where"), [contents[i] for i in order], [f"x{i}" for i in range(len(order))])
        splits = [
            divide(Dataset(root, "folders", tuple(samples), ()))
            for root, samples in ((Path(name), here), (Path(), there))
        ]
        assert splits[0].fingerprint == splits[1].fingerprint
        for one, other in (
            (splits[0].fit_sha256, splits[1].fit_sha256),
            (splits[0].validation_sha256, splits[1].validation_sha256),
        ):
            assert sorted(one) == sorted(other)
        assert not set(splits[0].fit_sha256) & set(splits[0].validation_sha256)
        assert len(splits[0].fit) + len(splits[0].validation) == len(contents)
        sides = [[hashlib.sha256(one.path.read_bytes()).hexdigest() for one in side] for side in hold_out(here)]
        again = [
            [hashlib.sha256(one.path.read_bytes()).hexdigest() for one in side] for side in hold_out(reversed(there))
        ]
        assert [sorted(side) for side in sides] == [sorted(side) for side in again]
        shutil.rmtree(Path(name, "here"))


@given(st.integers(2, 30), st.integers(1, 6))
def test_a_part_that_is_held_out_is_a_fifth_and_a_given_one_is_taken(count: int, given_count: int) -> None:
    contents = [(b"image %d" % number, 0) for number in range(count)]
    with tempfile.TemporaryDirectory() as name:
        samples = _written(Path(name, "all"), contents, [f"{place:02d}.jpg" for place in range(count)])
        kept, held = hold_out(samples)
        assert len(held) == max(1, round(0.2 * count))
        assert sorted(kept + held, key=lambda one: one.path) == samples
        own = samples[: min(given_count, count - 1)]  # also among the training images
        split = divide(Dataset(Path(name), "folders", tuple(samples), (), validation=tuple(own)))
        assert (split.validation, split.fit) == (tuple(own), tuple(samples[len(own) :]))


METHODS = [
    Calibration("max", 32),
    Calibration("mse", 32),
    Calibration("entropy", 32),
    Calibration("percentile", 32, percentile=99.0),
]


@given(seeds, st.integers(-8, 8), st.sampled_from(METHODS))
def test_a_range_scales_with_its_values(seed: int, power: int, method: Calibration) -> None:
    values = np.random.default_rng(seed).normal(0, 3, 500).astype(np.float32)
    seen, scaled, shuffled = ranges.Histogram(), ranges.Histogram(), ranges.Histogram()
    seen.add(values)
    scaled.add(values * np.float32(2.0**power))
    for part in np.array_split(np.random.default_rng(seed).permutation(values), 3):
        shuffled.add(part)
    clip = ranges.clip(seen, method)
    assert 0 < clip <= seen.largest
    assert ranges.clip(scaled, method) == clip * 2.0**power
    assert ranges.clip(shuffled, method) == clip


@given(seeds, st.floats(1e-3, 1e3), st.sampled_from(METHODS))
def test_rounding_to_int8_stays_within_half_a_step(seed: int, factor: float, method: Calibration) -> None:
    values = (np.random.default_rng(seed).normal(0, 1, 400) * factor).astype(np.float32)
    seen = ranges.Histogram()
    seen.add(values)
    step = ranges.clip(seen, method) / ranges.LEVELS
    rounded = np.clip(np.rint(values.astype(np.float64) / step), -ranges.LEVELS, ranges.LEVELS) * step
    inside = np.abs(values) <= step * ranges.LEVELS
    assert np.abs(rounded - values)[inside].max(initial=0) <= step / 2 * (1 + 1e-9)
    assert np.all(np.abs(rounded[~inside]) <= np.abs(values[~inside]))


@given(labels, seeds)
def test_a_drop_is_the_others_gain(targets: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = (np.where(rng.random(len(targets)) < 0.6, targets, rng.integers(0, 7, len(targets))) for _ in range(2))
    lost, won = paired.drop(targets, one, other), paired.drop(targets, other, one)
    assert (lost.worse, lost.better) == (won.better, won.worse)
    assert lost.value == -won.value
    assert math.isclose(lost.low, -won.high, abs_tol=1e-12)
    assert math.isclose(lost.p_within(0.02), 1 - won.p_within(-0.02), abs_tol=1e-9)
    assert paired.mcnemar(lost.worse, lost.better) == paired.mcnemar(won.worse, won.better)
    order = rng.permutation(len(targets))
    assert paired.drop(np.array(targets)[order], one[order], other[order]) == lost


@given(st.lists(st.tuples(st.integers(10, 500), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=6), seeds)
def test_verdicts_do_not_depend_on_the_rows_order(drawn: list[tuple[int, int, int]], seed: int) -> None:
    drops = [paired.Drop(images + worse + better, worse, better, 0.95) for images, worse, better in drawn]
    order = np.random.default_rng(seed).permutation(len(drops))
    found = paired.verdicts(drops, 0.01)
    assert paired.verdicts([drops[i] for i in order], 0.01) == [found[i] for i in order]
    for drop, verdict in zip(drops, found):
        if verdict == paired.PASS:
            assert drop.high < 0.01
        if verdict == paired.FAIL:
            assert drop.low > 0.01


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=6), st.lists(st.floats(0.01, 100), min_size=2, max_size=6))
def test_a_ratio_is_the_inverse_of_the_other(ours: list[float], theirs: list[float]) -> None:
    one, other = spread.of(ours), spread.of(theirs)
    there, back = spread.quotient(one, other), spread.quotient(other, one)
    assert math.isclose(there.value * back.value, 1, rel_tol=1e-9)
    assert there.low is not None
    assert back.high is not None
    assert math.isclose(there.low * back.high, 1, rel_tol=1e-6)
    assert one.overlaps(other) == other.overlaps(one)


@given(labels, seeds, st.floats(1e-3, 1e3))
def test_metrics_do_not_depend_on_order_or_unit(targets: list[int], seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (len(targets), 7)).astype(np.float32)
    noisy = (logits + rng.normal(0, 0.1, logits.shape)).astype(np.float32)
    order = rng.permutation(len(targets))
    held, answers = np.array(targets), metrics.predictions(logits)
    assert metrics.accuracy(held, answers) == metrics.accuracy(held[order], answers[order])
    assert metrics.confusion(held, answers).sum() == len(held)
    assert np.trace(metrics.confusion(held, answers)) / len(held) == pytest.approx(metrics.accuracy(held, answers))
    sqnr = metrics.sqnr_db(logits, noisy)
    assert metrics.sqnr_db(logits * factor, noisy * factor) == pytest.approx(sqnr, abs=1e-3)
    assert metrics.sqnr_db(logits[order], noisy[order]) == pytest.approx(sqnr, abs=1e-3)
    assert metrics.softmax(logits).sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert metrics.agreement(answers, answers) == 1


secrets = st.text("abcdefgh0123456789!$&'()*+,;=-._~@:/?#[]% ", min_size=4, max_size=16)


@given(secrets, secrets, st.sampled_from(["rtsp", "http", "https", "rtmp", "mqtt"]))
def test_no_password_is_shown(user: str, password: str, scheme: str) -> None:
    word = f"Zz{password}Zz"
    for given_ in (f"{scheme}://{user}:{word}@10.0.0.5:554/live", f"{scheme}://10.0.0.5/live?user={user}&token={word}"):
        assert word not in address.shown(given_)
        assert "Zz" not in address.shown(given_)
        assert word not in address.without(given_, f"cannot open {given_}: refused")
        assert word not in address.quoted(given_)


@given(st.integers(1, 9), st.integers(1, 9), seeds, st.sampled_from(["PNG", "BMP", "PPM", "TIFF"]))
def test_a_picture_without_loss_comes_back(width: int, height: int, seed: int, kind: str) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    back: Any = pictures.read(pictures.encoded(Image.fromarray(pixels), kind)).image
    assert np.array_equal(np.asarray(back), pixels)

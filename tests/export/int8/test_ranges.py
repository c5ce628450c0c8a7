"""Range estimators on distributions whose best clip is known."""

from __future__ import annotations

import bisect
import math
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from lc2fer.export.int8.ranges import BINS, CLIPS, LEVELS, Histogram, clip, collect, runs
from numpy.typing import NDArray
from onnx import TensorProto, helper

from lc2fer.errors import ArtifactError
from lc2fer.recipe import METHODS, Calibration


def histogram_of(values: NDArray[np.float32], pieces: int = 1) -> Histogram:
    seen = Histogram()
    for piece in np.array_split(values, pieces):
        seen.add(piece)
    return seen


def error_of(values: NDArray[np.float32], limit: float) -> float:
    step = limit / LEVELS
    return float(np.mean((np.clip(np.rint(values / step), -LEVELS, LEVELS) * step - values) ** 2))


@pytest.fixture(scope="module")
def heavy() -> NDArray[np.float32]:
    """A normal distribution and, one in 10,000, a value of 30 to 60: what follows GRN."""
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 200_000)
    values[:20] = rng.uniform(30, 60, 20)
    values[0] = -60
    return rng.permutation(values).astype(np.float32)


def test_counts_do_not_depend_on_the_order(heavy: NDArray[np.float32]) -> None:
    first, second = histogram_of(heavy), histogram_of(np.sort(heavy), pieces=9)
    assert (first.counts == second.counts).all()
    assert first.width == second.width == 2.0**-7  # 64 / 8192
    assert first.counts.sum() == 200_000
    assert first.largest == 60.0
    assert np.count_nonzero(np.abs(heavy) < 1) == first.counts[: BINS // 64].sum()


def test_a_bin_stands_for_its_middle() -> None:
    seen = histogram_of(np.array([64.0], np.float32))
    assert seen.centres[0] == seen.width / 2
    assert seen.centres[-1] == 64 - seen.width / 2


def test_every_method_is_there() -> None:
    assert set(CLIPS) == set(METHODS)


def test_max_and_percentile(heavy: NDArray[np.float32]) -> None:
    seen = histogram_of(heavy)
    assert clip(seen, Calibration("max")) == 60.0
    for percent in (50.0, 99.0, 99.9):
        found = clip(seen, Calibration("percentile", percentile=percent))
        assert found == pytest.approx(np.percentile(np.abs(heavy), percent), abs=2 * seen.width)
    assert clip(seen, Calibration("percentile", percentile=100.0)) == 60.0


def test_mse_is_the_least_error(heavy: NDArray[np.float32]) -> None:
    found = clip(histogram_of(heavy), Calibration("mse"))
    errors = {limit: error_of(heavy, limit) for limit in np.linspace(1, 60, 119)}
    assert error_of(heavy, found) <= 1.02 * min(errors.values())
    assert error_of(heavy, found) < 0.85 * errors[60.0]
    # With nothing far out there is nothing to gain by clipping much.
    assert clip(histogram_of(heavy[np.abs(heavy) < 3]), Calibration("mse")) > 2.8


def test_entropy_lets_the_few_go(heavy: NDArray[np.float32]) -> None:
    assert 2 < clip(histogram_of(heavy), Calibration("entropy")) < 10


def sparse(seed: int) -> Histogram:
    """Magnitudes in a few bins far from each other, as a layer gives that is dead but for some channels."""
    rng = np.random.default_rng(seed)
    seen = Histogram()
    values = np.abs(rng.normal(0, rng.uniform(0.5, 4), 40)) ** rng.uniform(1, 3)
    seen.add(np.repeat(values, rng.integers(1, 200, 40)).astype(np.float32))
    return seen


def divergence(counts: dict[int, float], end: int) -> float:
    """Kullback-Leibler's, of what was seen from what LEVELS + 1 levels below a bin leave of it."""
    starts = [level * end // (LEVELS + 1) for level in range(LEVELS + 1)]
    level_of = {place: bisect.bisect(starts, place) for place in counts if place < end}
    filled = Counter(level_of.values())
    sums = dict.fromkeys(filled, 0.0)
    for place, level in level_of.items():
        sums[level] += counts[place]
    beyond = sum(count for place, count in counts.items() if place >= end)
    clipped = {place: counts[place] for place in level_of}
    clipped[end - 1] = clipped.get(end - 1, 0) + beyond
    found = 0.0
    for place, count in clipped.items():
        p = count / sum(clipped.values())
        if place in level_of:
            level = level_of[place]
            found += p * math.log(p / (sums[level] / filled[level] / sum(sums.values())))
        elif p:
            found += p * math.log(1e10)
    return found


def much_alike(seed: int) -> Histogram:
    """Nearly all magnitudes in the second bin, so that it decides what the first one, of zeros, counts for."""
    rng = np.random.default_rng(seed)
    seen = Histogram()
    most, others = np.full(rng.integers(100, 4000), 1.5), rng.uniform(3, 200, rng.integers(5, 60))
    seen.add(np.concatenate([most, others, [rng.uniform(4000, 8000)]]).astype(np.float32) / BINS)
    return seen


@pytest.mark.parametrize("seen", [*map(sparse, range(12)), much_alike(158)])
def test_entropy_is_the_least_divergence(seen: Histogram) -> None:
    counts = {place: float(count) for place, count in enumerate(seen.counts) if count}
    counts[0] = float(seen.counts[1])  # zeros are exact
    counts = {place: count for place, count in counts.items() if count}
    used = math.ceil(seen.largest / seen.width)
    ends = range(LEVELS + 1, used + 1, used // 192)
    best = min(ends, key=lambda end: divergence(counts, end))
    assert clip(seen, Calibration("entropy")) == min(seen.largest, best * seen.width)


@pytest.mark.parametrize("seed", range(6))
def test_mse_tries_192_clips_up_to_the_largest(seed: int) -> None:
    seen = sparse(seed)
    centres = np.repeat((np.flatnonzero(seen.counts) + 0.5) * seen.width, seen.counts[seen.counts > 0])
    clips = [seen.largest * part / 192 for part in range(1, 193)]
    assert clip(seen, Calibration("mse")) == min(clips, key=lambda limit: error_of(centres, limit))


def test_a_percentile_counts_what_lies_in_the_last_bin() -> None:
    seen = histogram_of(np.array([1.0] * 50 + [64.0] * 50, np.float32))
    assert seen.counts[-1] == 50
    assert clip(seen, Calibration("percentile", percentile=50.0)) == 1 + seen.width
    assert clip(seen, Calibration("percentile", percentile=51.0)) == 64.0


@pytest.mark.parametrize(
    "wanted", [*map(Calibration, ("max", "mse", "entropy")), Calibration(percentile=99, method="percentile")]
)
def test_a_tensor_of_zeros(wanted: Calibration) -> None:
    assert clip(histogram_of(np.zeros(1000, np.float32)), wanted) == 0


def test_infinite_activations_are_refused(tmp_path: Path) -> None:
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, 2, 2])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3, 2, 2])
    nodes = [helper.make_node("Exp", ["pixels"], ["large"]), helper.make_node("Neg", ["large"], ["logits"])]
    model = helper.make_model(
        helper.make_graph(nodes, "graph", [pixels], [logits]), opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version = 10
    onnx.checker.check_model(model)
    seen = collect(model, {"first": "pixels", "second": "large"}, [np.full((1, 3, 2, 2), 2, np.float32)])
    assert (seen["first"].largest, seen["second"].largest) == (2.0, pytest.approx(np.e**2))
    with pytest.raises(ArtifactError) as refused:
        collect(model, {"second": "large"}, [np.full((1, 3, 2, 2), 200, np.float32)])
    assert str(refused.value) == (
        "What second reads is NaN or infinite on a calibration image. Finite activations were expected. "
        "Look at the weights; they may come from a training that diverged."
    )


def test_images_run_side_by_side_and_come_in_order() -> None:
    class Session:
        def run(self, outputs: list[str], given: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
            (image,) = given.values()
            time.sleep(0.02 if image[0] % 3 == 0 else 0)  # some are late
            return [image + 1]

    images = (np.array([number], np.float32) for number in range(20))
    assert [int(found[0][0]) for found in runs(Session(), ["x"], images)] == list(range(1, 21))

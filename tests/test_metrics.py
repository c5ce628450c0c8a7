import math

import numpy as np
import pytest
from scipy import stats

from lc2fer import metrics

TARGETS = [0, 0, 0, 1, 1, 2]
FOUND = [0, 0, 1, 1, 0, 2]


def test_accuracy_and_mean_class_accuracy():
    assert metrics.accuracy(TARGETS, FOUND) == 4 / 6
    assert metrics.mean_class_accuracy(TARGETS, FOUND) == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)


def test_confusion_has_targets_as_rows():
    assert metrics.confusion(TARGETS, FOUND, 3).tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert metrics.confusion(TARGETS, FOUND).shape == (7, 7)


@pytest.mark.parametrize("ids", [[7], [-1]])
def test_confusion_refuses_other_class_ids(ids):
    with pytest.raises(ValueError, match=r"class ids outside 0\.\.6"):
        metrics.confusion([0], ids)


def test_agreement_counts_equal_answers_right_or_wrong():
    assert metrics.agreement([1, 2, 3, 4], [1, 2, 0, 0]) == 0.5


def test_flips_count_each_way():
    targets = [0, 0, 0, 0, 0]
    assert metrics.flips(targets, [0, 0, 0, 1, 1], [0, 1, 2, 0, 2]) == (2, 1)


@pytest.mark.parametrize(("first", "second"), [([], []), ([1], [1, 2]), ([[1]], [[1]])])
def test_class_ids_must_be_two_lists_of_one_length(first, second):
    with pytest.raises(ValueError, match="two lists of one length were expected"):
        metrics.accuracy(first, second)


def test_predictions_take_the_first_of_equal_logits():
    assert metrics.predictions(np.array([[1, 3, 3], [5, 0, 0]], np.float32)).tolist() == [1, 0]


def test_sqnr_by_hand():
    reference = [[1.0, 0.0], [-1.0, 0.0]]  # power 2
    assert metrics.sqnr_db(reference, [[1.1, 0.0], [-1.0, 0.1]]) == pytest.approx(10 * math.log10(2 / 0.02))


def test_sqnr_does_not_count_an_offset_as_signal():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(50, 7))
    noisy = reference + rng.normal(scale=0.1, size=(50, 7))
    plain = metrics.sqnr_db(reference, noisy)
    assert plain == pytest.approx(20, abs=1)
    assert metrics.sqnr_db(reference + 1000, noisy + 1000) == pytest.approx(plain)
    assert metrics.sqnr_db(reference, np.broadcast_to(reference.mean(axis=0), reference.shape)) == pytest.approx(0)


def test_sqnr_of_equal_and_of_constant_logits():
    assert metrics.sqnr_db([[1.0, 2.0], [2.0, 1.0]], [[1.0, 2.0], [2.0, 1.0]]) == math.inf
    assert metrics.sqnr_db([[1.0, 2.0], [1.0, 2.0]], [[1.0, 2.0], [2.0, 1.0]]) == -math.inf


def test_sqnr_counts_an_error_that_is_the_same_for_all_images():
    assert metrics.sqnr_db([[1.0], [-1.0]], [[1.5], [-0.5]]) == pytest.approx(10 * math.log10(2 / 0.5))


def test_max_abs():
    assert metrics.max_abs([[1.0, 2.0]], [[1.5, -1.0]]) == 3.0
    with pytest.raises(ValueError, match=r"logits \[1, 2\] and \[1, 3\]"):
        metrics.max_abs([[1.0, 2.0]], [[1.0, 2.0, 3.0]])


@pytest.mark.parametrize(("correct", "count"), [(0, 10), (10, 10), (1, 1), (7, 13), (2500, 3068)])
def test_wilson_interval_is_that_of_scipy(correct, count):
    theirs = stats.binomtest(correct, count).proportion_ci(method="wilson")
    assert metrics.wilson_interval(correct, count) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("correct", "count"), [(1, 0), (0, 0), (3, 2), (-1, 2)])
def test_wilson_interval_refuses_what_is_no_share(correct, count):
    with pytest.raises(ValueError, match=f"{correct} of {count} is no share"):
        metrics.wilson_interval(correct, count)


@pytest.mark.parametrize("percent", [50, 90, 99])
@pytest.mark.parametrize("count", [1, 5, 6, 64, 200, 5000])
def test_percentile_has_the_binomial_ranks(count, percent):
    samples = np.random.default_rng(count).permutation(count) + 1.0  # the value of a sample is its rank
    found = metrics.percentile(samples, percent)
    ranks = np.arange(1, count + 1)
    low = ranks[stats.binom.cdf(ranks - 1, count, percent / 100) <= 0.025]
    high = ranks[stats.binom.sf(ranks - 1, count, percent / 100) <= 0.025]
    assert found.value == np.percentile(samples, percent)
    assert found.low == (low.max() if len(low) else None)
    assert found.high == (high.min() if len(high) else None)


def test_percentile_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    true = math.log(2)  # median of the exponential distribution
    found = [metrics.percentile(rng.exponential(size=100), 50) for _ in range(1000)]
    assert np.mean([one.low <= true <= one.high for one in found]) >= 0.94


def test_six_samples_bound_a_median_and_five_do_not():
    assert metrics.percentile([1, 2, 3, 4, 5, 6], 50) == metrics.Percentile(3.5, 1.0, 6.0)
    assert metrics.percentile([1, 2, 3, 4, 5], 50) == metrics.Percentile(3.0, None, None)
    with pytest.raises(ValueError, match="a percentile of no samples"):
        metrics.percentile([], 50)


def test_nll_is_scikit_learns() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (200, 7)).astype(np.float32)
    targets = rng.integers(0, 7, 200)
    expected = sklearn.log_loss(targets, metrics.softmax(logits.astype(np.float64)), labels=list(range(7)))
    assert metrics.nll(targets, logits) == pytest.approx(expected, rel=1e-5)


def test_calibration_error_by_hand() -> None:
    sure, unsure = np.log([0.9, 0.1]), np.log([0.6, 0.4])
    logits = np.array([sure] * 10 + [unsure] * 10)
    targets = [0] * 7 + [1] * 3 + [0] * 6 + [1] * 4  # 90 % sure and 70 % right, 60 % sure and 60 % right
    assert metrics.calibration_error(targets, logits) == pytest.approx(0.1, abs=1e-6)
    assert metrics.calibration_error([0, 0], np.array([[50.0, 0], [50.0, 0]])) == pytest.approx(0, abs=1e-6)


def test_recalls_tell_a_class_without_images() -> None:
    assert metrics.recalls([0, 0, 1], [0, 1, 1], 3) == [0.5, 1.0, None]


@pytest.mark.parametrize("function", [metrics.nll, metrics.calibration_error])
def test_labels_and_logits_belong_together(function) -> None:
    with pytest.raises(ValueError, match=r"class ids \[2\] and logits \[1, 7\]"):
        function([0, 1], np.zeros((1, 7)))

import numpy as np
import pytest
from lc2fer.benchmarks.judging import paired
from lc2fer.benchmarks.judging.paired import Drop, bootstrap, drop, holm, mcnemar, verdicts
from scipy import stats
from statsmodels.stats import contingency_tables, multitest

RNG = np.random.default_rng(0)
TABLES = [(int(RNG.integers(40, 4000)), *map(int, RNG.integers(0, 40, 2))) for _ in range(12)]


def planted(images, worse, better):
    return Drop(images, worse, better, 0.95)


def test_a_drop_is_counted_from_predictions():
    found = drop([0, 0, 0, 1, 1], [0, 0, 1, 1, 0], [0, 1, 0, 1, 2])
    assert (found.images, found.worse, found.better, found.value) == (5, 1, 1, 0)


@pytest.mark.parametrize(("images", "worse", "better"), TABLES)
def test_mcnemar_is_statsmodels(images, worse, better):
    rest = images - worse - better
    expected = contingency_tables.mcnemar([[rest, worse], [better, 0]], exact=True).pvalue
    assert mcnemar(worse, better) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("worse", "better"), [(9, 2), (2, 9), (5, 5), (1, 0), (30, 12)])
def test_mcnemar_is_a_sum_of_binomial_tails(worse, better):
    few, flips = min(worse, better), worse + better
    assert mcnemar(worse, better) == pytest.approx(min(1, 2 * stats.binom.cdf(few, flips, 0.5)))
    assert mcnemar(0, 0) == 1


def test_holm_is_statsmodels():
    for count in (1, 2, 9, 40):
        values = RNG.uniform(0, 0.2, count)
        assert holm(values) == pytest.approx(multitest.multipletests(values, method="holm")[1])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_bootstrap_is_a_multinomial_draw():
    found = planted(3068, 40, 25)
    shares = np.array([40, 25, 3068 - 65]) / 3068
    draws = np.random.default_rng(1).multinomial(3068, shares, 20_000)
    expected = np.percentile((draws[:, 0] - draws[:, 1]) / 3068, [5, 95])
    step = 1.1 / 3068  # an image, and rounding
    assert tuple(bootstrap(found)) == pytest.approx(tuple(expected), abs=step)
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=step)


@pytest.mark.parametrize(("images", "worse", "better"), [(200, 8, 4), (1000, 30, 30), (3068, 20, 14)])
def test_the_bounds_hold_as_often_as_they_say(images, worse, better):
    truth = (worse - better) / images
    shares = [worse / images, better / images, 1 - (worse + better) / images]
    draws = np.random.default_rng(2).multinomial(images, shares, 2000)
    above = np.mean([planted(images, int(b), int(c)).high >= truth for b, c, _ in draws])
    below = np.mean([planted(images, int(b), int(c)).low <= truth for b, c, _ in draws])
    assert 0.93 <= above <= 0.98
    assert 0.93 <= below <= 0.98


def test_three_points_of_3068_images_fail_and_a_fifth_of_one_does_not():
    assert verdicts([planted(3068, 120, 28)], 0.01) == ["fail"]
    assert verdicts([planted(3068, 20, 14)], 0.01) == ["pass"]
    assert verdicts([planted(3068, 92, 0)], 0.01) == ["fail"]
    assert verdicts([planted(3068, 6, 0)], 0.01) == ["pass"]


def test_forty_images_are_too_few_and_it_says_how_many_are_not():
    for worse, better in ((0, 0), (1, 0), (0, 1), (2, 1)):
        found = planted(40, worse, better)
        assert verdicts([found], 0.01) == ["inconclusive"]
        assert found.images_needed(0.01) > 40
    found = planted(40, 0, 0)
    needed = found.images_needed(0.01)
    assert needed == 1287
    scale = (needed + 2) / 42  # the same rates, one flip each way of 42
    assert verdicts([Drop(needed, round(scale - 1), round(scale - 1), 0.95)], 0.0101) == ["pass"]


def test_a_drop_at_the_margin_is_never_decided():
    assert planted(98, 1, 0).images_needed(0.01) is None


def test_many_rows_make_no_false_alarm():
    """At a drop of exactly the margin every row is a coin of 5 %: 56 of them would almost surely raise one."""
    draws = np.random.default_rng(3).multinomial(3068, [0.02, 0.01, 0.97], (100, 56))
    alarms = sum("fail" in verdicts([planted(3068, int(b), int(c)) for b, c, _ in family], 0.01) for family in draws)
    assert alarms <= 12


def test_states_are_three():
    assert (paired.PASS, paired.FAIL, paired.INCONCLUSIVE) == ("pass", "fail", "inconclusive")

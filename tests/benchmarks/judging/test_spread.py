import numpy as np
import pytest
from lc2fer.benchmarks.judging import spread
from scipy import stats


def test_the_interval_is_students_on_logarithms():
    values = [1.0, 1.1, 0.95, 1.02]
    found = spread.of(values)
    expected = stats.ttest_1samp(np.log(values), 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((np.exp(expected.low), np.exp(expected.high)))
    assert found.value == pytest.approx(stats.gmean(values))


def test_one_launch_has_no_interval_and_equal_ones_a_point():
    assert (spread.of([2.0]).low, spread.of([2.0]).high) == (None, None)
    assert (spread.of([2.0, 2.0]).low, spread.of([2.0, 2.0]).high) == pytest.approx((2.0, 2.0))
    with pytest.raises(ValueError, match="a spread of no positive values"):
        spread.of([])


def test_intervals_overlap_or_do_not():
    slow, fast, wide = spread.of([2.0, 2.01, 2.02]), spread.of([1.0, 1.01, 1.02]), spread.of([1.0, 2.0])
    assert not slow.overlaps(fast)
    assert slow.overlaps(wide)
    assert wide.overlaps(fast)
    assert spread.of([9.0]).overlaps(fast)


def test_a_ratio_is_of_launches_side_by_side(samples):
    ours = [samples.launch(samples_ns=(latency,) * 200) for latency in (100, 200, 400)]
    theirs = [samples.launch(samples_ns=(latency,) * 200) for latency in (200, 400, 800)]
    found = spread.ratio(ours, theirs)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert spread.ratio(ours, theirs[:2]).launches == (0.5, 0.5)


def test_a_p99_needs_662_samples(samples):
    assert spread.percentile_ms([samples.launch(samples_ns=tuple(range(1, 332)))] * 2, 99).high is not None
    assert spread.percentile_ms([samples.launch(samples_ns=tuple(range(1, 331)))] * 2, 99) is None
    assert spread.percentile_ms([samples.launch(samples_ns=tuple(range(1, 331)))] * 2, 95) is not None


def test_the_same_row_twice_rarely_differs_and_a_slower_one_is_seen(samples):
    """Launches vary by 3 %, as on a machine with little else to do; both rows share what a round has in common."""
    rng = np.random.default_rng(0)

    def rows(slower):
        common = rng.normal(0, 0.05, 5)
        return [
            [samples.launch(samples_ns=(int(1e6 * slow * np.exp(c + rng.normal(0, 0.03))),) * 200) for c in common]
            for slow in (1, slower)
        ]

    alike = [spread.ratio(*rows(1.0)) for _ in range(200)]
    slowed = [spread.ratio(*rows(1 / 1.1)) for _ in range(200)]
    assert sum(found.low <= 1 <= found.high for found in alike) >= 180
    assert sum(found.low > 1 for found in slowed) >= 180


def test_times_are_told_in_milliseconds_and_images_a_second(samples):
    launches = [
        samples.launch(
            samples_ns=(2_000_000, 4_000_000, 9_000_000), compute_ns=(1_000_000,), throughput=(10, 4 * 10**9)
        ),
        samples.launch(samples_ns=(4_000_000,), compute_ns=(3_000_000,), throughput=(30, 6 * 10**9)),
    ]
    assert spread.latency_ms(launches).value == pytest.approx(4)
    assert spread.median_ms(launches, "compute") == 2
    assert spread.throughput_hz(launches) == 4
    assert spread.percentile_ms(launches, 50).value == 4
    nothing = [samples.launch(samples_ns=(), compute_ns=(), throughput=(0, 0))]
    assert spread.median_ms(nothing, "compute") is None
    assert spread.throughput_hz(nothing) is None
    assert spread.percentile_ms(nothing, 50) is None


@pytest.mark.filterwarnings("error")  # of equal launches scipy warns
def test_a_quotient_of_two_runs_has_welchs_interval():
    first, second = [1.0, 1.1, 0.95], [2.0, 2.1, 2.3, 1.9]
    found = spread.quotient(spread.of(first), spread.of(second))
    expected = stats.ttest_ind(np.log(first), np.log(second), equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((np.exp(expected.low), np.exp(expected.high)))
    assert found.value == pytest.approx(stats.gmean(first) / stats.gmean(second))
    point = spread.quotient(spread.of([3.0, 3.0]), spread.of([2.0, 2.0]))
    assert (point.value, point.low, point.high) == pytest.approx((1.5, 1.5, 1.5))
    for one, other in (([1.0], second), (first, [1.0])):
        alone = spread.quotient(spread.of(one), spread.of(other))
        assert (alone.low, alone.high) == (None, None)


@pytest.mark.parametrize("values", [[1.0, 0.0], [2.0, -1.0]])
def test_what_took_no_time_has_no_spread(values):
    with pytest.raises(ValueError, match="a spread of no positive values"):
        spread.of(values)


def test_intervals_that_touch_share_that_point():
    low, high = (spread.Spread(1.0, *ends, ()) for ends in ((1.0, 2.0), (2.0, 3.0)))
    assert low.overlaps(high)
    assert high.overlaps(low)

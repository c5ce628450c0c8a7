from dataclasses import replace

import pytest
from lc2fer.benchmarks.judging.validity import judge
from lc2fer.benchmarks.measuring.conditions import Conditions

QUIET = {"threads": 1, "samples_ns": (100,) * 300}


@pytest.fixture
def doubts(samples):
    """What is found in three launches, the last of them changed."""

    def find(**changes):
        launches = [samples.launch(**QUIET)] * 2 + [samples.launch(**{**QUIET, **changes})]
        return judge(launches, samples.MACHINE)

    return find


def conditions(load=0.5, clock=3000.0, throttles=7):
    return Conditions(load, clock, throttles)


@pytest.mark.parametrize(
    ("change", "state", "reason"),
    [
        ({"before": conditions(load=2.1)}, "DEGRADED", "the load average was 2.1 before it, on 2 cores"),
        ({"threads": 3}, "DEGRADED", "it had 3 threads on 2 cores; other work kept 0.1 of 2 cores busy meanwhile"),
        ({"others_cores": 1.4}, "DEGRADED", "other work kept 1.4 of 2 cores busy meanwhile"),
        ({"settled": False}, "DEGRADED", "a warm-up did not become steady"),
        ({"samples_ns": (100,) * 199}, "DEGRADED", "a launch has 199 samples, fewer than 200"),
        ({"samples_ns": (100,) * 29}, "INVALID", "a launch has 29 samples, fewer than 200"),
        ({"inputs": 63}, "DEGRADED", "it rotated over 63 images, fewer than 64"),
        ({"after": conditions(clock=2800.0)}, "DEGRADED", "the clock moved between 2800 and 3000 MHz"),
        ({"after": conditions(throttles=9)}, "INVALID", "the machine throttled 2 times meanwhile"),
        (
            {"samples_ns": (100,) * 150 + (111,) * 100},
            "DEGRADED",
            "its median drifted by +11% from the first third of a launch to the last",
        ),
        (
            {"samples_ns": (100,) * 100 + (40,) * 100},
            "INVALID",
            "its median drifted by -150% from the first third of a launch to the last; the medians of its launches "
            "differ by 43%",
        ),
        ({"samples_ns": (111,) * 200}, "DEGRADED", "the medians of its launches differ by 11%"),
        ({"samples_ns": (151,) * 200}, "INVALID", "the medians of its launches differ by 51%"),
    ],
)
def test_a_row_is_doubted_for_a_reason(doubts, change, state, reason):
    found = doubts(**change)
    assert found.state == state
    assert "; ".join(doubt.what for doubt in found.doubts) == reason


def test_a_row_without_a_doubt(doubts, samples):
    assert doubts().state == "VALID"
    assert doubts(samples_ns=(100,) * 100 + (109,) * 100).doubts == ()
    assert doubts(after=conditions(throttles=None)).doubts == ()  # the counter was gone afterwards
    unknown = Conditions(None, None, None)
    for threads in (1, 2):
        assert doubts(before=unknown, after=unknown, others_cores=None, threads=threads).state == "VALID"


def test_a_drift_needs_three_samples(doubts):
    assert [doubt.what for doubt in doubts(samples_ns=(100, 100)).doubts] == ["a launch has 2 samples, fewer than 200"]
    assert doubts(samples_ns=(100, 100, 200)).doubts[1].what.startswith("its median drifted by +100% from the first")


def test_it_says_what_to_do(samples):
    found = judge([replace(samples.launch(**QUIET), samples_ns=(100,) * 10, settled=False)], samples.MACHINE)
    assert found.text == (
        "a launch has 10 samples, fewer than 200; it has 1 launch, fewer than 3; a warm-up did not become steady. "
        "Raise --runs. Raise --launches. Stop other work and run it again."
    )


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"samples_ns": (100,) * 200, "inputs": 64, "threads": 2, "others_cores": 0.25}, "VALID"),
        ({"before": conditions(load=2.0), "others_cores": 1.25}, "VALID"),
        ({"samples_ns": (100,) * 100 + (110,) * 100}, "VALID"),
        ({"samples_ns": (100,) * 30}, "DEGRADED"),
        ({"samples_ns": (100,) * 160 + (150,) * 120}, "DEGRADED"),
        ({"samples_ns": (150,) * 200}, "DEGRADED"),
        ({"samples_ns": (100, 100)}, "INVALID"),
    ],
)
def test_a_limit_itself_is_within_it(doubts, change, state):
    assert doubts(**change).state == state

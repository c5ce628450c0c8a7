import gc
import time
import types

import numpy as np
import pytest
from lc2fer.benchmarks.measuring import child as measure
from lc2fer.benchmarks.measuring.launch import Images

from lc2fer.inputs import InputSpec, read_image


class Sleeper:
    """A session that takes the next of the given times, in seconds, and keeps what it was given."""

    def __init__(self, *seconds):
        self.seconds = seconds
        self.seen = []
        self.collected = []

    def run(self, batch):
        time.sleep(self.seconds[len(self.seen) % len(self.seconds)])
        self.seen.append(int(batch))
        self.collected.append(gc.isenabled())


INPUTS = [np.array(place) for place in range(3)]


def test_timing_rotates_keeps_outliers_and_rests_the_collector():
    session = Sleeper(0.001, 0.001, 0.001, 0.03)
    durations = measure.timed(session.run, INPUTS, runs=8, seconds=0)
    assert session.seen == [0, 1, 2, 0, 1, 2, 0, 1]
    assert len(durations) == 8
    assert all(duration >= 30_000_000 for duration in durations[3::4])
    assert not any(session.collected)
    assert gc.isenabled()


def test_timing_takes_both_the_runs_and_the_seconds():
    assert len(measure.timed(Sleeper(0).run, INPUTS, runs=500, seconds=0)) == 500
    start = time.perf_counter()
    assert len(measure.timed(Sleeper(0.005).run, INPUTS, runs=1, seconds=0.1)) > 1
    assert time.perf_counter() - start >= 0.1


def test_samples_are_bounded_whatever_is_asked_for(monkeypatch):
    monkeypatch.setattr(measure, "MOST_SAMPLES", 40)
    assert len(measure.timed(Sleeper(0).run, INPUTS, runs=10**9, seconds=1e300)) == 40


def test_timing_stops_at_its_limit():
    assert 1 <= len(measure.timed(Sleeper(0.01).run, INPUTS, runs=1000, seconds=0, limit_s=0.05)) <= 5


@pytest.mark.parametrize(
    ("medians", "steady"), [([], False), ([10], False), ([10, 10.1], True), ([10, 10.3], False), ([9, 10.1, 10], True)]
)
def test_steady_is_two_windows_within_two_percent(medians, steady):
    assert measure.is_steady(medians) is steady


def test_the_warm_up_lasts_until_it_is_steady(monkeypatch):
    windows = iter([[300] * 25, [200] * 25, [150] * 25, [149] * 25])
    monkeypatch.setattr(measure, "timed", lambda *args, **options: next(windows))
    monkeypatch.setattr(measure, "WARM_UP_S", 0)
    durations, settled = measure.warm_up(Sleeper(0).run, INPUTS, 5)
    assert (len(durations), durations[-1], settled) == (100, 149, True)


def test_a_restless_warm_up_ends_at_its_limit(monkeypatch):
    def window(*args, **options):
        time.sleep(0.01)
        window.latency *= 2
        return [window.latency] * 25

    window.latency = 1
    monkeypatch.setattr(measure, "timed", window)
    durations, settled = measure.warm_up(Sleeper(0).run, INPUTS, 0.1)
    assert not settled
    assert len(durations) >= 50


def test_a_batch_is_what_the_input_spec_makes(faces, tmp_path):
    spec = InputSpec(size=8)
    pictures = [read_image(faces / "test" / "3" / f"{place}.png") for place in range(2)]
    np.stack([spec.pixels(picture) for picture in pictures]).tofile(tmp_path / "images.bin")
    for place in range(2):
        batch = measure.batch_of(tmp_path / "images.bin", place, 8)
        assert batch.dtype == np.float32
        assert batch.flags.c_contiguous
        assert np.array_equal(batch[0], spec.apply(pictures[place]))


def test_timed_images_are_spread_over_the_set(tmp_path):
    assert Images(tmp_path, 640, 8).timed == list(range(0, 640, 10))
    assert Images(tmp_path, 10, 8).timed == list(range(10))
    assert len(set(Images(tmp_path, 100, 8).timed)) == 64


def test_preparation_is_outside_the_clock():
    seen = []

    def prepare(number):
        time.sleep(0.02)
        return int(number) + 10

    durations = measure.timed(seen.append, INPUTS, runs=4, seconds=0, prepare=prepare)
    assert seen == [10, 11, 12, 10]
    assert max(durations) < 20_000_000


def test_throughput_is_counted_over_whole_rounds():
    session = Sleeper(0.002)
    runs, elapsed_ns = measure.throughput(session.run, INPUTS, runs=7, seconds=0)
    assert runs == 9
    assert elapsed_ns >= 18_000_000
    assert session.seen == [0, 1, 2] * 3


def test_the_harness_adds_less_than_ten_microseconds_to_a_latency():
    """Of a session that does nothing, the least of many short rounds: what else the machine does only adds to it."""
    rounds = [measure.timed(lambda batch: None, INPUTS, runs=1000, seconds=0) for _ in range(8)]
    assert min(np.median(durations) for durations in rounds) < 10_000


def test_a_frame_is_decoded_prepared_run_and_decided(faces):
    class Session:
        artifact = types.SimpleNamespace(input_spec=InputSpec(size=8))

        def run(self, batch):
            assert (batch.shape, batch.dtype) == ((1, 3, 8, 8), np.float32)
            return np.eye(7, dtype=np.float32)[[int(batch[0, 0].mean() / 32)]]

    frame = measure.framing(Session())
    assert [frame((faces / "test" / str(label + 1) / "0.png").read_bytes()) for label in range(7)] == list(range(7))


def test_a_slowed_run_takes_its_factor_longer():
    run = measure.slowed(lambda given: time.sleep(0.002), 1.5)
    assert np.median(measure.timed(run, [0], runs=20, seconds=0)) >= 3_000_000

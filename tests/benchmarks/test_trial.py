import time

import numpy as np
from lc2fer.benchmarks import trial
from lc2fer.benchmarks.measure import slowed, timed
from lc2fer.benchmarks.spread import of


def test_launches_take_turns(samples):
    started = []

    def start(name, value):
        def launch():
            started.append(name)
            return samples.launch(samples_ns=(value,) * 200)

        return launch

    found = trial.trial(start("a", 100), start("b", 110), 3)
    assert started == ["a", "b", "b", "a", "a", "b"]
    assert found.launches == (1.1, 1.1, 1.1)


def test_verdicts():
    assert trial.alike(of([0.97, 1.0, 1.04]))
    assert not trial.alike(of([1.09, 1.1, 1.11]))
    assert trial.slower(of([1.09, 1.1, 1.11]))
    assert not trial.slower(of([0.97, 1.1, 1.2]))
    assert not trial.alike(of([1.0]))


def test_a_slowed_run_takes_its_factor_longer():
    run = slowed(lambda given: time.sleep(0.002), 1.5)
    assert np.median(timed(run, [0], runs=20, seconds=0)) >= 3_000_000

"""The queue in front of a session: batches that form by themselves, bounds, deadlines, and an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from lc2fer.deploy.serving.waiting import Closed, Full, Late, Queue, Sizes
from numpy.typing import NDArray


class Engine:
    """Answers each image with its first pixel, once it is let."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.begun = threading.Semaphore(0)
        self.batches: list[int] = []
        self.sizes: list[Sizes] = []
        self.fails = False

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        self.begun.release()
        self.batches.append(len(batch))
        assert self.free.wait(10)
        if self.fails:
            raise ValueError("no numbers today")
        return batch[:, 0, 0]


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def queue(engine: Engine) -> Iterator[Queue]:
    made = Queue(engine.run, most=4, capacity=8, tell=engine.sizes.append)
    yield made
    engine.free.set()
    made.close()


def images(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)[:, None, None, None] * np.ones((1, 3, 2, 2), np.float32)


def test_what_comes_meanwhile_is_run_together_and_never_cut(engine: Engine, queue: Queue) -> None:
    first = queue.put(images(1), 10)
    assert engine.begun.acquire(timeout=5)
    others = [queue.put(images(*values), 10) for values in ((2, 3), (4,), (5, 6), (7,))]
    assert queue.images == 6
    engine.free.set()
    assert first.result(5)[:, 0].tolist() == [1]
    assert [future.result(5)[:, 0].tolist() for future in others] == [[2, 3], [4], [5, 6], [7]]
    assert engine.batches == [1, 3, 3]
    assert queue.images == 0
    deadline = time.monotonic() + 5
    while len(engine.sizes) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [(sizes.images, len(sizes.waited_s)) for sizes in engine.sizes] == [(1, 1), (3, 2), (3, 2)]


def test_a_large_request_runs_alone(engine: Engine, queue: Queue) -> None:
    engine.free.set()
    assert queue.put(images(*range(7)), 10).result(5)[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert engine.batches == [7]


def test_where_it_is_full_it_says_when_to_come_again(engine: Engine, queue: Queue) -> None:
    queue.put(images(0), 10)
    assert engine.begun.acquire(timeout=5)
    queue.put(images(*range(8)), 10)
    with pytest.raises(Full) as full:
        queue.put(images(9), 10)
    assert (full.value.waiting, full.value.retry_s) == (8, 1.0)


def test_a_request_that_waited_too_long_is_not_run(engine: Engine, queue: Queue) -> None:
    queue.put(images(0), 10)
    assert engine.begun.acquire(timeout=5)
    late, patient, gone = queue.put(images(1), 0.01), queue.put(images(2), 10), queue.put(images(3), 10)
    assert gone.cancel()
    time.sleep(0.05)
    engine.free.set()
    with pytest.raises(Late):
        late.result(5)
    assert patient.result(5)[:, 0].tolist() == [2]
    assert engine.batches == [1, 1]


def test_a_failure_is_of_its_own_batch(engine: Engine, queue: Queue) -> None:
    engine.fails = True
    engine.free.set()
    with pytest.raises(ValueError, match="no numbers today"):
        queue.put(images(1), 10).result(5)
    engine.fails = False
    assert queue.put(images(2), 10).result(5)[:, 0].tolist() == [2]


def test_at_the_end_what_waits_is_answered_and_nothing_more_is_taken(engine: Engine, queue: Queue) -> None:
    queue.put(images(0), 10)
    assert engine.begun.acquire(timeout=5)
    waiting = queue.put(images(1), 10)
    threading.Timer(0.1, engine.free.set).start()
    queue.close()
    assert waiting.result(0)[:, 0].tolist() == [1]
    with pytest.raises(Closed):
        queue.put(images(2), 10)


def test_an_end_does_not_wait_for_ever(engine: Engine, queue: Queue) -> None:
    queue.put(images(0), 10)
    assert engine.begun.acquire(timeout=5)
    waiting = queue.put(images(1), 10)
    threading.Timer(0.3, engine.free.set).start()
    queue.close(wait_s=0.05)
    with pytest.raises(Closed):
        waiting.result(0)

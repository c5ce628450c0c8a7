"""Requests that wait for a session: bounded, each with its deadline, run together as they come."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Full(Exception):
    """There is no room for the images; `retry_s` seconds from now there may be."""

    def __init__(self, waiting: int, retry_s: float) -> None:
        super().__init__()
        self.waiting = waiting
        self.retry_s = retry_s


class Late(Exception):
    """The deadline passed before the session was free."""


class Closed(Exception):
    """The queue takes nothing any more."""


@dataclass(frozen=True)
class Sizes:
    """What is told of each run of the session: its images, its seconds, and how long each request had waited."""

    images: int
    seconds: float
    waited_s: tuple[float, ...]


@dataclass
class _Waiting:
    pixels: NDArray[np.float32]  # [n,3,H,W]
    deadline: float  # of time.monotonic
    since: float
    answer: Future[NDArray[np.float32]] = field(default_factory=Future)


class Queue:
    """One thread takes what waits, at most `most` images, and runs it as a batch; then what came meanwhile.

    Nothing is waited for: under load batches form by themselves, and alone a request goes at once. A request is never
    cut; one that is larger than `most` runs alone.
    """

    def __init__(self, run: Run, *, most: int, capacity: int, tell: Callable[[Sizes], None]) -> None:
        self.most = most
        self.capacity = capacity  # images that may wait
        self._run = run
        self._tell = tell
        self._waiting: deque[_Waiting] = deque()
        self._images = 0  # that wait
        self._rate = 0.0  # images a second of the last runs; 0: none yet
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    @property
    def images(self) -> int:
        """How many wait."""
        return self._images

    def put(self, pixels: NDArray[np.float32], timeout_s: float) -> Future[NDArray[np.float32]]:
        """Logits [n,classes] of images [n,3,H,W] that a session takes, at some time; raises Full and Closed.

        The answer raises Late where the session was not free within `timeout_s`, Closed where the queue was closed, and
        what the session raised.
        """
        now = time.monotonic()
        asked = _Waiting(pixels, now + timeout_s, now)
        with self._changed:
            if not self._open:
                raise Closed
            if self._images + len(pixels) > self.capacity:
                raise Full(self._images, self._images / self._rate if self._rate else 1.0)
            self._waiting.append(asked)
            self._images += len(pixels)
            self._changed.notify()
        return asked.answer

    def close(self, wait_s: float = 10.0) -> None:
        """Take nothing more, answer what waits, as long as `wait_s` seconds are enough for it, and end the thread."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join(wait_s)
        with self._changed:
            left, self._images = list(self._waiting), 0
            self._waiting.clear()
        for asked in left:
            if asked.answer.set_running_or_notify_cancel():
                asked.answer.set_exception(Closed())
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            start = time.monotonic()
            try:
                logits = self._run(np.concatenate([asked.pixels for asked in batch]))
            except Exception as error:  # is theirs who asked; the next batch may be better
                for asked in batch:
                    asked.answer.set_exception(error)
                continue
            seconds = time.monotonic() - start
            self._rate = len(logits) / max(seconds, 1e-9)
            begin = 0
            for asked in batch:
                asked.answer.set_result(logits[begin : begin + len(asked.pixels)])
                begin += len(asked.pixels)
            self._tell(Sizes(len(logits), seconds, tuple(start - asked.since for asked in batch)))

    def _next(self) -> list[_Waiting]:
        """The next batch; none at the end."""
        batch: list[_Waiting] = []
        images = 0
        with self._changed:
            while not batch:
                self._changed.wait_for(lambda: self._waiting or not self._open)
                if not self._waiting:
                    return []
                now = time.monotonic()
                while self._waiting and (not batch or images + len(self._waiting[0].pixels) <= self.most):
                    asked = self._waiting.popleft()
                    self._images -= len(asked.pixels)
                    if not asked.answer.set_running_or_notify_cancel():
                        continue
                    if now > asked.deadline:
                        asked.answer.set_exception(Late())
                        continue
                    batch.append(asked)
                    images += len(asked.pixels)
        return batch

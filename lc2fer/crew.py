"""Threads that share the images of a batch: each takes the next one as soon as it is free."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Lock

Following = Callable[[], "int | None"]


def places(count: int) -> Following:
    """What gives 0..count-1 one after another, each to one thread alone, and then None."""
    left = deque(range(count))  # whose popleft is one step for all threads

    def following() -> int | None:
        with suppress(IndexError):
            return left.popleft()
        return None

    return following


class Crew:
    """So many threads, started when they first have something to do; of several batches at once, in turn."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._pool: ThreadPoolExecutor | None = None
        self._making = Lock()

    def share(self, work: Callable[[Following], None], count: int) -> None:
        """Let each thread do `work(places(count))`; returns once all have, and raises what one of them raised."""
        following = places(count)
        with self._making:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.size, thread_name_prefix="images")
        done = [self._pool.submit(work, following) for _ in range(min(self.size, count))]
        failures = [each.exception() for each in done]  # all have ended: the caller may have its arrays back
        for failure in failures:
            if failure is not None:
                raise failure

    def close(self) -> None:
        """End the threads, which have nothing to do any more."""
        if self._pool is not None:
            self._pool.shutdown()

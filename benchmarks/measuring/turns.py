"""Latency ratios from models that are open at once and timed in turns of a twentieth of a second.

Two launches that follow each other are seconds apart, and what a machine gives changes within seconds. Here all models
of a comparison live side by side, one of them running at a time: what the machine does, it does to all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from lc2fer.artifact import Artifact

from ..report.document import Samples
from .images import Images
from .launch import Settings, start

ROUNDS = 30
TURN_S = 0.05
LEAD = 5  # runs of a turn before the ones that count: they find their threads asleep and their data out of the caches
FEWEST = 5  # runs of a turn that count
_PATIENCE = (120.0, "a twentieth of a second")  # seconds for a turn, or a phase of a start; what a turn takes


def take_turns(
    contenders: Sequence[tuple[Artifact, Settings]], images: Images, work: Path, *, rounds: int = ROUNDS
) -> tuple[tuple[Samples, ...], ...]:
    """One launch: start a process for each contender, then time them in turn, every other round backwards.

    Returns the samples by round and contender. Raises what a session raises, and WorkerError where a process dies or
    does not answer.
    """
    with ExitStack() as stack:
        workers = []
        for number, (artifact, settings) in enumerate(contenders):
            worker = stack.enter_context(start(artifact, images, settings, work / f"turns-{number}.log", turns=True))
            while worker.answer(*_PATIENCE)["event"] != "ready":
                worker.send({"event": "go"})
            workers.append(worker)
        found = []
        for number in range(rounds):
            turn: list[Samples] = [()] * len(workers)
            for place in range(len(workers)) if number % 2 == 0 else reversed(range(len(workers))):
                workers[place].send({"event": "turn", "runs": LEAD + FEWEST, "seconds": TURN_S})
                turn[place] = tuple(workers[place].answer(*_PATIENCE)["samples_ns"][LEAD:])
            found.append(tuple(turn))
        return tuple(found)

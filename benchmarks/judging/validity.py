"""Whether a row's numbers hold: VALID, DEGRADED (an order of magnitude, not a measurement) or INVALID, and what to do.

Computed from what the report keeps, so that a later version may judge an older run more strictly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..report.document import FEWEST_INPUTS, Launch
from ..report.machine import Machine

VALID, DEGRADED, INVALID = "VALID", "DEGRADED", "INVALID"

FEWEST_LAUNCHES = 3
FEWEST_SAMPLES = 200
USELESS_SAMPLES = 30
DRIFT = 0.10  # relative difference of the first and last third's medians, within a launch
SPREAD = 0.10  # relative difference of the launches' medians
USELESS = 0.50  # the same differences, where the number is not even an order
CLOCK = 0.05  # relative change of the cores' clock
SPARE_LOAD = 0.5  # runnable processes of others, as a share of the cores, that are tolerated
CROWDED = 0.25  # cores that others and the row's threads wanted together beyond what there is


@dataclass(frozen=True)
class Doubt:
    """One reason not to take a row at face value."""

    useless: bool  # INVALID by itself
    what: str
    advice: str


@dataclass(frozen=True)
class Validity:
    """A row's state and its reasons, the worst first."""

    state: str
    doubts: tuple[Doubt, ...]

    @property
    def text(self) -> str:
        """The reasons as one phrase, then what to do, each advice once."""
        advice = dict.fromkeys(doubt.advice for doubt in self.doubts)
        return f"{'; '.join(doubt.what for doubt in self.doubts)}. {' '.join(advice)}"


def judge(launches: Sequence[Launch], machine: Machine) -> Validity:
    """The state of a row's launches on that machine."""
    doubts = sorted(_doubts(launches, machine.usable_cores), key=lambda doubt: not doubt.useless)
    state = INVALID if any(doubt.useless for doubt in doubts) else DEGRADED if doubts else VALID
    return Validity(state, tuple(doubts))


def _doubts(launches: Sequence[Launch], cores: int) -> list[Doubt]:
    longer, quiet = "Raise --runs.", "Stop other work and run it again."
    cool = "Fix the clock (governor, power mode), let the machine cool, and run it again."
    found = []
    if len(launches) < FEWEST_LAUNCHES:
        found.append(
            Doubt(False, f"it has {_of(len(launches), 'launch')}, fewer than {FEWEST_LAUNCHES}", "Raise --launches.")
        )
    samples = min(len(launch.samples_ns) for launch in launches)
    if samples < FEWEST_SAMPLES:
        text = f"a launch has {_of(samples, 'sample')}, fewer than {FEWEST_SAMPLES}"
        found.append(Doubt(samples < USELESS_SAMPLES, text, longer))
    inputs = min(launch.inputs for launch in launches)
    if inputs < FEWEST_INPUTS:
        found.append(
            Doubt(
                False,
                f"it rotated over {_of(inputs, 'image')}, fewer than {FEWEST_INPUTS}",
                "Raise --limit, or give more images.",
            )
        )
    threads = max(launch.threads for launch in launches)
    if threads > cores:
        found.append(Doubt(False, f"it had {threads} threads on {_of(cores, 'core')}", "Lower --threads."))
    if not all(launch.settled for launch in launches):
        found.append(Doubt(False, "a warm-up did not become steady", quiet))
    # The rows before this one may still count with their threads.
    load = max((launch.before.load_average or 0.0 for launch in launches), default=0.0)
    if load > SPARE_LOAD * cores + threads:
        found.append(Doubt(False, f"the load average was {load:.1f} before it, on {_of(cores, 'core')}", quiet))
    others = max((launch.others_cores or 0.0 for launch in launches), default=0.0)
    if others + threads > cores + CROWDED:
        found.append(Doubt(False, f"other work kept {others:.1f} of {_of(cores, 'core')} busy meanwhile", quiet))
    throttled = sum(_gone(launch.before.throttles, launch.after.throttles) for launch in launches)
    if throttled:
        found.append(Doubt(True, f"the machine throttled {throttled} times meanwhile", cool))
    return [*found, *_unsteady(launches, quiet, cool)]


def _unsteady(launches: Sequence[Launch], quiet: str, cool: str) -> list[Doubt]:
    found = []
    clocks = [one.clock_mhz for launch in launches for one in (launch.before, launch.after) if one.clock_mhz]
    if clocks and max(clocks) > (1 + CLOCK) * min(clocks):
        found.append(Doubt(False, f"the clock moved between {min(clocks):.0f} and {max(clocks):.0f} MHz", cool))
    drift = max((_drift(launch.samples_ns) for launch in launches), key=abs, default=0.0)
    if abs(drift) > DRIFT:
        text = f"its median drifted by {drift:+.0%} from the first third of a launch to the last"
        found.append(Doubt(abs(drift) > USELESS, text, quiet))
    medians = [float(np.median(launch.samples_ns)) for launch in launches]
    spread = max(medians) / min(medians) - 1
    if spread > SPREAD:
        found.append(Doubt(spread > USELESS, f"the medians of its launches differ by {spread:.0%}", quiet))
    return found


def _drift(samples: Sequence[int]) -> float:
    """Signed difference of the last and the first third's medians, as a share of the smaller."""
    third = len(samples) // 3
    if third == 0:
        return 0.0
    first, last = float(np.median(samples[:third])), float(np.median(samples[-third:]))
    return (last - first) / min(first, last)


def _gone(before: int | None, after: int | None) -> int:
    return 0 if before is None or after is None else after - before


def _of(count: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("ch") else "s")
    return f"{count} {noun if count == 1 else plural}"

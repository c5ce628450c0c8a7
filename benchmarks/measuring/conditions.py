"""What the machine was doing while a row was timed: clocks, throttling, other work, and energy where it has a meter.

Everything is read from outside the timed process, and what a system does not tell is None, never a guess.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from lc2fer import spokes

from ..report.machine import Conditions
from .machine import load_average

_CPUINFO = Path("/proc/cpuinfo")
_CPUS = Path("/sys/devices/system/cpu")
_HWMON = Path("/sys/class/hwmon")
_POWERCAP = Path("/sys/class/powercap")
_IDLE_S = 0.5
_SAMPLING_S = 0.05


def observe(cores: Sequence[int]) -> Conditions:
    """The machine now, with the clock of those cores."""
    jetson = spokes.board()
    gpu, sensors = (None, {}) if jetson is None else (jetson.gpu_mhz, jetson.temperatures)
    return Conditions(
        load_average(),
        _clock(cores),
        _throttles(),
        None if gpu is None else float(gpu[0]),
        max(sensors.values(), default=None),
    )


def idle_watts() -> float | None:
    """What the package or board takes now, over half a second; None, at once, where there is no meter."""
    meter, start = Meter(), time.monotonic()
    if meter.source is None:
        return None
    while (elapsed := time.monotonic() - start) < _IDLE_S:
        time.sleep(_SAMPLING_S)
        meter.sample()
    joules = meter.joules()
    return None if joules is None else joules / elapsed


def pinned(threads: int) -> tuple[int, ...]:
    """The cores for a row of that many threads, ascending: whole physical ones first, the first core last.

    All that this process may use where there are no more than that; empty where the system does not pin. The kernel
    likes to serve interrupts on the first core.
    """
    if not hasattr(os, "sched_getaffinity"):
        return ()
    groups: dict[str, list[int]] = {}
    for core in sorted(os.sched_getaffinity(0), reverse=True):
        siblings = _read(_CPUS / f"cpu{core}" / "topology" / "thread_siblings_list") or str(core)
        groups.setdefault(siblings, []).append(core)
    depth = max(len(group) for group in groups.values())
    order = [group[level] for level in range(depth) for group in groups.values() if level < len(group)]
    return tuple(sorted(order[:threads]))


class Neighbours:
    """How many cores' worth of work others do, the kernel's and a hypervisor's theft included, from here to `mean`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._start = self._read()

    def mean(self) -> float | None:
        """Cores that others than the process kept busy; None where the system does not tell."""
        end = self._read()
        if self._start is None or end is None or end[0] <= self._start[0]:
            return None
        elapsed, busy, own = (after - before for before, after in zip(self._start, end))
        return max(0.0, (busy - own) / elapsed)

    def _read(self) -> tuple[float, float, float] | None:
        import psutil  # type: ignore[import-untyped]

        try:
            mine = psutil.Process(self._pid).cpu_times()
            whole = psutil.cpu_times()
        except (psutil.Error, OSError):
            return None
        # Linux counts a guest's time in `user` as well.
        idle = ("idle", "iowait", "guest", "guest_nice")
        busy = sum(seconds for name, seconds in whole._asdict().items() if name not in idle)
        return time.monotonic(), busy, mine.user + mine.system


class Meter:
    """Energy from here to `joules`: RAPL's counters of the packages, or a Jetson's rails, sampled.

    What is measured is the whole package or board, other work and idling included.
    """

    def __init__(self) -> None:
        self.source = "rapl" if _packages() else "ina3221" if spokes.watts() else None
        self._counters = _packages()
        self._powers: list[tuple[float, float]] = []  # (seconds, watts)
        self.sample()

    def sample(self) -> None:
        """Take the rails' power now; to be called every 50 ms or so. Counters need no samples."""
        watts = spokes.watts() if self.source == "ina3221" else None
        if watts is not None:
            self._powers.append((time.monotonic(), watts))

    def joules(self) -> float | None:
        """Since the start; None where there is no meter."""
        if self.source == "rapl":
            after = _packages()
            if after.keys() != self._counters.keys():
                return None
            gone = [(after[zone][0] - self._counters[zone][0]) % (after[zone][1] + 1) for zone in after]
            return sum(gone) / 1e6
        self.sample()
        if len(self._powers) < 2:
            return None
        pairs = zip(self._powers, self._powers[1:])
        return sum((later - sooner) * (first + second) / 2 for (sooner, first), (later, second) in pairs)


def _clock(cores: Sequence[int]) -> float | None:
    kilohertz = [_number(_CPUS / f"cpu{core}" / "cpufreq" / "scaling_cur_freq") for core in cores]
    known = [value / 1000 for value in kilohertz if value is not None]
    if not known:
        lines = re.findall(r"^cpu MHz\s*:\s*([0-9.]+)$", _read(_CPUINFO) or "", re.MULTILINE)
        known = [float(lines[core]) for core in cores if core < len(lines)]
    return sum(known) / len(known) if known else None


def _throttles() -> int | None:
    counters = [
        *_CPUS.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"),
        *_HWMON.glob("hwmon*/oc*_event_cnt"),  # a Jetson's over-current events
    ]
    counts = [count for count in map(_number, counters) if count is not None]
    return sum(counts) if counts else None


def _packages() -> dict[str, tuple[int, int]]:
    """RAPL packages: name -> (energy in uJ, where the counter wraps)."""
    found = {}
    for zone in sorted(_POWERCAP.glob("intel-rapl:[0-9]*")):
        energy, wrap = _number(zone / "energy_uj"), _number(zone / "max_energy_range_uj")
        if zone.name.count(":") == 1 and energy is not None and wrap is not None:
            found[zone.name] = energy, wrap
    return found


def _number(path: Path) -> int | None:
    text = _read(path)
    return int(text) if text is not None and text.isdecimal() else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\n\0 ")
    except OSError:
        return None

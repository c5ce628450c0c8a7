"""How many threads an engine gets: what this process may use, and the one refusal of other numbers."""

from __future__ import annotations

import os
from pathlib import Path

from lc2fer.errors import UsageError

_CPUS = Path("/sys/devices/system/cpu")
_QUOTA_V2 = Path("/sys/fs/cgroup/cpu.max")
_QUOTA_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_PERIOD_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def usable_cores() -> int:
    """Logical cores that this process may use: its affinity, and what a container's quota leaves of it, at least 1."""
    allowed = len(_allowed())
    quota = _quota()
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def usual() -> int:
    """What engines take where nothing is asked for: a thread for each usable physical core."""
    siblings = {_read(_CPUS / f"cpu{core}" / "topology" / "thread_siblings_list") or str(core) for core in _allowed()}
    return min(len(siblings), usable_cores())


def check(threads: object) -> None:
    """Raise UsageError unless `threads` is None, or a whole number from 1 to the usable cores."""
    if threads is None:
        return
    most = usable_cores()
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= most:
        wanted = "1" if most == 1 else f"1 to {most}"
        raise UsageError(
            f"{threads!r} threads were asked for. Expected {wanted}, as many as this process has cores. "
            "Pass such a number, or none to leave it to the engine."
        )


def _allowed() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _quota() -> float | None:
    words = (_read(_QUOTA_V2) or f"{_read(_QUOTA_V1)} {_read(_PERIOD_V1)}").split()
    if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal() and int(words[1]) > 0:
        return int(words[0]) / int(words[1])
    return None  # "max", "-1" or no such file


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None

"""Memory of another process, read from outside and phase by phase.

What is counted is PSS, the proportional set size: a page that several processes share counts in parts. Where the system
does not tell it, RSS, which counts shared pages in full; a row says which of them it has. Another process that runs the
same engine at the same time takes its part of the library's pages and so lowers a PSS.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PHASES = ("baseline", "import", "load", "compile", "first", "timed", "steady")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Memory:
    """Bytes in use at the end of each phase, and in `steady` the most that was seen."""

    kind: str | None  # pss | rss | None: this system does not tell
    phases: Mapping[str, int]

    def growth_bytes(self, phase: str) -> int | None:
        """Bytes that a phase had more than the baseline, an interpreter with numpy and the inputs; None if not read."""
        if "baseline" not in self.phases or phase not in self.phases:
            return None
        return self.phases[phase] - self.phases["baseline"]

    def to_json(self) -> dict[str, Any]:
        """The report's form."""
        return {"kind": self.kind, "phases": dict(self.phases)}


@dataclass
class Recorder:
    """Collects one process's memory as it announces its phases."""

    pid: int
    kind: str | None = None
    phases: dict[str, int] = field(default_factory=dict)

    def record(self, phase: str) -> None:
        """Read the process now; a phase that is read several times keeps its highest value."""
        found = read(self.pid)
        if found is None or (self.kind is not None and found[0] != self.kind):
            return  # the process has ended; the two kinds are never mixed in one row
        self.kind = found[0]
        self.phases[phase] = max(found[1], self.phases.get(phase, 0))

    def memory(self) -> Memory:
        return Memory(self.kind, dict(self.phases))


def read(pid: int) -> tuple[str, int] | None:
    """("pss" | "rss", bytes) of a process; None for a process or a system that cannot be read."""
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return "pss", int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        pages = int((_PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1])
        return "rss", pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None

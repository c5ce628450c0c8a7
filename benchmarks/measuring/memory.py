"""Memory of another process, read from outside and phase by phase.

What is counted is PSS, the proportional set size: a page that several processes share counts in parts. Where the system
does not tell it, RSS, which counts shared pages in full; a row says which of them it has. Another process that runs the
same engine at the same time takes its part of the library's pages and so lowers a PSS.

A GPU's memory is counted beside it: of a card, what its driver says that the process holds; of a Jetson, whose GPU and
CPU share theirs, what the whole board has less available, other programs included.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from ..report.machine import Memory

_PROC = Path("/proc")
_JETSON = Path("/etc/nv_tegra_release")
_TIMEOUT_S = 10


@dataclass
class Recorder:
    """Collects one process's memory as it announces its phases."""

    pid: int
    kind: str | None = None
    phases: dict[str, int] = field(default_factory=dict)
    device_kind: str | None = None
    device_phases: dict[str, int] = field(default_factory=dict)

    def record_device(self, phase: str) -> None:
        """Read the GPU's memory now; it takes some time, so only between phases."""
        found = read_device(self.pid)
        if found is not None:
            self.device_kind = found[0]
            self.device_phases[phase] = max(found[1], self.device_phases.get(phase, 0))

    def record(self, phase: str) -> None:
        """Read the process now; a phase that is read several times keeps its highest value."""
        found = read(self.pid)
        if found is None or (self.kind is not None and found[0] != self.kind):
            return  # the process has ended; the two kinds are never mixed in one row
        self.kind = found[0]
        self.phases[phase] = max(found[1], self.phases.get(phase, 0))

    def memory(self) -> Memory:
        return Memory(self.kind, dict(self.phases), self.device_kind, dict(self.device_phases))


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


def read_device(pid: int) -> tuple[str, int] | None:
    """("unified" | "gpu", bytes): what a Jetson has in use, or what a process holds on cards; None without either."""
    if _JETSON.exists():
        try:
            lines = (_PROC / "meminfo").read_text(encoding="ascii").splitlines()
            known = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
            return "unified", (known["MemTotal"] - known["MemAvailable"]) * 1024
        except (OSError, ValueError, IndexError, KeyError):
            return None
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    try:
        query = [command, "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
        listed = subprocess.run(query, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True).stdout
        rows = [line.split(",") for line in listed.splitlines() if line.strip()]
        return "gpu", sum(int(used) for owner, used in rows if int(owner) == pid) * 2**20
    except (OSError, ValueError, subprocess.SubprocessError):
        return None

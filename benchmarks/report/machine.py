"""What a latency was measured on, and what it did meanwhile: the machine, its conditions, a process's memory.

Numbers of two machines are compared only where their identities are equal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lc2fer.errors import MALFORMED, ArtifactError

PHASES = ("baseline", "import", "load", "compile", "first", "timed", "steady")  # of a measured process
_GIB = 1 << 30


@dataclass(frozen=True)
class Machine:
    """A computer and the software on it that a latency depends on."""

    cpu: str
    isa: tuple[str, ...]
    physical_cores: int | None  # None: not readable
    logical_cores: int
    usable_cores: int  # by this process: affinity and container quota
    memory_bytes: int | None
    system: str  # "Linux x86_64"
    kernel: str
    python: str
    engines: Mapping[str, str]  # installed versions
    governor: str | None
    load_average: float | None  # of the last minute, when the run started
    power_mode: str | None = None  # a Jetson's

    @property
    def identity(self) -> str:
        """Hash of what must be equal for latencies to be comparable: all but the load, memory in whole GiB."""
        return hashlib.sha256(json.dumps(self._identifying(), sort_keys=True).encode()).hexdigest()

    def differences(self, other: Machine) -> list[str]:
        """Names of the fields that make two identities differ."""
        mine, theirs = self._identifying(), other._identifying()
        return [name for name in mine if mine[name] != theirs[name]]

    def _identifying(self) -> dict[str, Any]:
        fields = self.to_json()
        del fields["load_average"]
        fields["memory_bytes"] = None if self.memory_bytes is None else round(self.memory_bytes / _GIB)
        return fields

    def to_json(self) -> dict[str, Any]:
        """The report's form."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Machine:
        """The inverse of `to_json`; raises ArtifactError where a field is missing or unknown."""
        try:
            return cls(**{**fields, "isa": tuple(fields["isa"]), "engines": dict(fields["engines"])})
        except MALFORMED as error:
            raise ArtifactError(
                f"The report's machine is damaged ({error}). Expected the fields of Machine. Run lc2fer-bench again."
            ) from None


@dataclass(frozen=True)
class Conditions:
    """The machine at one moment."""

    load_average: float | None  # runnable processes, mean of the last minute
    clock_mhz: float | None  # mean of the cores that the row runs on
    throttles: int | None  # events that lowered a clock since the machine started: heat, current
    gpu_mhz: float | None = None  # a Jetson's
    celsius: float | None = None  # of a Jetson's hottest sensor

    def to_json(self) -> dict[str, Any]:
        """The report's form."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Conditions:
        """The inverse of `to_json`."""
        return cls(**fields)


@dataclass(frozen=True)
class Memory:
    """Bytes in use at the end of each phase, and in `steady` the most that was seen."""

    kind: str | None  # pss | rss | None: this system does not tell
    phases: Mapping[str, int]
    device_kind: str | None = None  # gpu | unified | None: there is no GPU, or it does not tell
    device_phases: Mapping[str, int] = field(default_factory=dict)

    def growth_bytes(self, phase: str) -> int | None:
        """Bytes that a phase had more than the baseline, an interpreter with numpy and the inputs; None if not read."""
        if "baseline" not in self.phases or phase not in self.phases:
            return None
        return self.phases[phase] - self.phases["baseline"]

    def to_json(self) -> dict[str, Any]:
        """The report's form."""
        return {**vars(self), "phases": dict(self.phases), "device_phases": dict(self.device_phases)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Memory:
        """The inverse of `to_json`."""
        return cls(**{**fields, "phases": dict(fields["phases"]), "device_phases": dict(fields["device_phases"])})

    def device_growth_bytes(self, phase: str) -> int | None:
        """The same of the GPU's memory; a process that was not on the GPU at the baseline held nothing there."""
        if phase not in self.device_phases:
            return None
        return self.device_phases[phase] - self.device_phases.get("baseline", 0)

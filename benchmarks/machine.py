"""What a latency was measured on. Numbers of two machines are compared only where their identities are equal."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from lc2fer import board
from lc2fer.errors import ArtifactError

# Instructions that decide which kernels an engine picks, by the names that /proc/cpuinfo gives them.
_X86 = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16")
_ARM = ("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve")
ISA = (*_X86, *_ARM)
PACKAGES = ("torch", "onnxruntime", "openvino", "nncf", "onnx", "tensorrt", "numpy")

_CPUINFO = Path("/proc/cpuinfo")
_BOARD = Path("/proc/device-tree/model")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_QUOTA_V2 = Path("/sys/fs/cgroup/cpu.max")
_QUOTA_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_PERIOD_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
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
        except (KeyError, TypeError) as error:
            raise ArtifactError(
                f"The report's machine is damaged ({error}). Expected the fields of Machine. Run lc2fer-bench again."
            ) from None


def detect() -> Machine:
    """This machine, from the system's files and the packages' metadata: no engine is imported, no device touched."""
    processors, jetson = _processors(), board.detect()
    first = processors[0] if processors else {}
    flags = set((first.get("flags") or first.get("Features") or "").split())
    return Machine(
        cpu=_cpu(first),
        isa=tuple(name for name in ISA if name in flags),
        physical_cores=_physical(processors),
        logical_cores=os.cpu_count() or 1,
        usable_cores=usable_cores(),
        memory_bytes=_memory(),
        system=f"{platform.system()} {platform.machine()}",
        kernel=platform.release(),
        python=platform.python_version(),
        engines=_engines(),
        governor=_text(_GOVERNOR),
        load_average=load_average(),
        power_mode=None if jetson is None else jetson.power_mode,
    )


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and what a container's CPU quota leaves of it, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def load_average() -> float | None:
    """Mean number of runnable processes in the last minute; None where the system does not keep it."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _processors() -> list[dict[str, str]]:
    blocks = (_text(_CPUINFO) or "").split("\n\n")
    pairs = [[line.partition(":") for line in block.splitlines()] for block in blocks if block.strip()]
    return [{name.strip(): value.strip() for name, _, value in block} for block in pairs]


def _cpu(processor: Mapping[str, str]) -> str:
    name = processor.get("model name")
    if name is None:
        return _text(_BOARD) or platform.processor() or platform.machine()
    numbers = [processor.get(key, "?") for key in ("cpu family", "model", "stepping")]
    # Virtual machines hide the product's name; family, model and stepping still tell one core from another.
    return name if numbers == ["?"] * 3 else "{} (family {}, model {}, stepping {})".format(name, *numbers)


def _physical(processors: list[dict[str, str]]) -> int | None:
    cores = {(block.get("physical id"), block.get("core id")) for block in processors if "core id" in block}
    return len(cores) or None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _engines() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _quota() -> float | None:
    words = (_text(_QUOTA_V2) or f"{_text(_QUOTA_V1)} {_text(_PERIOD_V1)}").split()
    if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal() and int(words[1]) > 0:
        return int(words[0]) / int(words[1])
    return None  # "max", "-1" or no such file


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\n\0 ")
    except OSError:
        return None

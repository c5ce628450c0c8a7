"""Detecting this machine from its files and its packages' metadata."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from lc2fer import spokes, threads

from ..report.machine import Machine

# Instructions that decide which kernels an engine picks, by the names that /proc/cpuinfo gives them.
_X86 = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16")
_ARM = ("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve")
ISA = (*_X86, *_ARM)
PACKAGES = ("torch", "onnxruntime", "openvino", "nncf", "onnx", "tensorrt", "numpy")

_CPUINFO = Path("/proc/cpuinfo")
_BOARD = Path("/proc/device-tree/model")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def detect() -> Machine:
    """This machine, from the system's files and the packages' metadata: no engine is imported, no device touched."""
    processors, jetson = _processors(), spokes.board()
    first = processors[0] if processors else {}
    flags = set((first.get("flags") or first.get("Features") or "").split())
    return Machine(
        cpu=_cpu(first),
        isa=tuple(name for name in ISA if name in flags),
        physical_cores=_physical(processors),
        logical_cores=os.cpu_count() or 1,
        usable_cores=threads.usable_cores(),
        memory_bytes=_memory(),
        system=f"{platform.system()} {platform.machine()}",
        kernel=platform.release(),
        python=platform.python_version(),
        engines=_engines(),
        governor=_text(_GOVERNOR),
        load_average=load_average(),
        power_mode=None if jetson is None else jetson.power_mode,
    )


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


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\n\0 ")
    except OSError:
        return None

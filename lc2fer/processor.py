"""What this processor is, and whether its engines' 8-bit products are exact."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

from lc2fer.errors import TargetUnavailable
from lc2fer.targets import KINDS

_CPUINFO = Path("/proc/cpuinfo")
_X86 = ("x86_64", "AMD64")
_VNNI = {"avx512_vnni", "avx_vnni"}


def name() -> str:
    """What this processor calls itself."""
    for line in _cpuinfo():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def features() -> frozenset[str]:
    """The instruction sets that numpy found by asking the processor itself, by numpy's names: "AVX2", "ASIMDDP"."""
    try:
        from numpy._core._multiarray_umath import __cpu_features__ as found  # type: ignore[import-not-found]
    except ImportError:  # numpy 1
        try:
            from numpy.core._multiarray_umath import __cpu_features__ as found  # type: ignore[no-redef]
        except ImportError:
            return frozenset()
    return frozenset(key for key, there in found.items() if there)


def has_exact_products() -> bool:
    """Whether 8-bit products are summed in 32 bits, as on ARM, and on x86 with VNNI.

    x86 without it sums pairs of them in 16 bits, which overflow. /proc/cpuinfo, which an emulator passes on as it is,
    is believed only where the processor agrees with it about AVX-512.
    """
    if platform.machine() not in _X86:
        return True
    flags = next((set(line.partition(":")[2].split()) for line in _cpuinfo() if line.startswith("flags")), set())
    if "avx512f" in flags and "AVX512F" not in features():
        return False
    return bool(flags & _VNNI) or not flags  # no flags: no Linux; the model's own test pictures tell


def check_products(model: str, kind: str) -> None:
    """Raise TargetUnavailable, naming the model's file and the target of its kind to take, where they are not exact."""
    if not has_exact_products():
        raise TargetUnavailable(
            f"{model} cannot be trusted here: {name()} has no VNNI, and without it the engine's sums of 8-bit products "
            f"overflow (C6 falls from 36 to 15 dB). A processor with VNNI, or an ARM one, was expected. Export "
            f"{KINDS[kind].in_float}, or a target that ends in -int8-fused, whose sums are exact everywhere."
        )


def _cpuinfo() -> list[str]:
    try:
        return _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []

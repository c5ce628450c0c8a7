"""The operations of the graph form "fused": C++ for OpenVINO, compiled once by a machine's own compiler and kept."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from importlib import metadata
from pathlib import Path

from lc2fer.data import cache_folder
from lc2fer.errors import TargetUnavailable

HERE = Path(__file__).parent
FLAGS = ("-std=c++17", "-O3", "-march=x86-64-v4", "-mavx512vnni", "-shared", "-fPIC")
NEEDED = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"})  # as /proc/cpuinfo calls them

_CPUINFO = Path("/proc/cpuinfo")


@cache
def library() -> Path:
    """The shared library for this machine's OpenVINO, compiled if it is not there yet (some 10 s).

    Raises TargetUnavailable where the processor lacks an instruction, there is no OpenVINO or no compiler, or it fails.
    """
    missing = NEEDED - _cpu_flags()
    if missing:
        raise _unavailable(
            f"the processor has no {', '.join(sorted(missing))}",
            "AVX-512 with VNNI was expected (Intel Ice Lake, AMD Zen 4 or newer, on Linux)",
        )
    found = importlib.util.find_spec("openvino")
    if found is None or found.origin is None:
        raise _unavailable("there is no OpenVINO", "The package of pip was expected", "Run: pip install openvino")
    root = Path(found.origin).parent
    engine = next(iter(sorted((root / "libs").glob("libopenvino.so*"))), None)
    threads = next(iter(sorted((root / "libs").glob("libtbb.so*"))), None)
    if engine is None or threads is None:
        raise _unavailable(
            f"{root / 'libs'} lacks OpenVINO's or TBB's library",
            "OpenVINO as pip installs it was expected",
            "Run: pip install openvino",
        )
    command = (
        *shlex.split(os.environ.get("CXX", "g++")),
        *FLAGS,
        f"-I{root / 'include'}",
        str(HERE / "operations.cpp"),
        f"-L{root / 'libs'}",
        f"-l:{engine.name}",
        f"-l:{threads.name}",
    )
    sources = [path.read_bytes() for path in (HERE / "kernels.h", HERE / "operations.cpp")]
    key = hashlib.sha256(repr((command, sources, metadata.version("openvino"))).encode()).hexdigest()[:16]
    built = cache_folder() / "fused" / f"{key}.so"
    if not built.is_file():
        _compile(command, built)
    return built


def _compile(command: tuple[str, ...], built: Path) -> None:
    """Under a temporary name first: a process that is killed leaves no half of a library."""
    if shutil.which(command[0]) is None:
        raise _unavailable(
            f"there is no {command[0]}", "A C++17 compiler was expected", "Run: apt-get install g++, or name one in CXX"
        )
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        made = Path(folder) / built.name
        done = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True)
        if done.returncode:
            error = next((line for line in done.stderr.splitlines() if "error" in line), f"exit code {done.returncode}")
            raise _unavailable(
                f"{command[0]} says {error.strip()}",
                "A compiler that knows AVX-512 VNNI was expected (GCC 9, Clang 9 or newer)",
                "Name one in CXX",
            )
        made.replace(built)


def _unavailable(what: str, expected: str, todo: str | None = None) -> TargetUnavailable:
    instead = "export openvino-int8, which runs everywhere"
    return TargetUnavailable(
        f"The fused operations cannot run here: {what}. {expected}. "
        + (f"{todo}, or {instead}." if todo else f"{instead[0].upper()}{instead[1:]}, instead.")
    )


def _cpu_flags() -> frozenset[str]:
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return frozenset()
    return frozenset(next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), ()))

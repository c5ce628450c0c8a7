"""The operations of the graph form "fused", in C++ for OpenVINO and ONNX Runtime.

Each machine compiles them once, with its own compiler, and keeps the library.
"""

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
from types import MappingProxyType

from lc2fer.errors import TargetUnavailable
from lc2fer.storage import cache_folder

HERE = Path(__file__).parent
FLAGS = ("-std=c++17", "-O3", "-march=x86-64-v4", "-mavx512vnni", "-mavx512bf16", "-shared", "-fPIC")
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})
DOMAIN = "lc2fer"  # of the operations in an ONNX graph
KINDS = ("Stem", "Block", "Downsample")
PRODUCTS = MappingProxyType({"fp32": "fp32", "fp16": "bf16", "int8": "int8"})  # precision -> what its products are in
# What each precision needs, as /proc/cpuinfo calls it, and what has it.
NEEDED = MappingProxyType({"fp32": _AVX512, "fp16": _AVX512 | {"avx512_bf16"}, "int8": _AVX512 | {"avx512_vnni"}})
_HAVE_IT = MappingProxyType(
    {
        "fp32": "AVX-512 was expected (Intel Skylake-X, AMD Zen 4 or newer, on Linux)",
        "fp16": "AVX-512 with BF16 was expected (Intel Cooper Lake or Sapphire Rapids, AMD Zen 4 or newer, on Linux)",
        "int8": "AVX-512 with VNNI was expected (Intel Ice Lake, AMD Zen 4 or newer, on Linux)",
    }
)

_CPUINFO = Path("/proc/cpuinfo")


# What runs without them, by engine and precision.
_INSTEAD = MappingProxyType(
    {
        "openvino": {"fp32": "openvino-fp32", "fp16": "openvino-fp16", "int8": "openvino-int8"},
        "onnxruntime": {"fp32": "ort-fp32", "fp16": "onnx-fp16", "int8": "ort-int8"},
    }
)


@cache
def library(engine: str, precision: str) -> Path:
    """The shared library for "openvino" or "onnxruntime", compiled if it is not there yet (some 15 s).

    Raises TargetUnavailable where the processor lacks an instruction that the precision needs, there is no OpenVINO or
    no compiler, or it fails.
    """
    instead = f"export {_INSTEAD[engine][precision]}, which runs everywhere"
    missing = NEEDED[precision] - _cpu_flags()
    if missing:
        raise TargetUnavailable(
            f"The fused operations cannot run here: the processor has no {', '.join(sorted(missing))}. "
            f"{_HAVE_IT[precision]}. {instead[0].upper()}{instead[1:]}, instead."
        )
    try:
        return _built(engine)
    except _Lacking as lacking:
        raise TargetUnavailable(f"The fused operations cannot run here: {lacking}, or {instead}.") from None


class _Lacking(Exception):
    """What a machine lacks to build the library; what was expected; what to do."""


def _built(engine: str) -> Path:
    source = HERE / f"{engine}.cpp"
    command = (*shlex.split(os.environ.get("CXX", "g++")), *FLAGS, str(source))
    against = ""
    if engine == "openvino":
        command, against = (*command, *_openvino()), metadata.version("openvino")
    sources = [path.read_bytes() for path in (*sorted(HERE.glob("*.h")), source)]
    key = hashlib.sha256(repr((command, sources, against)).encode()).hexdigest()[:16]
    built = cache_folder() / "fused" / f"{engine}-{key}.so"
    if not built.is_file():
        _compile(command, built)
    return built


def _openvino() -> tuple[str, ...]:
    """What the compiler has to be told to find OpenVINO's headers and libraries."""
    found = importlib.util.find_spec("openvino")
    if found is None or found.origin is None:
        raise _Lacking("there is no OpenVINO. The package of pip was expected. Run: pip install openvino")
    root = Path(found.origin).parent
    engine = next(iter(sorted((root / "libs").glob("libopenvino.so*"))), None)
    threads = next(iter(sorted((root / "libs").glob("libtbb.so*"))), None)
    if engine is None or threads is None:
        raise _Lacking(
            f"{root / 'libs'} lacks OpenVINO's or TBB's library. OpenVINO as pip installs it was expected. "
            "Run: pip install openvino"
        )
    return f"-I{root / 'include'}", f"-L{root / 'libs'}", f"-l:{engine.name}", f"-l:{threads.name}"


def _compile(command: tuple[str, ...], built: Path) -> None:
    """Under a temporary name first: a process that is killed leaves no half of a library."""
    if shutil.which(command[0]) is None:
        raise _Lacking(
            f"there is no {command[0]}. A C++17 compiler was expected. Run: apt-get install g++, or name one in CXX"
        )
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        made = Path(folder) / built.name
        done = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True)
        if done.returncode:
            error = next((line for line in done.stderr.splitlines() if "error" in line), f"exit code {done.returncode}")
            raise _Lacking(
                f"{command[0]} says {error.strip()}. A compiler that knows AVX-512 was expected (GCC 11, Clang 12 or "
                "newer). Name one in CXX"
            )
        made.replace(built)


def _cpu_flags() -> frozenset[str]:
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return frozenset()
    return frozenset(next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), ()))

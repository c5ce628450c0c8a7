"""Compiles the kernels for this machine, once, and keeps them: an object of all variants, a library an engine."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from importlib import metadata
from pathlib import Path
from threading import Event
from types import MappingProxyType

from lc2fer.errors import UsageError
from lc2fer.storage import cache_folder
from lc2fer.text import remark

HERE = Path(__file__).parent
PREBUILT = HERE / "prebuilt"  # in a wheel for one kind of machine: lc2fer/kernels/wheel.py
ENGINES = MappingProxyType({"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "native": "liblc2fer"})
# A section a function: liblc2fer leaves bfloat16 out.
COMPILE = ("-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections")
# The same bits from every compiler: no product and sum made one rounding unless it is written so.
EXACT = ("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fno-exceptions")
LINK = ("-shared", "-Wl,--no-undefined")
# liblc2fer: its sources, and what it goes without.
NATIVE = ("api.cpp", "network.cpp", "threads.cpp")
BARE = ("-fno-rtti", "-DLC2FER_WITHOUT_BF16")
_AVX512 = ("-march=x86-64-v4", "-mprefer-vector-width=512")
# A machine's variants, each with what its compiler has to be told. dispatch.cpp has them in order.
VARIANTS: MappingProxyType[str, dict[str, tuple[str, ...]]] = MappingProxyType(
    {
        "x86_64": {
            "amx": (*_AVX512, "-mavx512vnni", "-mamx-tile", "-mamx-int8"),
            "avx512bf16": (*_AVX512, "-mavx512bf16"),
            "avx512vnni": (*_AVX512, "-mavx512vnni"),
            "avx512": _AVX512,
            "avxvnni": ("-march=x86-64-v3", "-mavxvnni"),
            "avx2": ("-march=x86-64-v3",),
            "generic": ("-march=x86-64",),
        },
        "aarch64": {
            "i8mm": ("-march=armv8.2-a+dotprod+i8mm",),
            "dotprod": ("-march=armv8.2-a+dotprod",),
            "neon": ("-march=armv8-a",),
        },
    }
)
_ANY: dict[str, tuple[str, ...]] = {"generic": ()}  # of any other machine
# Compilers' words for what no other compiler would have more of.
_NO_ROOM = ("No space left on device", "Disk quota exceeded")
_NO_MEMORY = ("Cannot allocate memory", "out of memory", "Killed signal")
_COMPILE_S, _LINK_S = 64, 3  # of one core, about
_SILENT_S = 15.0  # between two lines that say how far it is
_LOOK_S = 0.1  # between two looks whether a compiler is to go on


class Lacking(Exception):
    """What a machine lacks to have the library; what was expected; what to do."""


@cache
def library(engine: str) -> Path:
    """The library for "openvino" or "onnxruntime", or liblc2fer ("native"); compiled if not there. Raises Lacking."""
    kept = present(engine)
    if kept is not None:
        return kept
    compiler = _compiler()
    name, flags, link = _wanted(engine, compiler)
    _check_compiler(compiler)
    ready = find(_variants_name(compiler, machine())) is not None
    seconds = _LINK_S + (0 if ready else _COMPILE_S // min(_jobs(), 4))
    remark(f"Compiling the kernels for {ENGINES[engine]}, once, about {seconds} s.")
    linked = (*engine_units(engine), str(variants(compiler, machine())))
    with tempfile.TemporaryDirectory(dir=writable()) as work:
        made = Path(work) / name
        run((*compiler, *COMPILE, *flags, *linked, *link, "-o", str(made)))
        return keep(made)


def present(engine: str) -> Path | None:
    """The library that came with the package or was compiled before. Raises Lacking where there can be none."""
    if sys.platform != "linux":
        raise Lacking(f"this is {sys.platform}. Linux was expected. Use a container")
    prebuilt = find(prebuilt_name(engine, machine()), PREBUILT)
    return prebuilt if prebuilt is not None else find(_wanted(engine, _compiler())[0])


def check(engine: str) -> None:
    """Raise Lacking where the library is not there and there is no compiler for it; nothing is compiled."""
    if present(engine) is None:
        _check_compiler(_compiler())


def _wanted(engine: str, compiler: tuple[str, ...]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The name of what that compiler makes, and what it has to be told to compile and to link it."""
    flags, link = engine_flags(engine)
    against = metadata.version("openvino") if engine == "openvino" else ""
    # A home that machines share: an older C library does not load what was linked with a newer one.
    system = platform.libc_ver()
    told = repr((compiler, COMPILE, flags, link, against, system, _variants_name(compiler, machine())))
    return f"{engine}-{key(told, *_engine_sources(engine))}.so", flags, link


def variants(compiler: tuple[str, ...], machine: str) -> Path:
    """One object of all variants of `machine`, which every engine's library is linked with. Raises Lacking."""
    name = _variants_name(compiler, machine)
    kept = find(name)
    if kept is not None:
        return kept
    _check_compiler(compiler)
    with tempfile.TemporaryDirectory(dir=writable()) as work:
        parts = compile_variants(compiler, VARIANTS.get(machine, _ANY), Path(work))
        made = Path(work) / name
        run((*compiler, "-r", "-nostdlib", *map(str, parts), "-o", str(made)))
        return keep(made)


def compile_variants(compiler: tuple[str, ...], flags: dict[str, tuple[str, ...]], folder: Path) -> list[Path]:
    """An object of each variant, by its flags, in `folder`. Raises Lacking."""
    parts = {unit: folder / f"{unit}.o" for unit in flags}
    ended = Event()

    def compile_one(unit: str) -> None:
        source = str(HERE / "variants" / f"{unit}.cpp")
        run((*compiler, *COMPILE, *EXACT, *flags[unit], "-c", source, "-o", str(parts[unit])), ended)

    told = time.monotonic()
    with ThreadPoolExecutor(_jobs()) as pool:
        try:
            waiting = [pool.submit(compile_one, unit) for unit in parts]
            while undone := wait(waiting, _LOOK_S).not_done:  # without an end of it, a signal just before is not heeded
                if time.monotonic() > told + _SILENT_S:
                    told = time.monotonic()
                    remark(f"{len(parts) - len(undone)} of {len(parts)} parts are compiled.")
            for each in waiting:
                each.result()
        except BaseException:
            ended.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return list(parts.values())


def prebuilt_name(engine: str, machine: str) -> str:
    """Of a library that came with the package, from the same sources as these."""
    return f"{engine}-{machine}-{key('', *_engine_sources(engine), *variant_sources())}.so"


def engine_units(engine: str) -> tuple[str, ...]:
    """The sources of an engine's library that are no variant. Raises Lacking."""
    if engine == "native":
        return (*(str(native_folder() / name) for name in NATIVE), str(HERE / "dispatch.cpp"))
    return tuple(str(HERE / name) for name in (f"{engine}.cpp", "dispatch.cpp", "names.cpp"))


def engine_flags(engine: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the compiler is told of them beside COMPILE, and the linker. Raises Lacking."""
    if engine == "native":
        link = (
            f"-Wl,--version-script={native_folder() / 'exports.map'}",
            "-Wl,--gc-sections",
            "-Wl,--as-needed",
            "-pthread",
        )
        version = f'-DLC2FER_VERSION="{metadata.version("lc2fer")}"'
        return (*EXACT, *BARE, version, f"-I{HERE.parent}"), (*LINK, *link, "-static-libgcc")
    own = (*LINK, f"-Wl,--version-script={HERE / 'exports.map'}")
    if engine == "openvino":
        include, libraries = _openvino()
        return include, (*own, *libraries)
    return (), (*own, "-static-libstdc++", "-static-libgcc")


def _jobs() -> int:
    return os.cpu_count() or 1


def machine() -> str:
    """What VARIANTS calls this machine."""
    return platform.machine() if sys.maxsize > 2**32 else "32 bits"


def _engine_sources(engine: str) -> tuple[Path, ...]:
    own = tuple(map(Path, engine_units(engine)))
    if engine == "native":
        return (*own, *sorted(native_folder().glob("*.h")), native_folder() / "exports.map", HERE / "dispatch.h")
    return (*own, *(HERE / name for name in ("dispatch.h", "operations.h", "exports.map")))


@cache
def native_folder() -> Path:
    """The folder of liblc2fer's sources."""
    found = importlib.util.find_spec("lc2fer.native")
    if found is None or not found.submodule_search_locations:
        raise Lacking("this installation has no lc2fer.native. The whole package was expected. Install lc2fer again")
    return Path(found.submodule_search_locations[0])


def variant_sources() -> tuple[Path, ...]:
    """All that variants are compiled from."""
    headers = sorted(path for path in HERE.glob("*.h") if path.name not in {"operations.h", "dispatch.h"})
    return (*headers, *sorted(HERE.glob("isa/*.h")), *sorted(HERE.glob("variants/*.cpp")))


def _variants_name(compiler: tuple[str, ...], machine: str) -> str:
    told = repr((compiler, COMPILE, EXACT, machine, VARIANTS.get(machine, _ANY)))
    return f"variants-{key(told, *variant_sources())}.o"


def key(told: str, *sources: Path) -> str:
    """Part of a name that changes with what a compiler is told and with the sources."""
    digest = hashlib.sha256(told.encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


# -- where they are kept ---------------------------------------------------------------------------------------------


def _folder() -> Path:
    return cache_folder() / "kernels"


def find(name: str, *folders: Path) -> Path | None:
    """What is kept under that name, if it is whole: a file that was cut short, or is another's, is made again."""
    if not folders:
        folders = (_temporary(),) if _temporary.cache_info().currsize else ()
        with contextlib.suppress(UsageError):  # no home
            folders = (*folders, _folder())
    for path in (folder / name for folder in folders):
        try:
            if sum_of(path).read_text(encoding="utf-8") == hashlib.sha256(path.read_bytes()).hexdigest():
                return path
        except (OSError, UnicodeDecodeError):
            continue
    return None


def keep(made: Path) -> Path:
    """Moves it out of its temporary folder: a process that is killed leaves no half of it under its name."""
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    kept = made.parent.parent / made.name
    sum_of(made).write_text(digest, encoding="utf-8")
    made.replace(kept)
    sum_of(made).replace(sum_of(kept))
    return kept


def sum_of(path: Path) -> Path:
    """The file beside it that holds its SHA-256."""
    return path.with_name(f"{path.name}.sha256")


def writable() -> Path:
    """The cache folder; where nothing can be written there, one of this process, with a sentence on stderr."""
    try:
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, UsageError) as error:
        reason = error if isinstance(error, OSError) else "this user has no home directory"
        print(
            f"The compiled kernels cannot be kept: {reason}. A folder that can be written was expected. They are "
            "compiled for this process alone; name a folder in LC2FER_CACHE.",
            file=sys.stderr,
            flush=True,
        )
        return _temporary()


@cache
def _temporary() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lc2fer-kernels-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


# -- the compiler ----------------------------------------------------------------------------------------------------


def _openvino() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the compiler has to be told to find OpenVINO's headers, and its libraries."""
    found = importlib.util.find_spec("openvino")
    if found is None or found.origin is None:
        raise Lacking("there is no OpenVINO. The package of pip was expected. Run: pip install openvino")
    root = Path(found.origin).parent
    libraries = root / "libs"
    engine = next(iter(sorted(libraries.glob("libopenvino.so*"))), None)
    threads = next(iter(sorted(libraries.glob("libtbb.so*"))), None)
    if engine is None or threads is None:
        raise Lacking(
            f"{libraries} lacks OpenVINO's or TBB's library. OpenVINO as pip installs it was expected. "
            "Run: pip install openvino"
        )
    found_at = (f"-L{libraries}", f"-l:{engine.name}", f"-l:{threads.name}", f"-Wl,-rpath,{libraries}")
    return (f"-I{root / 'include'}",), found_at


def _compiler() -> tuple[str, ...]:
    named = os.environ.get("CXX", "")
    try:
        words = tuple(shlex.split(named))
    except ValueError as error:
        reason = str(error).rstrip(".").lower()
        raise Lacking(f"CXX is {named!r} ({reason}). A compiler's command was expected. Correct CXX") from None
    return words or ("g++",)


def _check_compiler(compiler: tuple[str, ...]) -> None:
    if shutil.which(compiler[0]) is None:
        raise Lacking(
            f"there is no {compiler[0]}. A C++17 compiler was expected. Run: apt-get install g++, or name one in CXX"
        )


def _said(compiler: subprocess.Popen[str]) -> str | None:
    """Its errors, once it has ended; None where it goes on."""
    try:
        return compiler.communicate(timeout=_LOOK_S)[1]
    except subprocess.TimeoutExpired:
        return None


def _end(compiler: subprocess.Popen[str]) -> None:
    """With the processes that it started, which are all of its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(compiler.pid, signal.SIGKILL)


def run(command: tuple[str, ...], ended: Event | None = None) -> None:
    """Raises Lacking with the compiler's first error, or where it made nothing, or had no room for it.

    Where somebody sets `ended` the compiler is ended too.
    """
    english = {**os.environ, "LC_ALL": "C"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, errors="replace", env=english, start_new_session=True
    ) as process:
        try:
            while (said := _said(process)) is None:
                if ended is not None and ended.is_set():
                    _end(process)
        except BaseException:
            _end(process)
            raise
    made = Path(command[command.index("-o") + 1])
    if process.returncode == 0 and not made.is_file():
        raise Lacking(f"{command[0]} made no {made.name}. A C++17 compiler was expected. Name one in CXX")
    if any(words in said for words in _NO_ROOM):
        raise Lacking(
            f"the disk of {made.parent.parent} or of {tempfile.gettempdir()} is full. Room for the compiled kernels "
            "was expected. Free some space, name folders of another disk in LC2FER_CACHE and TMPDIR"
        )
    if any(words in said for words in _NO_MEMORY):
        raise Lacking(
            f"{command[0]} ran out of memory. Room for {_jobs()} compilers at once was expected. End other programs"
        )
    if process.returncode:
        error = next((line for line in said.splitlines() if "error" in line), f"exit code {process.returncode}")
        raise Lacking(
            f"{command[0]} says {error.strip()}. A C++17 compiler that knows this machine was expected (GCC 11, "
            "Clang 12 or newer). Name one in CXX"
        )

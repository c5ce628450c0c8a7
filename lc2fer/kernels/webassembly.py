"""The kernels for a browser: a WebAssembly module of some 180 KB, the same for every machine, compiled once and kept.

native/browser.cpp is what it offers to a page. The compiler is that of the package ziglang, as for the wheels, which
bring the module.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from functools import cache
from pathlib import Path

from lc2fer.kernels import build
from lc2fer.text import remark

_TARGET = ("-target", "wasm32-wasi", "-mcpu=generic+simd128+relaxed_simd")
_SECTIONS = ("-ffunction-sections", "-fdata-sections")
_COMPILE = ("-std=c++17", "-O2", "-fvisibility=hidden", "-fno-threadsafe-statics", *_SECTIONS)
_STACK_BYTES = 1 << 20  # kernels take up to 600 KB
# Without an entry, and without C++'s own library, which zig cannot compile for a target that has no threads.
_LINK = ("-mexec-model=reactor", "-Wl,--gc-sections", f"-Wl,-z,stack-size={_STACK_BYTES}", "-s")
_ABOUT_S = 10  # of one core


def check() -> None:
    """Raise build.Lacking where module() would for want of a compiler; nothing is compiled."""
    if _kept() is None and importlib.util.find_spec("ziglang") is None:
        raise build.Lacking(
            "there is no ziglang. The package with zig's compiler was expected. Run: pip install ziglang"
        )


@cache
def module() -> Path:
    """The module as this package brought it or zig makes it.

    Raises build.Lacking where there is no zig, or it refuses.
    """
    check()
    kept = _kept()
    if kept is not None:
        return kept
    remark(f"Compiling the kernels for browsers, once, about {_ABOUT_S} s.")
    zig = (sys.executable, "-m", "ziglang")
    told = (*_TARGET, *_COMPILE, *build.EXACT, *build.BARE, f"-I{build.HERE.parent}")
    with tempfile.TemporaryDirectory(dir=build.writable()) as work:
        parts = {unit: str(Path(work) / f"{unit.stem}.o") for unit in _units()}
        for unit, part in parts.items():
            build.run((*zig, "c++", *told, "-c", str(unit), "-o", part))
        made = Path(work) / _name()
        build.run((*zig, "cc", *_TARGET, *_LINK, *parts.values(), "-o", str(made)))
        return build.keep(made)


def _kept() -> Path | None:
    return build.find(_name(), build.PREBUILT) or build.find(_name())


def _name() -> str:
    told = repr((_TARGET, _COMPILE, build.EXACT, build.BARE, _LINK))
    headers = (*sorted(build.native_folder().glob("*.h")), build.HERE / "dispatch.h")
    return f"browser-{build.key(told, *_units(), *headers, *build.variant_sources())}.wasm"


def _units() -> tuple[Path, ...]:
    own = (build.native_folder() / name for name in ("browser.cpp", "network.cpp"))
    return (*own, build.HERE / "dispatch.cpp", build.HERE / "variants" / "wasm.cpp")

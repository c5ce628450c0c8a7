"""Adds liblc2fer, ONNX Runtime's library and the browser's module to the pure wheel.

    python -m lc2fer.kernels.wheel dist/lc2fer-0.1.0-py3-none-any.whl

Gives a wheel a machine, beside the pure one. OpenVINO's library follows OpenVINO's releases and stays to be compiled
where it runs. The compiler is that of the package ziglang, which compiles for every machine and, unlike a system's own,
links against a C library as old as manylinux_2_28 has it.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import io
import sys
import tempfile
import zipfile
from pathlib import Path

from lc2fer.kernels import build, webassembly
from lc2fer.text import remark

GLIBC = "2.28"
ENGINES = ("onnxruntime", "native")
PLACE = f"lc2fer/kernels/{build.PREBUILT.name}"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip knows no earlier time


def add(wheel: Path, machine: str, *more: Path) -> Path:
    """Write the wheel for "x86_64" or "aarch64" beside the pure one, with `more` files: the same bytes of the same.

    Raises build.Lacking where there is no zig, or it refuses.
    """
    tag = f"manylinux_{GLIBC.replace('.', '_')}_{machine}"
    made = wheel.with_name(wheel.name.replace("-none-any.whl", f"-none-{tag}.whl"))
    contents = {build.prebuilt_name(engine, machine): library_for(engine, machine).read_bytes() for engine in ENGINES}
    contents |= {path.name: path.read_bytes() for path in more}
    with zipfile.ZipFile(wheel) as pure:
        files = {entry: pure.read(entry) for entry in pure.namelist() if not entry.startswith(f"{PLACE}/")}
    info = next(entry.split("/")[0] for entry in files if entry.endswith(".dist-info/WHEEL"))
    for name, content in contents.items():
        files[f"{PLACE}/{name}"] = content
        files[f"{PLACE}/{name}.sha256"] = hashlib.sha256(content).hexdigest().encode()
    told = files[f"{info}/WHEEL"].decode()
    told = told.replace("Root-Is-Purelib: true", "Root-Is-Purelib: false").replace("py3-none-any", f"py3-none-{tag}")
    files[f"{info}/WHEEL"] = told.encode()
    del files[f"{info}/RECORD"]
    rows = io.StringIO()
    write = csv.writer(rows, lineterminator="\n").writerow
    for entry, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        write((entry, f"sha256={digest}", len(content)))
    write((f"{info}/RECORD", "", ""))
    files[f"{info}/RECORD"] = rows.getvalue().encode()
    with zipfile.ZipFile(made, "w") as archive:
        for entry, content in files.items():
            kept = zipfile.ZipInfo(entry, _EPOCH)
            kept.compress_type = zipfile.ZIP_DEFLATED
            kept.external_attr = 0o644 << 16
            archive.writestr(kept, content)
    return made


def library_for(engine: str, machine: str) -> Path:
    """The library of one of ENGINES as this package brought it or zig makes it, some minutes once: the cache keeps it.

    Raises build.Lacking where there is no zig, or it refuses.
    """
    name = build.prebuilt_name(engine, machine)
    kept = build.find(name, build.PREBUILT) or build.find(f"zig-{name}")
    if kept is not None:
        return kept
    if importlib.util.find_spec("ziglang") is None:
        raise build.Lacking(
            "there is no ziglang. The package with zig's compiler was expected. Run: pip install ziglang"
        )
    compiler = (sys.executable, "-m", "ziglang", "c++", "-target", f"{machine}-linux-gnu.{GLIBC}")
    flags = {variant: tuple(map(_as_zig_says, told)) for variant, told in build.VARIANTS[machine].items()}
    remark(f"Compiling the kernels for {machine}, once, which takes some minutes.")
    with tempfile.TemporaryDirectory(dir=build.writable()) as work:
        objects = [str(path) for path in build.compile_variants(compiler, flags, Path(work))]
        made = {each: Path(work) / f"zig-{build.prebuilt_name(each, machine)}" for each in ENGINES}
        for each, path in made.items():
            told, link = build.engine_flags(each)
            units = build.engine_units(each)
            build.run((*compiler, *build.COMPILE, *told, *units, *objects, *link, "-s", "-o", str(path)))
        return {each: build.keep(path) for each, path in made.items()}[engine]


def _as_zig_says(flag: str) -> str:
    """Zig names processors and what they have in one: -mcpu=x86_64_v4, -mcpu=generic+dotprod."""
    name, found, processor = flag.partition("-march=")
    if name or not found:
        return flag
    family, *features = processor.split("+")
    return f"-mcpu={'+'.join(('generic' if family.startswith('armv8') else family.replace('-', '_'), *features))}"


def main(pure: Path) -> None:
    """Write a wheel for each machine and print its path; exits with a sentence where there is no compiler."""
    try:
        for machine in build.VARIANTS:
            print(add(pure, machine, webassembly.module()))
    except build.Lacking as lacking:
        sys.exit(f"The library cannot be compiled: {lacking}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

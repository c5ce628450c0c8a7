"""Adds ONNX Runtime's library to the pure wheel: python -m lc2fer.kernels.wheel dist/lc2fer-0.1.0-py3-none-any.whl

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

from lc2fer.kernels import build

GLIBC = "2.28"
PLACE = f"lc2fer/kernels/{build.PREBUILT.name}"


def add(wheel: Path, machine: str, compiler: tuple[str, ...] = (sys.executable, "-m", "ziglang", "c++")) -> Path:
    """Write the wheel for "x86_64" or "aarch64" beside the pure one. Raises build.Lacking where zig refuses."""
    tag = f"manylinux_{GLIBC.replace('.', '_')}_{machine}"
    made = wheel.with_name(wheel.name.replace("-none-any.whl", f"-none-{tag}.whl"))
    with tempfile.TemporaryDirectory() as work:
        library = _library((*compiler, "-target", f"{machine}-linux-gnu.{GLIBC}"), machine, Path(work)).read_bytes()
    name = f"{PLACE}/{build.prebuilt_name('onnxruntime', machine)}"
    with zipfile.ZipFile(wheel) as pure:
        files = {entry: pure.read(entry) for entry in pure.namelist()}
    info = next(entry.split("/")[0] for entry in files if entry.endswith(".dist-info/WHEEL"))
    files[name] = library
    files[f"{name}.sha256"] = hashlib.sha256(library).hexdigest().encode()
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
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in files.items():
            archive.writestr(entry, content)
    return made


def _library(compiler: tuple[str, ...], machine: str, folder: Path) -> Path:
    flags = {name: tuple(map(_as_zig_says, told)) for name, told in build.VARIANTS[machine].items()}
    objects = build.compile_variants(compiler, flags, folder)
    made = folder / "library.so"
    sources = (str(build.HERE / name) for name in ("onnxruntime.cpp", "dispatch.cpp"))
    build.run((*compiler, *build.COMPILE, *sources, *map(str, objects), *build.LINK, "-s", "-o", str(made)))
    return made


def _as_zig_says(flag: str) -> str:
    """Zig names processors and what they have in one: -mcpu=x86_64_v4, -mcpu=generic+dotprod."""
    name, found, processor = flag.partition("-march=")
    if name or not found:
        return flag
    family, *features = processor.split("+")
    return f"-mcpu={'+'.join(('generic' if family.startswith('armv8') else family.replace('-', '_'), *features))}"


def main(pure: Path) -> None:
    """Write a wheel for each machine and print its path; exits with a sentence where there is no compiler."""
    if importlib.util.find_spec("ziglang") is None:
        sys.exit("There is no ziglang. The package with zig's compiler was expected. Run: pip install ziglang")
    try:
        for machine in build.VARIANTS:
            print(add(pure, machine))
    except build.Lacking as lacking:
        sys.exit(f"The library cannot be compiled: {lacking}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

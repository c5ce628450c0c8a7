"""The wheel that a bundle carries: this installation's own code without the weights, the same bytes every time."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path

from lc2fer.errors import TargetUnavailable
from lc2fer.kernels import build
from lc2fer.kernels import wheel as kernels

# An editable installation has each of these in a folder of its own, any other one all of them inside the first.
_ROOTS = ("lc2fer", "lc2fer.export", "lc2fer.benchmarks", "lc2fer.deploy", "lc2fer.native")
_LEFT_OUT = {"__pycache__", "weights", build.PREBUILT.name}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip knows no earlier time


def write_all(folder: Path) -> list[str]:
    """The wheel, and one a machine that brings our operations compiled; what kept one of these from being made."""
    pure, notes = write(folder), []
    for machine in build.VARIANTS:
        try:
            kernels.add(pure, machine)
        except build.Lacking as lacking:
            notes.append(
                f"The bundle has no wheel with the kernels compiled for {machine}: {lacking}, and make it again. As it "
                "is, such a device needs a C++ compiler for the -fused models."
            )
    return notes


def write_library(folder: Path) -> list[str]:
    """liblc2fer for 64-bit ARM, and its header, for programs in C; what kept it from being made."""
    try:
        library = kernels.library_for("native", "aarch64")
    except build.Lacking as lacking:
        return [f"The bundle has no liblc2fer for aarch64: {lacking}, and make it again."]
    (folder / "liblc2fer-aarch64.so").write_bytes(library.read_bytes())
    (folder / "lc2fer.h").write_bytes((resources.files("lc2fer.native") / "lc2fer.h").read_bytes())
    return []


def write(folder: Path) -> Path:
    """Write `lc2fer-<version>-py3-none-any.whl` (the format of PEP 427) and return its path."""
    distribution = metadata.distribution("lc2fer")
    info = f"lc2fer-{distribution.version}.dist-info"
    files = dict(_sources())
    files[f"{info}/METADATA"] = (
        distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    ).encode()
    files[f"{info}/entry_points.txt"] = (distribution.read_text("entry_points.txt") or "").encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: lc2fer\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in sorted(files.items())]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"lc2fer-{distribution.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return path


def _sources() -> list[tuple[str, bytes]]:
    found = []
    for package in _ROOTS:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise TargetUnavailable(
                f"This installation has no {package}. A bundle carries the whole package. Install lc2fer again."
            )
        inside = package.replace(".", "/")
        found += [(f"{inside}/{name}", content) for name, content in _files(Path(spec.submodule_search_locations[0]))]
    return found


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Modules and data of a package and of all that is inside it."""
    for path in sorted(folder.iterdir()):
        if path.name in _LEFT_OUT:
            continue
        if path.is_file():
            yield path.name, path.read_bytes()
        else:
            yield from ((f"{path.name}/{name}", content) for name, content in _files(path))


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()

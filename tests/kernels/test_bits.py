"""The kernels give the same bits on every processor, for every number of threads and from every compiler."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from lc2fer.kernels import build

HARNESS = Path(__file__).with_name("harness.cpp")
# Of all outputs of harness.cpp. They change where a change means to compute something else, and nowhere else.
BITS = {"int8": "61c5344f0c1a4fcd", "bf16": "67baa941ce671317", "fp32": "31fce1797801a5c6"}
CROSS = "aarch64-linux-gnu-g++"
NATIVE = build.machine()

# What a processor has, or QEMU's picture of it: the variants that have to have run there.
EMULATED = {
    ("x86_64", "Haswell"): {"avx2", "generic"},
    ("x86_64", "Nehalem"): {"generic"},
    ("aarch64", "cortex-a53"): {"neon"},
    ("aarch64", "cortex-a76"): {"dotprod", "neon"},
    ("aarch64", "max"): {"i8mm", "dotprod", "neon"},
}


@cache
def variants(compiler: str, machine: str) -> Path:
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler} here")
    return build.variants((compiler,), machine)


@pytest.fixture(scope="session")
def harness(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Builds it with a compiler for a machine, each once; linked statically, so that QEMU needs no other library."""

    @cache
    def built(compiler: str, machine: str) -> Path:
        objects = variants(compiler, machine)
        made = tmp_path_factory.mktemp("harness") / "harness"
        sources = (str(HARNESS), str(build.HERE / "dispatch.cpp"), str(objects))
        subprocess.run([compiler, "-std=c++17", "-O1", *sources, "-static", "-pthread", "-o", str(made)], check=True)
        return made

    return built


def compiler_for(machine: str) -> str:
    return "g++" if machine == NATIVE else CROSS


def check(command: list[str], threads: list[int], expected: set[str]) -> None:
    """Every line is one of BITS; every variant has run with every number of threads."""
    done = subprocess.run([*command, *map(str, threads)], capture_output=True, text=True, check=True)
    found = [line.split() for line in done.stdout.splitlines()]
    assert {(precision, bits) for precision, _, _, bits in found} == set(BITS.items()), done.stdout
    assert {(variant, int(count)) for _, variant, count, _ in found} == {(v, t) for v in expected for t in threads}


def test_here(harness: object) -> None:
    """With GCC; with Clang, which takes a minute and a half: tests/kernels/table.py."""
    program = harness("g++", NATIVE)  # type: ignore[operator]
    able = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    assert able[-1] in {"generic", "neon"}
    check([str(program)], [1, 2, 3], set(able))


@pytest.mark.parametrize(("machine", "cpu"), EMULATED)
def test_elsewhere(machine: str, cpu: str, harness: object) -> None:
    emulator = f"qemu-{machine}"
    if shutil.which(emulator) is None:
        pytest.skip(f"there is no {emulator} here")
    program = harness(compiler_for(machine), machine)  # type: ignore[operator]
    check([emulator, "-cpu", cpu, str(program), "brief"], [2], EMULATED[machine, cpu])


@pytest.mark.parametrize("machine", build.VARIANTS)
def test_a_variant_needs_the_c_library_alone(machine: str) -> None:
    """A weak symbol would be one for which the linker takes any variant's code: AVX-512 on a processor without it."""
    if shutil.which("nm") is None:
        pytest.skip("there is no nm here")
    listed = subprocess.run(
        ["nm", str(variants(compiler_for(machine), machine))], capture_output=True, text=True, check=True
    )
    symbols = [line.split()[-2:] for line in listed.stdout.splitlines()]
    assert not [name for kind, name in symbols if kind in "WwVvu"]
    assert {name for kind, name in symbols if kind == "U"} <= {"memcpy", "memset", "_GLOBAL_OFFSET_TABLE_"}
    defined = {name for kind, name in symbols if kind.isupper() and kind != "U"}
    tables = {name for name in defined if re.fullmatch(r"_ZN6lc2fer\d+[a-z0-9]+_(int8|bf16|fp32)E", name)}
    shared = {name for name in defined if re.fullmatch(r"_ZN6lc2fer\d+[a-z0-9]+_depthwiseE\w+", name)}
    assert defined == tables | shared
    assert {re.sub(r"^_ZN6lc2fer\d+|_\w+E$", "", name) for name in tables} == set(build.VARIANTS[machine])

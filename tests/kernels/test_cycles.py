"""What the inner loops cost on processors that are not here, by LLVM's model of them.

A model knows ports and latencies, and nothing of caches: its cycles show that a change made a loop worse.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache

import pytest

from lc2fer.kernels import build

COMPILERS = {"x86_64": "g++", "aarch64": "aarch64-linux-gnu-g++"}
# A variant's opcode, how many of it a pass through the loop has, a processor, and its cycles a pass with GCC 12.2.
LOOPS = [
    ("aarch64", "dotprod", "sdot", 64, "neoverse-n1", 32.2),
    ("aarch64", "dotprod", "sdot", 64, "cortex-a55", 99.1),
    ("aarch64", "neon", "fmla", 56, "neoverse-n1", 57.3),  # eight pixels of the depthwise convolution
    ("aarch64", "neon", "fmla", 56, "cortex-a55", 65.1),
    ("aarch64", "i8mm", "smmla", 16, "neoverse-n2", 16.2),
    ("aarch64", "neon", "smull", 16, "cortex-a72", 37.2),
    ("aarch64", "neon", "fmla", 64, "neoverse-n1", 71.2),
    ("x86_64", "avxvnni", "vpdpbusd", 12, "alderlake", 7.2),
    ("x86_64", "avx2", "vpmaddwd", 12, "haswell", 12.2),
]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], str]:
    """The compiler's output for a variant, each once."""

    @cache
    def compiled(machine: str, variant: str) -> str:
        compiler = COMPILERS[machine]
        for tool in (compiler, "llvm-mca"):
            if shutil.which(tool) is None:
                pytest.skip(f"there is no {tool} here")
        version = subprocess.run([compiler, "-dumpfullversion"], capture_output=True, text=True, check=True).stdout
        if not version.startswith("12."):
            pytest.skip("the cycles are those of GCC 12")
        flags = (*build.COMPILE, *build.EXACT, *build.VARIANTS[machine][variant])
        source, made = build.HERE / "variants" / f"{variant}.cpp", tmp_path_factory.mktemp("listing") / "listing.s"
        subprocess.run([compiler, *flags, "-S", str(source), "-o", str(made)], check=True)
        return made.read_text()

    return compiled


@pytest.mark.parametrize(("machine", "variant", "opcode", "count", "cpu", "cycles"), LOOPS)
def test_a_loop_costs_no_more_than_it_did(
    machine: str, variant: str, opcode: str, count: int, cpu: str, cycles: float, listing: Callable[[str, str], str]
) -> None:
    loops = [loop for loop in loops_of(listing(machine, variant)) if has(loop, opcode) == count]
    assert loops, f"no loop with {count} {opcode}"
    found = max(cycles_of(loop, machine, cpu) for loop in loops)
    assert found <= 1.03 * cycles, f"{found} cycles of {cpu}, {cycles} before"


def loops_of(listing: str) -> list[list[str]]:
    """The instructions of each innermost loop: between a label and a jump back to it."""
    loops: list[list[str]] = []
    label, body = "", []
    for line in listing.splitlines():
        named = re.match(r"(\.L\w+):", line)
        if named:
            label, body = named[1], []
        elif re.match(r"\s+[a-z{]", line):
            body.append(line)
            if label and re.search(rf"^\s+(b[.\w]*|j\w+|cbn?z|tbn?z)\s.*{re.escape(label)}\b", line):
                loops.append(list(body))
    return loops


def has(loop: list[str], opcode: str) -> int:
    return sum(re.search(rf"^\s+(\{{vex\}} )?{opcode}\s", line) is not None for line in loop)


def cycles_of(loop: list[str], machine: str, cpu: str) -> float:
    target = ["-mtriple=aarch64", "-mattr=+dotprod,+i8mm"] if machine == "aarch64" else ["-mtriple=x86_64"]
    told = ["llvm-mca", *target, f"-mcpu={cpu}", "-iterations=100", "-"]
    done = subprocess.run(told, input="\n".join(loop), capture_output=True, text=True, check=True)
    total = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    assert total is not None, done.stdout
    return int(total[1]) / 100

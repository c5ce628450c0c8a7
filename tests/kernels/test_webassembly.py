"""The browser's module: where it comes from, and what is said where it cannot be had."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lc2fer.kernels import build, webassembly


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An installation that brought no module, with an empty cache."""
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "PREBUILT", tmp_path / "prebuilt")
    webassembly.module.cache_clear()
    yield
    webassembly.module.cache_clear()


def without_zig(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ziglang" else find(name))


def test_without_zig(monkeypatch: pytest.MonkeyPatch) -> None:
    without_zig(monkeypatch)
    for call in (webassembly.check, webassembly.module):
        with pytest.raises(build.Lacking) as lacking:
            call()
        assert str(lacking.value) == (
            "there is no ziglang. The package with zig's compiler was expected. Run: pip install ziglang"
        )


def test_a_wheels_module_is_taken_if_it_is_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_zig(monkeypatch)
    brought = tmp_path / "prebuilt" / webassembly._name()
    brought.parent.mkdir()
    brought.write_bytes(b"\0asm")
    build.sum_of(brought).write_text(hashlib.sha256(b"\0asm").hexdigest())
    assert webassembly.module() == brought
    brought.write_bytes(b"\0as")
    webassembly.module.cache_clear()
    with pytest.raises(build.Lacking):
        webassembly.module()


def test_node_takes_the_module_without_anything_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """It imports nothing, so a page gives it nothing but what it calls with."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node here")
    monkeypatch.undo()  # the one that other tests use
    try:
        module = webassembly.module()
    except build.Lacking as lacking:
        pytest.skip(str(lacking))
    program = """
const { Module } = WebAssembly;
const module = new Module(require("fs").readFileSync(process.argv[1]));
console.log(Module.imports(module).length, Module.exports(module).map(({ name }) => name).join());
"""
    asked = [node, "--experimental-wasm-relaxed-simd", "-e", program, str(module)]  # which Node 20 wants
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    if done.returncode != 0 and ("bad option" in done.stderr or "relaxed" in done.stderr):
        pytest.skip("this node has no relaxed SIMD")
    assert done.stdout.split() == [
        "0",
        "memory,_initialize,take,able,cpu,open,failure,size,classes,instructions,run",
    ], done.stderr

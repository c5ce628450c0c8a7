"""liblc2fer as Python finds it, and a small model for it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_lc2
from lc2fer.deploy.sessions import native

from lc2fer import kernels
from lc2fer.errors import TargetUnavailable


@pytest.fixture(autouse=True)
def no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LC2FER_CPU", raising=False)


@pytest.fixture(scope="session")
def library() -> Path:
    """The library's file; skips where it cannot be had."""
    try:
        return kernels.library("native", "int8")
    except TargetUnavailable as unavailable:
        pytest.skip(str(unavailable))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of some kilobytes."""
    path = tmp_path_factory.mktemp("model") / "tiny.lc2"
    path.write_bytes(tiny_lc2.contents())
    return path


@pytest.fixture(scope="session")
def answer(library: Path) -> Callable[[bytes], str]:
    """What lc2fer_open_memory says of bytes: "" where it takes them."""
    its = native._library(library)
    its.lc2fer_open_memory.restype = ctypes.c_void_p
    its.lc2fer_open_memory.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p]

    def opened(content: bytes) -> str:
        error = native._Error()
        found = its.lc2fer_open_memory(content, len(content), None, ctypes.byref(error))
        assert (found is None) == (error.status != 0)
        its.lc2fer_close(found)
        text: str = error.text.decode()
        return text

    return opened

"""The library that a machine compiles for itself: once, kept, found damaged, and what it needs."""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lc2fer import cli, kernels
from lc2fer.errors import TargetUnavailable
from lc2fer.kernels import build
from lc2fer.storage import cache_folder


@pytest.fixture(autouse=True)
def no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LC2FER_CPU", raising=False)


@pytest.fixture
def anew() -> Iterator[None]:
    """What was found out about this machine is forgotten, before and after."""
    build.library.cache_clear()
    build._temporary.cache_clear()
    yield
    build.library.cache_clear()
    build._temporary.cache_clear()


@pytest.mark.parametrize(
    ("compiler", "text"),
    [
        (
            "no-such-compiler",
            "The fused operations cannot run here: there is no no-such-compiler. A C++17 compiler was expected. Run: "
            "apt-get install g++, or name one in CXX, or export openvino-int8, which runs without them.",
        ),
        (
            "false",
            "The fused operations cannot run here: false says exit code 1. A C++17 compiler that knows this machine "
            "was expected (GCC 11, Clang 12 or newer). Name one in CXX, or export openvino-int8, which runs "
            "without them.",
        ),
        (
            '"x',
            "The fused operations cannot run here: CXX is '\"x' (no closing quotation). A compiler's command was "
            "expected. Correct CXX, or export openvino-int8, which runs without them.",
        ),
        (
            "true",
            "The fused operations cannot run here: true made no {first}.o. A C++17 compiler was expected. Name one in "
            "CXX, or export openvino-int8, which runs without them.",
        ),
    ],
)
def test_no_compiler(compiler: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anew: None) -> None:
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path))
    with pytest.raises(TargetUnavailable) as raised:
        kernels.library("openvino", "int8")
    assert str(raised.value) == text.format(first=next(iter(build.VARIANTS.get(build.machine(), build._ANY))))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("named", ["", " "])
def test_an_empty_name_of_a_compiler_is_none(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", named)
    assert build._compiler() == ("g++",)


@pytest.mark.parametrize(("engine", "instead"), [("openvino", "openvino-fp32"), ("onnxruntime", "ort-fp32")])
def test_a_processor_whose_own_sums_overflow_is_sent_to_floats(
    engine: str, instead: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, anew: None
) -> None:
    """There the other INT8 target is refused, and would send back to this one."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path))
    monkeypatch.setattr(kernels, "has_exact_products", lambda: False)
    with pytest.raises(TargetUnavailable) as raised:
        kernels.library(engine, "int8")
    assert str(raised.value).endswith(f"or name one in CXX, or export {instead}, which runs without them.")


def test_it_is_compiled_once(anew: None, capsys: pytest.CaptureFixture[str]) -> None:
    built = kernels.library("openvino", "int8")
    first = built.stat().st_mtime_ns
    capsys.readouterr()
    build.library.cache_clear()
    assert (kernels.library("openvino", "int8"), built.stat().st_mtime_ns) == (built, first)
    assert built.parent == cache_folder() / "kernels"
    assert capsys.readouterr().err == ""


@pytest.fixture
def other_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anew: None) -> Path:
    """A cache folder with the variants alone, which take long to compile."""
    variants = build.variants(("g++",), build.machine())
    folder = tmp_path / "cache" / "kernels"
    folder.mkdir(parents=True)
    for path in (variants, build.sum_of(variants)):
        shutil.copy(path, folder)
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    return folder


DAMAGES: tuple[Callable[[Path], object], ...] = (
    lambda path: path.write_bytes(path.read_bytes()[:5000]),
    lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!"),
    lambda path: path.unlink(),
    lambda path: build.sum_of(path).unlink(),
    lambda path: build.sum_of(path).write_bytes(b"\xff"),
)


def test_a_damaged_library_is_built_again(other_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = build.library("onnxruntime")
    whole, digest = built.read_bytes(), build.sum_of(built).read_bytes()
    assert built.parent == other_cache
    for place, damage in enumerate(DAMAGES):
        built.write_bytes(whole)
        build.sum_of(built).write_bytes(digest)
        assert build.find(built.name) == built
        damage(built)
        assert build.find(built.name) is None, place
    capsys.readouterr()
    build.library.cache_clear()
    assert build.library("onnxruntime") == built
    assert built.read_bytes() == whole
    assert capsys.readouterr().err == "Compiling the kernels for ONNX Runtime, once, about 3 s.\n"


def test_a_cache_that_cannot_be_written(
    other_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is in it is used; what has to be made is for this process alone."""
    whole = build.library("onnxruntime").read_bytes()
    build.library.cache_clear()
    monkeypatch.setattr(tempfile, "TemporaryFile", failing(OSError(30, "Read-only file system", str(other_cache))))
    assert build.library("onnxruntime").parent == other_cache
    build.library.cache_clear()
    (other_cache / build.library("onnxruntime").name).unlink()
    capsys.readouterr()
    build.library.cache_clear()
    own = build.library("onnxruntime")
    assert own.parent != other_cache
    assert own.read_bytes() == whole
    assert capsys.readouterr().err == (
        "Compiling the kernels for ONNX Runtime, once, about 3 s.\n"
        f"The compiled kernels cannot be kept: [Errno 30] Read-only file system: '{other_cache}'. A folder that can be "
        "written was expected. They are compiled for this process alone; name a folder in LC2FER_CACHE.\n"
    )
    build.library.cache_clear()
    assert build.library("onnxruntime") == own
    shutil.rmtree(own.parent)


def test_a_folder_that_may_hold_no_programs(other_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", failing(OSError("failed to map segment from shared object")))
    with pytest.raises(TargetUnavailable) as raised:
        kernels.library("onnxruntime", "int8")
    assert str(raised.value) == (
        f"The fused operations cannot run here: {build.library('onnxruntime')} cannot be loaded (failed to map segment "
        "from shared object). A folder whose files may be executed was expected. Name one in LC2FER_CACHE, or export "
        "ort-int8, which runs without them."
    )


def test_doctor_answers_where_no_programs_may_lie(
    other_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library = build.library("onnxruntime")
    monkeypatch.setattr(ctypes, "CDLL", failing(OSError("failed to map segment from shared object")))
    kernels._opened.cache_clear()
    assert cli.main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fused kernels"].startswith(
        f"The fused operations cannot run here: {library} cannot be loaded (failed to map segment"
    )


def test_a_user_without_a_home_has_them_compiled_for_each_process(
    other_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    variants = build.find(build._variants_name(("g++",), build.machine()))
    for name in ("LC2FER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", failing(RuntimeError("Could not determine home directory.")))
    monkeypatch.setattr(build, "variants", lambda compiler, machine: variants)
    assert build.find("nothing.so") is None
    own = build.library("onnxruntime")
    assert capsys.readouterr().err.endswith(
        "The compiled kernels cannot be kept: this user has no home directory. A folder that can be written was "
        "expected. They are compiled for this process alone; name a folder in LC2FER_CACHE.\n"
    )
    build.library.cache_clear()
    assert build.library("onnxruntime") == own
    shutil.rmtree(own.parent)


def test_another_system(monkeypatch: pytest.MonkeyPatch, anew: None) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(TargetUnavailable) as raised:
        kernels.library("onnxruntime", "fp16")
    assert str(raised.value) == (
        "The fused operations cannot run here: this is darwin. Linux was expected. Use a container, or export "
        "onnx-fp16, which runs without them."
    )


def failing(error: Exception) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise error

    return fail


def test_a_home_that_two_machines_share_holds_a_library_for_each_of_their_c_libraries(
    other_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was linked with glibc 2.36 needs it: an older one would refuse to load it."""
    own = build.library("onnxruntime")
    monkeypatch.setattr(build.platform, "libc_ver", lambda: ("glibc", "2.31"))
    assert build.present("onnxruntime") is None
    build.library.cache_clear()
    assert build.library("onnxruntime") != own
    assert own.exists()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "/tmp/cc.s: Fatal error: can't write 616 bytes to avx2.o: 'No space left on device'",
            "the disk of {cache} or of {temporary} is full. Room for the compiled kernels was expected. Free some "
            "space, name folders of another disk in LC2FER_CACHE and TMPDIR, or export",
        ),
        (
            "virtual memory exhausted: Cannot allocate memory",
            "{compiler} ran out of memory. Room for {jobs} compilers at once was expected. End other programs, or",
        ),
        (
            "g++: fatal error: Killed signal terminated program cc1plus",
            "{compiler} ran out of memory. Room for {jobs} compilers at once was expected. End other programs, or",
        ),
    ],
)
def test_a_compiler_that_had_no_room_is_not_called_the_wrong_one(
    said: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anew: None
) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text(f"#!/bin/sh\necho {shlex.quote(said)} >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path))
    with pytest.raises(TargetUnavailable) as raised:
        kernels.library("native", "int8")
    at = {"cache": tmp_path / "kernels", "temporary": tempfile.gettempdir(), "jobs": os.cpu_count()}
    assert told.format(compiler=compiler, **at) in str(raised.value)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_is_told_to_end_while_kernels_compile_ends_and_leaves_nothing(number: int, tmp_path: Path) -> None:
    """As by `timeout`, a cancelled job, a container that stops: the compilers end too, and their folder goes."""
    compiler, cache = tmp_path / "g++", tmp_path / "cache"
    compiler.write_text(f"#!/bin/sh\nsleep 300 & echo $! >>{tmp_path}/compilers; wait\n")
    compiler.chmod(0o755)
    program = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are deaf to it
from lc2fer import cli
from lc2fer.kernels import build
build._check_compiler = lambda compiler: None
cli.importlib.import_module = lambda name: build
build.main = lambda arguments: build.library("onnxruntime")
sys.exit(cli.run("export", []))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "CXX": str(compiler), "LC2FER_CACHE": str(cache)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "compilers").is_file() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    said = process.communicate(timeout=30)[1].splitlines()
    assert process.returncode == 128 + number, said
    assert said[-1].endswith("Finished files are kept; nothing half-written is left.")
    assert [path for path in cache.rglob("*") if path != cache / "kernels"] == []
    for pid in (tmp_path / "compilers").read_text().split():
        assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()

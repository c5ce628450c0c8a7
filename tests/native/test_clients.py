"""Programs that use the library: C, C++ by CMake and by pkg-config, Rust, and C on 64-bit ARM."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_lc2
from lc2fer.deploy.sessions import native as session
from PIL import Image

from lc2fer.artifact import Artifact
from lc2fer.inputs import InputSpec
from lc2fer.kernels import build
from lc2fer.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"
CROSS = "aarch64-linux-gnu-g++"
STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic")


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} here")


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The library as CMake installs it, made from variants that are compiled already."""
    made: dict[str, Path] = {}

    def install(compiler: str = "g++", *options: str) -> Path:
        if compiler not in made:
            needs("cmake", compiler)
            folder = tmp_path_factory.mktemp("native")
            machine = "aarch64" if compiler == CROSS else build.machine()
            variants = build.variants((compiler,), machine)
            run("cmake", "-S", NATIVE, "-B", folder / "build", f"-DLC2FER_VARIANTS={variants}", *options)
            run("cmake", "--build", folder / "build", "-j2")
            run("cmake", "--install", folder / "build", "--prefix", folder / "prefix")
            made[compiler] = folder
        return made[compiler]

    return install


@pytest.fixture(scope="module")
def expected(library: Path, model: Path) -> tuple[str, str]:
    """A grey picture's class and its logit, as the Python session has them."""
    logits = opened(model)._logits(np.full((1, 3, tiny_lc2.SPEC.size, tiny_lc2.SPEC.size), 128, np.float32))[0]
    best = int(logits.argmax())
    return tiny_lc2.LABELS[best], f"{logits[best]:.5f}"


def opened(model: Path) -> session.NativeSession:
    artifact = Artifact(model, "native", "native-int8", "C8", tiny_lc2.SPEC, recipe=TARGETS["native-int8"].recipe)
    return session.load(artifact, threads=1)


def test_the_library_needs_the_c_library_alone_and_is_small(installed: Callable[[str], Path]) -> None:
    needs("readelf", "nm")
    (folder,) = [installed("g++") / "prefix" / name for name in ("lib",)]
    shared, static = folder / "liblc2fer.so.0.1.0", folder / "liblc2fer.a"
    needed = set(re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d", shared)))
    assert needed <= {"libc.so.6", "libm.so.6", "libpthread.so.0"}
    symbols = {line.split()[-1] for line in run("nm", "-D", "--defined-only", shared).splitlines()}
    declared = set(re.findall(r"^LC2FER_API .*?(lc2fer_\w+)\(", (NATIVE / "lc2fer.h").read_text(), re.MULTILINE))
    assert symbols == declared
    assert len(declared) < 10
    assert shared.stat().st_size < 500_000
    assert static.is_file()


def test_a_c_program(installed: Callable[[str], Path], model: Path, tmp_path: Path) -> None:
    """Against the static library, with warnings as errors."""
    needs("gcc")
    prefix = installed("g++") / "prefix"
    picture = tiny_lc2.noise(1, 50)[0]
    Image.fromarray(picture[:, :40]).save(tmp_path / "face.ppm")
    for name in ("classify", "timing"):
        program = tmp_path / name
        options = ("-std=c11", "-O1", *STRICT, f"-I{prefix}/include", "-Wl,--gc-sections")
        source = NATIVE / "examples" / f"{name}.c"
        run("gcc", *options, source, prefix / "lib" / "liblc2fer.a", "-lm", "-pthread", "-o", program)
    printed = run(tmp_path / "classify", model, tmp_path / "face.ppm").split(": ")
    pixels = InputSpec(size=tiny_lc2.SPEC.size).apply(picture[:, :40])[np.newaxis]
    logits = opened(model)._logits(pixels)[0].astype(np.float64)
    best = int(logits.argmax())
    share = 1 / np.exp(logits - logits[best]).sum()
    assert printed[0] == str(tmp_path / "face.ppm")
    label, found = printed[1].split()
    assert label == tiny_lc2.LABELS[best]
    assert abs(float(found) - share) < 0.02  # the pictures are a level apart in places
    face = (tmp_path / "face.ppm").read_bytes()
    (tmp_path / "gimp.ppm").write_bytes(face.replace(b"P6\n", b"P6\n# Created by GIMP 2\n", 1))
    assert run(tmp_path / "classify", model, tmp_path / "gimp.ppm").split(": ")[1] == printed[1]
    assert '"threads": 2' in run(tmp_path / "timing", model, "2", "3")
    refused = subprocess.run([tmp_path / "classify", NATIVE / "lc2fer.h", "x.ppm"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.startswith("This is no .lc2 file. What lc2fer-export --target native-int8 or native-fp32")


def test_the_interface(installed: Callable[[str], Path], model: Path, tmp_path: Path) -> None:
    """Strides, threads, the caller's pool, batches and many threads at once give the same bits."""
    needs("gcc")
    prefix = installed("g++") / "prefix"
    options = ("-std=c11", "-O1", *STRICT, f"-I{prefix}/include", "-pthread")
    source = ROOT / "tests" / "native" / "check.c"
    run("gcc", *options, source, prefix / "lib" / "liblc2fer.a", "-lm", "-o", tmp_path / "check")
    assert run(tmp_path / "check", model) == "good\n"


def test_cpp_by_cmake(installed: Callable[[str], Path], model: Path, tmp_path: Path, expected: tuple[str, str]) -> None:
    prefix = installed("g++") / "prefix"
    source = NATIVE / "examples" / "cpp"
    run("cmake", "-S", source, "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path)
    assert tuple(run(tmp_path / "client", model).split()) == expected


def test_cpp_by_pkg_config(
    installed: Callable[[str], Path], model: Path, tmp_path: Path, expected: tuple[str, str]
) -> None:
    needs("pkg-config", "g++")
    prefix = installed("g++") / "prefix"
    where = {"PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")}
    told = run("pkg-config", "--cflags", "--libs", "lc2fer", **where).split()
    assert run("pkg-config", "--modversion", "lc2fer", **where) == "0.1.0\n"
    source = NATIVE / "examples" / "cpp" / "main.cpp"
    run("g++", "-std=c++17", *STRICT, source, *told, f"-Wl,-rpath,{prefix}/lib", "-o", tmp_path / "client")
    assert tuple(run(tmp_path / "client", model).split()) == expected


def test_rust(installed: Callable[[str], Path], model: Path, tmp_path: Path, expected: tuple[str, str]) -> None:
    needs("rustc")
    prefix = installed("g++") / "prefix"
    source = NATIVE / "examples" / "rust" / "main.rs"
    told = ("-D", "warnings", "-L", prefix / "lib", "-C", f"link-arg=-Wl,-rpath,{prefix}/lib")
    run("rustc", *told, source, "-o", tmp_path / "client")
    assert tuple(run(tmp_path / "client", model).split()) == expected
    refused = subprocess.run([tmp_path / "client", "no.lc2"], capture_output=True, text=True)
    assert (refused.returncode, refused.stderr) == (
        2,
        "no.lc2 cannot be read: No such file or directory. An .lc2 file was expected. Name one.\n",
    )


def test_c_on_arm(installed: Callable[[str], Path], model: Path, tmp_path: Path) -> None:
    """The same bits as here, on a Cortex-A76 and on what has all that there is."""
    needs("qemu-aarch64", "aarch64-linux-gnu-gcc", "aarch64-linux-gnu-nm")
    prefix = installed(CROSS, f"-DCMAKE_TOOLCHAIN_FILE={NATIVE / 'aarch64.cmake'}") / "prefix"
    assert (prefix / "lib" / "liblc2fer.so.0.1.0").stat().st_size < 500_000
    options = ("-std=c11", "-O1", *STRICT, f"-I{prefix}/include", "-static", "-pthread")
    source = ROOT / "tests" / "native" / "check.c"
    run("aarch64-linux-gnu-gcc", *options, source, prefix / "lib" / "liblc2fer.a", "-lm", "-o", tmp_path / "check")
    native = installed("g++") / "prefix"
    run("gcc", *options[:-2], source, native / "lib" / "liblc2fer.a", "-lm", "-pthread", "-o", tmp_path / "here")
    bits = run(tmp_path / "here", model, "bits")
    for processor, instructions in (("cortex-a76", "dotprod"), ("max", "i8mm")):
        printed = run("qemu-aarch64", "-cpu", processor, tmp_path / "check", model, "bits")
        assert printed.split()[0] == instructions
        assert printed.split()[1:] == bits.split()[1:]


def test_cmake_compiles_as_python_does() -> None:
    """Two lists of flags, one of them for people who have no Python."""
    text = (NATIVE / "CMakeLists.txt").read_text()
    (version,) = re.findall(r"project\(lc2fer VERSION (\S+) ", text)
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()
    (exact,) = re.findall(r"^set\(EXACT (.*)\)$", text, re.MULTILINE)
    both = (*build.COMPILE, *build.EXACT)
    assert set(exact.split()) == {flag for flag in both if not flag.startswith(("-std", "-fPIC", "-fvisibility"))}
    (avx512,) = re.findall(r"set\(AVX512 (.*)\)", text)
    found = {
        name: tuple(flags.replace("${AVX512}", avx512).split())
        for name, flags in re.findall(r"^  variant\((\w+) ?(.*)\)$", text, re.MULTILINE)
        if flags
    }
    told = {name: flags for machine in build.VARIANTS.values() for name, flags in machine.items()}
    del told["avx512bf16"]  # bfloat16's alone
    assert found == told

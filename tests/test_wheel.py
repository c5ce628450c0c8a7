"""The wheel: what is in it, and that it works where there is no checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lc2fer.kernels import build
from lc2fer.kernels import wheel as kernels_wheel

pytestmark = pytest.mark.slow


def run(*command: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"
    for name in ("lc2fer", "export", "benchmarks", "deploy", "native"):
        shutil.copytree(checkout / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(checkout / name, copy / name)
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", str(folder), str(copy), cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_one_package_with_everything_in_it(wheel: Path, checkout: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert wheel.name == "lc2fer-0.1.0-py3-none-any.whl"
    assert {name.split("/")[0] for name in names} == {"lc2fer", "lc2fer-0.1.0.dist-info"}
    expected = {"lc2fer/py.typed"}
    for folder in ("lc2fer", "export", "benchmarks", "deploy", "native"):
        place = "lc2fer/" if folder == "lc2fer" else f"lc2fer/{folder}/"
        for path in (checkout / folder).rglob("*.py"):
            expected.add(place + path.relative_to(checkout / folder).as_posix())
    expected |= {"lc2fer/explain/page.css", "lc2fer/benchmarks/gates.toml", "lc2fer/deploy/camera/page/index.html"}
    expected |= {f"lc2fer/deploy/camera/page/{path.name}" for path in (checkout / "deploy/camera/page").iterdir()}
    kernels = checkout / "lc2fer" / "kernels"
    sources = [path for end in ("h", "cpp", "map") for path in kernels.rglob(f"*.{end}")]
    assert len(sources) > 30
    expected |= {f"lc2fer/kernels/{path.relative_to(kernels).as_posix()}" for path in sources}
    native = [path for path in (checkout / "native").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert len(native) > 15
    expected |= {f"lc2fer/native/{path.relative_to(checkout / 'native').as_posix()}" for path in native}
    expected |= {f"lc2fer/weights/{path.name}" for path in (checkout / "lc2fer" / "weights").glob("*")}
    assert expected <= names
    assert {name for name in names if name.endswith(".py")} <= expected
    assert "lc2fer-0.1.0.dist-info/licenses/LICENSE" in names


def test_the_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    offline = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "install", *offline, "--target", str(site), str(wheel), cwd=tmp_path)
    program = """
import lc2fer, lc2fer.export, lc2fer.deploy, lc2fer.benchmarks, lc2fer.benchmarks.command
from lc2fer.variants import VARIANTS
print(lc2fer.__file__, lc2fer.export.__file__, len(VARIANTS), VARIANTS["C6"].parameter_count(), sep="\\n")
"""
    environment = {"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    assert run(sys.executable, "-c", program, cwd=tmp_path, **environment).splitlines() == [
        str(site / "lc2fer" / "__init__.py"),
        str(site / "lc2fer" / "export" / "__init__.py"),
        "8",
        "928391",
    ]
    assert (site / "bin" / "lc2fer-bench").is_file()


def test_a_wheel_with_the_library_needs_no_compiler(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library is the one of this machine's compiler here, not zig's."""
    if build.machine() not in build.VARIANTS:
        pytest.skip(f"there is no such wheel for {build.machine()}")
    monkeypatch.setattr(kernels_wheel, "library_for", lambda engine, machine: build.library(engine))
    module = tmp_path / "browser-0123.wasm"
    module.write_bytes(b"\0asm")
    made = kernels_wheel.add(Path(shutil.copy(wheel, tmp_path)), build.machine(), module)
    assert made.name == f"lc2fer-0.1.0-py3-none-manylinux_2_28_{build.machine()}.whl"
    site = tmp_path / "site"
    offline = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "install", *offline, "--target", str(site), str(made), cwd=tmp_path)
    program = """
from lc2fer import kernels
print(kernels.library("native", "int8"))
print(kernels.library("onnxruntime", "int8"), kernels.chosen("onnxruntime"), *kernels.here("onnxruntime"))
"""
    environment = {
        "PYTHONPATH": str(site),
        "PYTHONSAFEPATH": "1",
        "CXX": "no-such-compiler",
        "LC2FER_CACHE": "/dev/null",
    }
    native, path, chosen, *able = run(sys.executable, "-c", program, cwd=tmp_path, **environment).split()
    for engine, found in (("native", native), ("onnxruntime", path)):
        name = build.prebuilt_name(engine, build.machine())
        assert Path(found) == site / "lc2fer" / "kernels" / "prebuilt" / name
    assert chosen in able
    record = (site / "lc2fer-0.1.0.dist-info" / "RECORD").read_text()
    assert record.count("lc2fer/kernels/prebuilt/") == 6
    assert (site / "lc2fer" / "kernels" / "prebuilt" / module.name).read_bytes() == b"\0asm"
    assert (
        f"Tag: py3-none-manylinux_2_28_{build.machine()}\n" in (site / "lc2fer-0.1.0.dist-info" / "WHEEL").read_text()
    )

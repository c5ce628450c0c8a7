"""The wheel: what is in it, and that it works where there is no checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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
    for name in ("lc2fer", "export", "benchmarks", "deploy"):
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
    for folder in ("lc2fer", "export", "benchmarks", "deploy"):
        place = "lc2fer/" if folder == "lc2fer" else f"lc2fer/{folder}/"
        for path in (checkout / folder).rglob("*.py"):
            expected.add(place + path.relative_to(checkout / folder).as_posix())
    expected |= {"lc2fer/explain/page.css", "lc2fer/benchmarks/gates.toml", "lc2fer/deploy/camera/page/index.html"}
    expected |= {f"lc2fer/deploy/camera/page/{path.name}" for path in (checkout / "deploy/camera/page").iterdir()}
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

"""The packages that a bundle asks for on a device: pip finds all of them for arm64."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from lc2fer.deploy.device import packing as making
from packaging.requirements import Requirement


@pytest.mark.slow
@pytest.mark.parametrize(("python", "numpy"), [("3.10", "1.26.4"), ("3.12", "1.26.4")])
def test_the_requirements_resolve_on_aarch64(python: str, numpy: str, tmp_path: Path) -> None:
    listed = tmp_path / "requirements.txt"
    # pip reads markers for the Python that runs it, so they are read for the device's here.
    required = [Requirement(line) for line in making.REQUIREMENTS.splitlines()]
    device = {"python_version": python, "platform_machine": "aarch64"}
    there = [each for each in required if each.marker is None or each.marker.evaluate(device)]
    listed.write_text("\n".join(f"{each.name}{each.specifier}" for each in there))
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    command += [
        "--only-binary",
        ":all:",
        "--platform",
        "manylinux_2_35_aarch64",
        "--platform",
        "manylinux_2_28_aarch64",
    ]
    command += ["--platform", "manylinux_2_27_aarch64", "--platform", "manylinux2014_aarch64"]
    command += ["--python-version", python, "--implementation", "cp", "--target", str(tmp_path / "site")]
    done = subprocess.run([*command, "--report", str(report), "-r", str(listed)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    chosen = {
        item["metadata"]["name"].lower(): item["metadata"]["version"]
        for item in json.loads(report.read_text())["install"]
    }
    assert chosen["numpy"] == numpy
    assert {"cuda-bindings", "onnxruntime", "pillow", "scipy", "starlette", "uvicorn"} <= set(chosen)


def test_every_file_that_a_device_installs_is_known_by_its_hash() -> None:
    """requirements.txt is what uv makes of REQUIREMENTS; its first lines tell how."""
    text = (resources.files("lc2fer.deploy") / "scripts" / "requirements.txt").read_text(encoding="utf-8")
    listed: dict[str, int] = {}
    for line in text.splitlines():
        if line and not line.startswith((" ", "#")):
            requirement = Requirement(line.removesuffix("\\"))
            known = f"{requirement.name}{requirement.specifier}"
            listed.setdefault(known, 0)
        elif line.startswith("    --hash=sha256:"):
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line)
            listed[known] += 1
    assert all(listed.values())
    for requirement in map(Requirement, making.REQUIREMENTS.splitlines()):
        assert f"{requirement.name}{requirement.specifier}" in listed
    assert {"click", "h11", "anyio", "protobuf"} <= {name.split("==")[0] for name in listed}  # what these need

"""What the doctor says of our own operations: which run, what is missing, and what mends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lc2fer.deploy.device import doctor

from lc2fer import kernels
from lc2fer.kernels import build


@pytest.fixture(autouse=True)
def no_choice(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("LC2FER_CPU", raising=False)
    kernels.library("onnxruntime", "int8")
    build.library.cache_clear()
    yield
    build.library.cache_clear()


def test_it_names_the_variants() -> None:
    finding = doctor._kernels()
    assert finding.state == "ok"
    assert f"int8 by {kernels.chosen('onnxruntime')}; this processor can run" in finding.text
    assert finding.text.endswith("generic") or "neon" in finding.text


def test_a_choice_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    last = kernels.here("onnxruntime")[-1]
    monkeypatch.setenv("LC2FER_CPU", last)
    assert doctor._kernels().text.startswith(f"fp32 by {last}, fp16 by {last}, int8 by {last}; ")


def test_a_choice_that_this_processor_lacks_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC2FER_CPU", "mmx")
    finding = doctor._kernels()
    assert finding.state == "problem"
    assert finding.text.startswith("LC2FER_CPU is mmx. What this processor can run was expected: ")


def test_what_is_not_compiled_is_not_compiled_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path))
    finding = doctor._kernels()
    assert (finding.state, finding.text) == ("note", "not compiled yet; the first -fused model does it, in some 30 s")
    assert "kernels.library('onnxruntime', 'int8')" in (finding.mend or "")
    assert list(tmp_path.rglob("*.so")) == []


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    finding = doctor._kernels()
    assert (finding.state, finding.text) == ("note", "no -fused models: there is no no-such-compiler")
    assert finding.mend == "sudo apt-get install g++"


def test_it_runs_on_a_system_without_groups_of_users(python: Any) -> None:
    """Windows, whose Python has no grp."""
    done = python(
        "import sys; from lc2fer import cli; sys.exit(cli.run('deploy', ['doctor', '--json']))", block=["grp"]
    )
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["findings"]

"""How many threads an engine may have: this process's cores, and one sentence for any other number."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lc2fer import cli, threads
from lc2fer.errors import UsageError
from lc2fer.finder import open_finder


@pytest.fixture
def eight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of four physical cores with two threads each, all of them allowed; its files."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for name, file in (("_QUOTA_V2", "cpu.max"), ("_QUOTA_V1", "quota"), ("_PERIOD_V1", "period")):
        monkeypatch.setattr(threads, name, tmp_path / file)
    monkeypatch.setattr(threads, "_CPUS", tmp_path)
    for core in range(8):
        (tmp_path / f"cpu{core}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{core}" / "topology" / "thread_siblings_list").write_text(f"{core % 4},{core % 4 + 4}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("quota", "cores", "usual"), [("150000 100000", 1, 1), ("50000 100000", 1, 1), ("max 100000", 8, 4)]
)
def test_a_container_quota_limits_the_cores(eight: Path, quota: str, cores: int, usual: int) -> None:
    (eight / "cpu.max").write_text(quota + "\n")
    assert (threads.usable_cores(), threads.usual()) == (cores, usual)


def test_an_old_container_has_its_quota_in_two_files(eight: Path) -> None:
    (eight / "quota").write_text("300000\n")
    (eight / "period").write_text("100000\n")
    assert (threads.usable_cores(), threads.usual()) == (3, 3)


def test_each_core_counts_where_the_system_does_not_tell_which_are_one(eight: Path) -> None:
    for core in range(8):
        (eight / f"cpu{core}" / "topology" / "thread_siblings_list").unlink()
    assert threads.usual() == 8


@pytest.mark.parametrize("given", [None, 1, 8])
def test_threads_that_are_there(eight: Path, given: Any) -> None:
    threads.check(given)


@pytest.mark.parametrize("given", [0, -1, 9, 99999, "2", 1.5, True])
def test_threads_that_are_not_there(eight: Path, given: Any) -> None:
    with pytest.raises(UsageError) as refused:
        threads.check(given)
    assert str(refused.value) == (
        f"{given!r} threads were asked for. Expected 1 to 8, as many as this process has cores. "
        "Pass such a number, or none to leave it to the engine."
    )


def test_one_core_has_one_thread(eight: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    with pytest.raises(UsageError, match=r"^2 threads were asked for\. Expected 1, as many as this process has cores"):
        threads.check(2)


@pytest.mark.parametrize("given", [-1, 99999])
def test_a_finder_of_faces_is_opened_with_no_other(eight: Path, given: int) -> None:
    """An engine would take the number, and be busy for minutes making that many."""
    with pytest.raises(UsageError, match=rf"^{given} threads were asked for\. Expected 1 to 8"):
        open_finder(threads=given)


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "x.png"),
        ("predict", "x.png", "--engine", "ray", "--out", "o"),
        ("faces", ".", "--out", "o"),
        ("bench", "--models", "x.onnx"),
        ("bench", "--mode", "throughput", "--models", "x.onnx"),
        ("deploy", "build", "x.bundle"),
        ("deploy", "verify", "x.bundle"),
        ("deploy", "bench", "x.onnx"),
        ("deploy", "run", "x.onnx"),
        ("deploy", "serve", "x.onnx"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("given", [0, 100_000])
def test_every_command_refuses_them_by_the_same_sentence(
    command: tuple[str, ...],
    given: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *arguments = command
    assert cli.run(name, [*arguments, "--threads", str(given)]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"UsageError: {given} threads were asked for. Expected 1")
    assert list(tmp_path.iterdir()) == []

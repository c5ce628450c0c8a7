import mmap
import os

import numpy as np
import pytest
from lc2fer.benchmarks.measuring import memory
from lc2fer.benchmarks.measuring.memory import Memory, Recorder


@pytest.mark.skipif(memory.read(os.getpid()) is None, reason="this system does not tell")
def test_growth_is_what_was_allocated():
    recorder = Recorder(os.getpid())
    recorder.record("baseline")
    kept = np.frombuffer(mmap.mmap(-1, 40_000_000), np.uint8)  # new pages: an allocator may have old ones left
    kept[:] = 1
    recorder.record("steady")
    assert recorder.memory().growth_bytes("steady") == pytest.approx(kept.nbytes, rel=0.1)


def _process(root, rollup, statm):
    folder = root / "7"
    folder.mkdir(exist_ok=True)
    for name, text in (("smaps_rollup", rollup), ("statm", statm)):
        (folder / name).unlink(missing_ok=True)
        if text is not None:
            (folder / name).write_text(text)


def test_pss_is_preferred_and_rss_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_PROC", tmp_path)
    _process(tmp_path, "0-1 ---p [rollup]\nRss: 30 kB\nPss:    20 kB\n", "9 5 1")
    assert memory.read(7) == ("pss", 20 * 1024)
    _process(tmp_path, None, "9 5 1")
    assert memory.read(7) == ("rss", 5 * os.sysconf("SC_PAGE_SIZE"))
    _process(tmp_path, None, None)
    assert memory.read(7) is None


def test_a_phase_keeps_its_peak_and_kinds_are_not_mixed(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_PROC", tmp_path)
    recorder = Recorder(7)
    for kilobytes in (10, 30, 20):
        _process(tmp_path, f"Pss: {kilobytes} kB\n", None)
        recorder.record("steady")
    _process(tmp_path, None, "9 5000 1")
    recorder.record("steady")
    assert recorder.memory() == Memory("pss", {"steady": 30 * 1024})
    assert recorder.memory().growth_bytes("steady") is None  # no baseline


@pytest.fixture
def no_jetson(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_JETSON", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))


def _smi(tmp_path, text, code=0):
    path = tmp_path / "nvidia-smi"
    path.write_text(f"#!/bin/sh\necho '{text}'\nexit {code}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("listed", "code", "found"),
    [
        ("7, 300\n8, 999\n7, 12", 0, ("gpu", 312 * 2**20)),
        ("8, 999", 0, ("gpu", 0)),
        ("", 0, ("gpu", 0)),
        ("7, [N/A]", 0, None),
        ("no devices were found", 6, None),
    ],
)
def test_a_cards_memory_is_told_by_its_driver(no_jetson, tmp_path, listed, code, found):
    _smi(tmp_path, listed, code)
    assert memory.read_device(7) == found


def test_without_a_gpu_there_is_none(no_jetson, tmp_path):
    assert memory.read_device(7) is None
    recorder = Recorder(7)
    recorder.record_device("load")
    assert recorder.memory().device_growth_bytes("load") is None


def test_a_jetsons_memory_is_the_boards(tmp_path, monkeypatch):
    (tmp_path / "nv_tegra_release").write_text("# R36\n")
    monkeypatch.setattr(memory, "_JETSON", tmp_path / "nv_tegra_release")
    monkeypatch.setattr(memory, "_PROC", tmp_path)
    recorder = Recorder(7)
    for phase, available in (("baseline", 5000), ("steady", 4000), ("steady", 4500)):
        (tmp_path / "meminfo").write_text(f"MemTotal:  8000 kB\nMemAvailable: {available} kB\n")
        recorder.record_device(phase)
    found = recorder.memory()
    assert found.device_kind == "unified"
    assert found.device_growth_bytes("steady") == 1000 * 1024
    assert Memory.from_json(found.to_json()) == found
    (tmp_path / "meminfo").write_text("nonsense\n")
    assert memory.read_device(7) is None

import os

import numpy as np
import pytest
from lc2fer.benchmarks import memory
from lc2fer.benchmarks.memory import Memory, Recorder


@pytest.mark.skipif(memory.read(os.getpid()) is None, reason="this system does not tell")
def test_growth_is_what_was_allocated():
    recorder = Recorder(os.getpid())
    recorder.record("baseline")
    kept = np.ones(40_000_000, np.uint8)
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

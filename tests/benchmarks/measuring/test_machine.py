import json
import os
from dataclasses import replace
from importlib import metadata

import pytest
from lc2fer.benchmarks.measuring import machine
from lc2fer.benchmarks.measuring.machine import Machine

from lc2fer.errors import ArtifactError

X86 = """processor\t: 0
model name\t: Some CPU
cpu family\t: 25
model\t\t: 17
stepping\t: 1
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu avx2 avx512f avx512_vnni

processor\t: 1
model name\t: Some CPU
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu avx2 avx512f avx512_vnni
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp\nCPU part\t: 0xd42\n"


def test_a_machine_is_this_one():
    found = machine.detect()
    assert found.engines["numpy"] == metadata.version("numpy")
    assert 1 <= found.usable_cores <= found.logical_cores == os.cpu_count()
    assert found.memory_bytes > 100_000_000
    assert Machine.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_an_x86_machine(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(X86)
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    found = machine.detect()
    assert found.cpu == "Some CPU (family 25, model 17, stepping 1)"
    assert found.isa == ("avx2", "avx512f", "avx512_vnni")
    assert found.physical_cores == 1


def test_an_arm_board_is_known_by_its_device_tree(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(ARM)
    (tmp_path / "model").write_bytes(b"Some Board\0")
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "_BOARD", tmp_path / "model")
    found = machine.detect()
    assert (found.cpu, found.isa, found.physical_cores) == ("Some Board", ("asimd", "asimdhp", "asimddp"), None)


def test_the_identity_leaves_out_the_load_and_nothing_else():
    found = machine.detect()
    assert replace(found, load_average=99.0).identity == found.identity
    assert replace(found, memory_bytes=found.memory_bytes + 4096).identity == found.identity
    for change in (
        {"cpu": "x"},
        {"isa": ()},
        {"usable_cores": 99},
        {"engines": {}},
        {"governor": "x"},
        {"python": "x"},
    ):
        assert replace(found, **change).identity != found.identity


def test_a_damaged_machine_is_refused():
    with pytest.raises(ArtifactError, match=r"The report's machine is damaged .* Run lc2fer-bench again\."):
        Machine.from_json({"cpu": "x"})

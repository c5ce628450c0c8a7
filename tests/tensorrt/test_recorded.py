"""Level 5: what a recorded run holds, and that the documentation's table is made of the recorded ones and no others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from lc2fer import recorded
from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError, UsageError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run() -> recorded.Run:
    return recorded.Run(
        variant="C6",
        target="trt-int8",
        device="A Jetson",
        sm="8.7",
        l4t="36.4.0",
        tensorrt="10.3.0",
        cuda="12.6",
        driver="12.6",
        power_mode="MAXN",
        clocks_mhz={"gpu": 1020.0},
        onnx_sha256="ab" * 32,
        engine_sha256="cd" * 32,
        executed={"int8": 12, "fp16": 30},
        warm_up_ns=(9,),
        samples_ns=tuple(range(1_000_000, 1_100_000, 1000)),
    )


def test_a_run_comes_back_as_it_was_written(run: recorded.Run, tmp_path: Path) -> None:
    path = recorded.write(tmp_path, run)
    assert path.name == "C6-trt-int8-A-Jetson-10.3.0.json"
    assert recorded.read(tmp_path) == [run]
    line = recorded.table([run]).splitlines()[-1]
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "trt-int8",
        "C6",
        "A Jetson, SM 8.7, L4T 36.4.0",
        "10.3.0",
        "1.05",
        "1.09",
        "12 int8, 30 fp16",
        "abababababab",
    ]


def test_without_runs_nothing_is_claimed(tmp_path: Path) -> None:
    lines = recorded.table(recorded.read(tmp_path)).splitlines()
    assert len(lines) == 2 + 3
    assert all("not measured" in line for line in lines[2:])
    assert not any(character.isdigit() for line in lines[2:] for character in line.split("|")[3:][0])


def test_the_documentation_shows_the_recorded_runs(checkout: Path) -> None:
    text = (checkout / "docs" / "tensorrt.md").read_text(encoding="utf-8")
    shown = text.split("<!-- recorded runs -->\n")[1].split("<!-- end -->")[0].strip()
    assert shown == recorded.table(recorded.read(checkout / "docs" / "recorded"))


def test_damaged_runs_are_errors(run: recorded.Run, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    for content, text in (
        ("{", r"run.json: The recorded run is not JSON \(.*\). Expected what lc2fer-bench writes. Record it again."),
        ("{}", r"run.json: The recorded run is damaged \(KeyError: 'format'\). Expected the fields of Run in format 1"),
        (json.dumps({**run.to_json(), "format": 2}), r"damaged \(ValueError: format 2\)"),
        (json.dumps({**run.to_json(), "samples_ns": [1]}), r"damaged \(UsageError: 1 samples were to be recorded"),
        (json.dumps({**run.to_json(), "target": "rtx-fp16"}), r"A run of 'rtx-fp16' was to be recorded"),
    ):
        path.write_text(content)
        with pytest.raises(ArtifactError, match=text):
            recorded.read(tmp_path)


def test_an_engine_gives_its_own_facts(
    gpu: ModuleType, export: Callable[[str], Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = export("trt-int8")
    taken = recorded.of(
        artifact, [10_000] * 200, [20_000], executed={"int8": 12}, power_mode=None, clocks_mhz={"gpu": 900.0}
    )
    assert (taken.device, taken.sm, taken.tensorrt, taken.onnx_sha256) == (
        "Fake Orin",
        "8.7",
        "10.3.0",
        artifact.parent_sha256,
    )
    for other in (replace(artifact, device=None), replace(artifact, kind="onnx")):
        with pytest.raises(UsageError, match=r"engine was to be recorded. An engine that was built on a GPU"):
            recorded.of(other, [1] * 200, [], executed={}, power_mode=None, clocks_mhz={})

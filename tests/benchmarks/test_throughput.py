"""lc2fer-bench --mode throughput: models that are asked by many, in turns."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import layouts
import numpy as np
import pytest
import torch
from lc2fer.benchmarks import throughput
from lc2fer.benchmarks.measuring.many import load
from lc2fer.benchmarks.throughput import Model, Point, Turn
from numpy.typing import NDArray

from lc2fer import cli
from lc2fer.errors import TargetUnavailable
from lc2fer.inputs import InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build
from lc2fer.variants import variant


class Session:
    """Takes 2 ms a call and remembers who asked for what."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, list[float]]] = []
        self.fails = False

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.fails:
            raise ValueError("no numbers today")
        self.calls.append((threading.get_ident(), batch[:, 0].tolist()))
        time.sleep(0.002)
        return batch


def images(count: int) -> NDArray[np.float32]:
    return np.arange(count, dtype=np.float32)[:, None]


def test_every_call_of_every_caller_counts() -> None:
    session: Any = Session()
    found = load(session, images(10), callers=3, count=4, seconds=0.05)
    assert len({thread for thread, _ in session.calls}) == 3
    assert found["images"] == 4 * len(session.calls) == 4 * len(found["calls_ns"])
    assert min(found["calls_ns"]) >= 2e6
    assert found["ns"] >= 0.05e9
    callers = dict.fromkeys(thread for thread, _ in session.calls)
    each = [[batch for thread, batch in session.calls if thread == caller] for caller in callers]
    batches = next(own for own in each if own[0] == [0, 1, 2, 3])
    assert batches == [[(4 * number + place) % 10 for place in range(4)] for number in range(len(batches))]


def test_more_images_than_there_are_come_again() -> None:
    session: Any = Session()
    assert load(session, images(3), callers=1, count=8, seconds=0)["images"] == 8
    assert session.calls[0][1] == [0, 1, 2, 0, 1, 2, 0, 1]


def test_a_failing_session_ends_the_turn() -> None:
    session: Any = Session()
    session.fails = True
    with pytest.raises(ValueError, match="no numbers today"):
        load(session, images(3), callers=2, count=1, seconds=10)


def model(target: str, *rates: float) -> Model:
    artifact: Any = SimpleNamespace(target=target, sha256="0" * 64)
    turns = [[Turn(100, int(100e9 / rate), (2_000_000, 4_000_000)) for rate in rates] for _ in range(3)]
    return Model("C6", artifact, {}, {Point(1, 1, 2): 1.0, Point(2, 8, 1): 3.0}, turns)


def test_a_ratio_is_of_the_best_stock_way_turn_by_turn() -> None:
    ours, slow, fast = (
        model("ort-int8-fused", 400, 200),
        model("stock-onnx-fp32", 50, 50),
        model("stock-openvino-int8", 100, 50),
    )
    assert ours.images_per_s.value == pytest.approx(300, rel=1e-6)
    assert ours.over(fast).value == pytest.approx(4, rel=1e-6)
    assert ours.best == Point(2, 8, 1)
    lines = throughput.table([ours, slow, fast]).splitlines()
    assert lines[2].split("  ")[-1].strip() == "4.00 (4.00 to 4.00)"
    assert "2 x 8 x 1" in lines[2]
    assert "300 (300 to 300)" in lines[2]
    assert "3.00 / 4.00" in lines[2]


def test_the_command_measures_ours_beside_the_stock_way(
    small_faces: Path,
    small_exports: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("CALLERS", (1, 2)), ("IMAGES", (1, 4)), ("SEARCH_S", 0.01), ("ROUNDS", 3), ("TURN_S", 0.02)):
        monkeypatch.setattr(throughput, name, value)
    targets = ("ort-fp32", "stock-onnx-fp32")
    made = small_exports.into(tmp_path, *targets)
    given = [str(made[target].path) for target in targets]
    arguments = ["--mode", "throughput", "--data", str(small_faces), "--out", str(tmp_path), "--seconds", "0.06"]
    assert cli.run("bench", [*arguments, "--threads", "1", "--launches", "2", "--models", *given]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out.splitlines()[-1])
    assert [row["target"] for row in document["rows"]] == ["ort-fp32", "stock-onnx-fp32"]
    report = json.loads((tmp_path / "throughput.json").read_text())
    ours, stock = report["rows"]
    assert (ours["options"], stock["options"]) == ({}, {"engine_batch": 32})
    for row in (ours, stock):
        assert len(row["searched"]) == 4
        assert [len(rounds) for rounds in row["launches"]] == [3, 3]
        assert all(count >= 1 and ns > 0 for rounds in row["launches"] for count, ns in rounds)
        assert 0 < row["call_ms"]["p50"] <= row["call_ms"]["p99"]
        assert row["images_per_s"]["low"] <= row["images_per_s"]["value"] <= row["images_per_s"]["high"]
        best = max(row["searched"], key=lambda point: point["images_per_s"])
        assert row["best"] == {name: best[name] for name in ("callers", "images", "threads")}
    assert report["machine"]["usable_cores"] >= 1


def test_what_could_not_be_made_is_a_failure_where_that_is_asked_for(
    small_faces: Path, small_exports: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("CALLERS", (1,)), ("IMAGES", (1,)), ("SEARCH_S", 0.01), ("ROUNDS", 1), ("TURN_S", 0.02)):
        monkeypatch.setattr(throughput, name, value)
    made = {"ort-fp32": small_exports.into(tmp_path, "ort-fp32")["ort-fp32"]}
    made["stock-onnx-fp32"] = TargetUnavailable("No disk. One was expected. Buy it.")
    monkeypatch.setattr(throughput, "make", lambda *given, **more: made)
    arguments = ["--mode", "throughput", "--data", str(small_faces), "--out", str(tmp_path), "--seconds", "0.02"]
    arguments += ["--configs", "C8", "--targets", "ort-fp32", "--threads", "1", "--launches", "1"]
    assert cli.run("bench", arguments) == 0
    assert cli.run("bench", [*arguments, "--strict"]) == 1


@pytest.mark.parametrize("opens", [0, 1], ids=["never", "once"])
def test_a_model_that_fails_leaves_the_others_theirs(
    small_faces: Path,
    small_exports: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    opens: int,
) -> None:
    """Its file is gone when it is opened, or when it is opened again to take turns with the others."""
    for name, value in (("CALLERS", (1,)), ("IMAGES", (1,)), ("SEARCH_S", 0.01), ("ROUNDS", 2), ("TURN_S", 0.02)):
        monkeypatch.setattr(throughput, name, value)
    made = small_exports.into(tmp_path, "ort-fp32", "onnx-fp32")
    lost, turn, left = made["onnx-fp32"], throughput._turn, [opens]

    def counting(*given: Any) -> Turn:
        if not left[0]:
            lost.path.unlink(missing_ok=True)
        left[0] -= 1
        return turn(*given)

    monkeypatch.setattr(throughput, "_turn", counting)
    arguments = ["--mode", "throughput", "--data", str(small_faces), "--out", str(tmp_path), "--seconds", "0.02"]
    arguments += ["--threads", "1", "--launches", "1", "--models", str(made["ort-fp32"].path), str(lost.path)]
    assert cli.run("bench", arguments) == 0
    captured = capsys.readouterr()
    assert f"{lost.path} is missing" in captured.err
    (row,) = json.loads(captured.out.splitlines()[-1])["rows"]
    assert row["target"] == "ort-fp32"
    report = json.loads((tmp_path / "throughput.json").read_text())
    assert [failure["target"] for failure in report["failures"]] == ["onnx-fp32"]
    alone = [*arguments[: arguments.index("--models")], "--models", str(made["ort-fp32"].path), "--strict"]
    assert cli.run("bench", alone) == 0

    def hot(*given: Any) -> Turn:
        raise TargetUnavailable("It is too hot. It was expected to be cool. Wait.")

    monkeypatch.setattr(throughput, "_turn", hot)
    assert cli.run("bench", alone) == 2
    said = capsys.readouterr().err
    assert "C8 ort-fp32: TargetUnavailable: It is too hot." in said
    assert "None of 1 models could be measured. One was expected at least. Mend what is said above." in said


def test_weights_of_other_classes_are_measured_on_their_own_faces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ("happiness", "bored", "tired")
    faces = layouts.folders(tmp_path / "own", labels, {"train": 3, "test": 2})
    torch.manual_seed(0)
    spec = InputSpec(size=32, labels=labels)
    weights = checkpoint.save(build(variant("C8"), 3), tmp_path, "mine", input_spec=spec, training={}).path
    made = {"ort-fp32": TargetUnavailable("Not here. It was expected. Go there.")}
    monkeypatch.setattr(throughput, "make", lambda *given, **more: made)
    arguments = ["--mode", "throughput", "--data", str(faces), "--weights", str(weights), "--configs", "C8"]
    assert cli.run("bench", [*arguments, "--out", str(tmp_path / "out"), "--targets", "ort-fp32"]) == 3
    assert capsys.readouterr().err.endswith("TargetUnavailable: Not here. It was expected. Go there.\n")

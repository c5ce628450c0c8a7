"""lc2fer-bench --accuracy-only, with a fake engine that finds the class of the pictures by their red."""

import json
import re

import pytest
from lc2fer.benchmarks import accuracy, command

from lc2fer.errors import ArtifactError, Lc2ferError, TargetUnavailable

# What is made of each target: with "off" the first class's pictures get another answer.
MADE = {"torch": b"", "onnx-int8": b"off", "trt-fp16": TargetUnavailable("No driver. One was expected. Build it.")}


@pytest.fixture
def arguments(engine, tiny, faces, tmp_path, monkeypatch):
    def make(config, targets, *, out, **rest):
        return {
            target: MADE[target]
            if isinstance(MADE[target], Exception)
            else tiny(out, f"{config}-{target}", MADE[target], target=target)
            for target in targets
        }

    monkeypatch.setattr(accuracy, "make", make)
    return ["--accuracy-only", "--threads", "1", "--data", str(faces), "--out", str(tmp_path / "out"), "--targets"]


def test_models_are_scored_beside_their_parent_without_any_time(arguments, tmp_path, capsys):
    document = command.main([*arguments, "onnx-int8", "trt-fp16"])
    parent, int8 = document["rows"]
    assert (parent["target"], parent["accuracy"], parent["agreement"]) == ("torch", 1.0, 1.0)
    assert (int8["target"], int8["agreement"]) == ("onnx-int8", pytest.approx(6 / 7))
    assert int8["accuracy"] == pytest.approx(6 / 7)
    assert int8["low"] < int8["accuracy"] < int8["high"]
    assert int8["recalls"] == {"surprise": 0, **dict.fromkeys(list(parent["recalls"])[1:], 1)}
    assert "exit_code" not in document
    assert not [name for name in int8 if name.endswith("_ms")]
    written = json.loads((tmp_path / "out" / "accuracy.json").read_text())
    assert written == {name: value for name, value in document.items() if name != "accuracy"}
    told = capsys.readouterr()
    assert told.out.startswith("70 test images of ")
    assert "C6 trt-fp16: TargetUnavailable: No driver." in told.err
    assert [line.split()[:3] for line in told.out.splitlines()[3:5]] == [
        ["C6", "torch", "100.00"],
        ["C6", "onnx-int8", "85.71"],
    ]
    left = [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert left == []  # its temporary files


def test_a_model_that_cannot_be_made_is_a_failure_where_that_is_asked_for(arguments):
    assert command.main([*arguments, "trt-fp16", "--strict", "--limit", "7"])["exit_code"] == 1


def test_a_model_that_fails_takes_no_other_along(arguments, monkeypatch, capsys):
    monkeypatch.setitem(MADE, "onnx-int8", b"raise")
    document = command.main([*arguments, "onnx-int8"])
    assert [row["target"] for row in document["rows"]] == ["torch"]
    assert "exit_code" not in document
    assert "C6 onnx-int8: " in capsys.readouterr().err
    assert command.main([*arguments, "onnx-int8", "--strict"])["exit_code"] == 1
    monkeypatch.setitem(MADE, "torch", b"raise")
    with pytest.raises(Lc2ferError, match="no such kernel"):
        command.main([*arguments, "onnx-int8"])


@pytest.mark.parametrize("folder", [".", "runs"])
def test_a_folder_in_the_place_of_weights(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(
        ArtifactError, match=rf"^{re.escape(folder)} is a folder\. Expected a file, weights as safetens"
    ):
        command.main(["--weights", folder, "--configs", "C8", "--targets", "onnx-fp32", "--accuracy-only"])

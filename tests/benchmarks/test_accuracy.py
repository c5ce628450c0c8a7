"""lc2fer-bench --accuracy-only, with a fake engine that finds the class of the pictures by their red."""

import json
import re
import shutil

import pytest
from lc2fer.benchmarks import accuracy, command

from lc2fer.data import records
from lc2fer.errors import ArtifactError, DataError, Lc2ferError, TargetUnavailable, UsageError
from lc2fer.targets import STOCK

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


def test_random_weights_and_those_of_unknown_origin_are_marked(engine, tiny, faces, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--accuracy-only", "--data", str(faces), "--out", str(out), "--limit", "7", "--models"]
    parent = tiny(out, "C6-torch", b"", target="torch")
    document = json.loads(parent.manifest_path.read_text())
    for training, word, mark in (
        ({"weights": "random"}, "random", "C6*"),
        ({"epoch": 3}, "trained", "C6"),
    ):
        parent.manifest_path.write_text(json.dumps({**document, "training": training}))
        (row,) = command.main([*arguments, str(parent.path)])["rows"]
        table = capsys.readouterr().out
        assert (row["weights"], table.splitlines()[3].split()[0]) == (word, mark)
        assert ("the accuracy proves nothing" in table) == (word != "trained")
    (row,) = command.main([*arguments, str(tiny(out, "C6-onnx-fp32", b"").path)])["rows"]
    assert row["weights"] == "unknown"


def test_peers_are_scored_too(arguments, monkeypatch):
    for target in STOCK:
        monkeypatch.setitem(MADE, target, TargetUnavailable("No such engine."))
    monkeypatch.setitem(MADE, "stock-onnx-int8", b"off")
    document = command.main([*arguments, "onnx-int8", "--peers", "stock"])
    assert [row["target"] for row in document["rows"]] == ["torch", "onnx-int8", "stock-onnx-int8"]
    assert document["rows"][2]["agreement"] == pytest.approx(6 / 7)


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


def test_models_of_other_weights_are_not_put_beside_a_checkpoint(engine, tiny, faces, tmp_path):
    parent = tiny(tmp_path / "a", "C6-torch", b"", target="torch")
    other = tiny(tmp_path / "b", "C6-torch", b"off", target="torch")
    strange = tiny(tmp_path / "b", "C6-onnx-int8", b"off", target="onnx-int8")
    arguments = ["--accuracy-only", "--data", str(faces), "--out", str(tmp_path / "out"), "--models"]
    with pytest.raises(ArtifactError, match=r"C6-onnx-int8\.onnx was not made from .*C6-torch\.onnx\. Models of"):
        command.main([*arguments, str(strange.path), str(parent.path)])
    with pytest.raises(UsageError, match=r"C6-torch\.onnx are both C6 torch\. A report has one row of each"):
        command.main([*arguments, str(parent.path), str(other.path)])


@pytest.mark.parametrize("how", [["--accuracy-only"], ["--launches", "1", "--seconds", "0", "--runs", "30"]])
def test_models_are_not_scored_on_faces_that_were_cut_out_otherwise(how, engine, tiny, faces, tmp_path):
    cut = tmp_path / "cut"
    shutil.copytree(faces, cut)
    records.write(cut, "eyes", 8, "a finder")
    model = tiny(tmp_path, "C6-onnx-fp32", b"")
    arguments = ["--data", str(cut), "--out", str(tmp_path / "out"), "--models", str(model.path), *how]
    with pytest.raises(DataError, match=r"were cut out with --alignment eyes, and those .* trained on with none\."):
        command.main(arguments)


@pytest.mark.parametrize("folder", [".", "runs"])
def test_a_folder_in_the_place_of_weights(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(
        ArtifactError, match=rf"^{re.escape(folder)} is a folder\. Expected a file, weights as safetens"
    ):
        command.main(["--weights", folder, "--configs", "C8", "--targets", "onnx-fp32", "--accuracy-only"])


@pytest.mark.parametrize(
    ("mode", "flag"),
    [
        ("--accuracy-only", "--robustness"),
        ("--accuracy-only", "--thumbnails"),
        ("--accuracy-only", "--mode throughput"),
        ("--mode throughput", "--robustness"),
        ("--mode throughput", "--peers"),
    ],
)
def test_what_a_mode_has_no_part_of_is_not_left_out_silently(mode, flag):
    with pytest.raises(UsageError, match=rf"^{flag} was given with {mode}, which has no part of it\. A run of its own"):
        command._parse([*mode.split(), *flag.split()])

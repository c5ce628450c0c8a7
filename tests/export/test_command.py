"""lc2fer-export, as its user sees it, and all eight variants through it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lc2fer import artifact as artifacts
from lc2fer import cli
from lc2fer.variants import VARIANTS


@pytest.fixture(scope="module")
def large_faces(tmp_path_factory: pytest.TempPathFactory, write_faces: Callable[..., Path]) -> Path:
    """60 training and 3 test pictures a class, 100x100."""
    return write_faces(tmp_path_factory.mktemp("large") / "faces", train=60, test=3, side=100)


@pytest.mark.every
@pytest.mark.parametrize("config", VARIANTS)
def test_all_eight_are_exported_and_proven(
    config: str, large_faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for target in ("onnx-fp32", "openvino-int8"):
        arguments = ["--config", config, "--target", target, "--data", str(large_faces), "--out", str(tmp_path)]
        assert cli.run("export", [*arguments, "--calibration-images", "40"]) == 0
        document = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert Path(document["artifact"]).stem == f"{config}-{target}"
        assert document["proof"]["images"] == 84
        assert artifacts.load(Path(document["manifest"])).sha256 == document["sha256"]


def test_an_engine_exits_3_and_keeps_its_source(
    faces: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", "c8", "--target", "trt-fp32", "--weights", str(weights), "--data", str(faces)]
    assert cli.run("export", [*arguments, "--out", str(tmp_path)]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("TargetUnavailable: TensorRT cannot be used here: ")
    assert (tmp_path / "C8-onnx-fp32.onnx").is_file()
    assert not list(tmp_path.glob("*.engine"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--config", "C8", "--target", "onnx-fp32", "--max-batch", "8"],
            "--max-batch 8 was given for onnx-fp32. Expected 1 to 256, for one of trt-fp32, trt-fp16, trt-int8, "
            "rtx-fp16, rtx-int8: other files take any batch. Correct or leave out --max-batch.",
        ),
        (
            ["--config", "C9", "--target", "onnx-fp32"],
            "UsageError: There is no configuration 'C9'. Expected one of C1, ",
        ),
        (["--config", "C6", "--target", "onnx"], "UsageError: There is no target 'onnx'. Expected one of torch, "),
        (
            ["--config", "C6", "--target", "torch", "--weights", "no.safetensors"],
            "ArtifactError: no.safetensors is missing.",
        ),
        (
            ["--config", "C8", "--target", "onnx-fp32", "--data", "/nowhere"],
            "DataError: /nowhere is not a folder. Expected RAF-DB",
        ),
    ],
)
def test_bad_arguments(arguments: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run("export", [*arguments, "--out", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert text in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err

"""lc2fer-deploy build on the tests' TensorRT and GPU, and with ONNX Runtime: proven, measured, kept, reused."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from lc2fer.deploy.device import bundle, choice, golden
from lc2fer.deploy.device import packing as making
from numpy.typing import NDArray

from lc2fer import cli, open_session
from lc2fer.errors import ArtifactError
from lc2fer.kernels import build

FAKES = Path(__file__).resolve().parents[1] / "fakes"

Say = Callable[[str], None]


@pytest.fixture(scope="session")
def packed(
    tmp_path_factory: pytest.TempPathFactory,
    small_weights: Path,
    small_faces: Path,
    small_exports: Any,
    own_wheels: None,
) -> Path:
    """A bundle of a small C8. Not to be changed."""
    out = tmp_path_factory.mktemp("choice")
    small_exports.into(out, *making.SOURCES, *making._on_cpu(lambda text: None))
    return making.make(
        "C8",
        out,
        weights=small_weights,
        data=str(small_faces),
        images="aligned",
        calibration_images=40,
        say=lambda text: None,
    )[0]


def test_a_configuration_in_small_letters_is_the_same(
    packed: Path, tmp_path: Path, small_weights: Path, small_faces: Path
) -> None:
    out = Path(shutil.copytree(packed.parent, tmp_path / "out"))
    options: dict[str, Any] = {"data": str(small_faces), "images": "aligned", "calibration_images": 40}
    path, _ = making.make("c8", out, weights=small_weights, say=lambda text: None, **options)
    assert path == out / "C8.bundle"
    assert bundle.unpack(path, tmp_path / "C8").variant == "C8"


@pytest.fixture
def unpacked(packed: Path, tmp_path: Path) -> bundle.Bundle:
    return bundle.unpack(packed, tmp_path / "C8")


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Takes the place of the stop watch: milliseconds by target."""
    times = {"trt-fp16": 2.0, "trt-int8": 1.0, "onnx-fp16": 2.0, "onnx-int8": 3.0, "onnx-int8-fp16": 3.0}
    times |= {"ort-fp32-fused": 1.2, "ort-fp16-fused": 1.1, "ort-int8-fused": 0.5, "ort-fp32": 2.1, "ort-int8": 1.95}

    def measure(models: list[choice.Artifact], *rest: object) -> dict[str, float]:
        return {each.path.name: times[each.target] for each in models}

    monkeypatch.setattr(choice, "_measure", measure)
    return times


def test_engines_are_built_proven_and_chosen(
    gpu: ModuleType, unpacked: bundle.Bundle, clocked: dict[str, float], said: list[str]
) -> None:
    made = choice.choose(unpacked, "tensorrt", threads=None, say=said.append)
    assert made.file == "C8-trt-int8.engine"
    assert made.why == "INT8 is 2.00 times as fast as FP16, and needs 1.05"
    assert [(each.target, each.refused, each.p50_ms) for each in made.candidates] == [
        ("trt-fp16", None, 2.0),
        ("trt-int8", None, 1.0),
    ]
    assert choice.chosen(unpacked.folder) == made
    clocked.update({"trt-int8": 9.0})  # not measured again
    assert choice.choose(unpacked, "tensorrt", threads=None, say=said.append) == made
    assert said[-1] == "C8-trt-int8.engine: chosen before, from the same models"


def test_engines_for_batches_are_measured_with_batches(
    gpu: ModuleType,
    unpacked: bundle.Bundle,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measured: list[tuple[int, ...]] = []

    def measure(models: list[choice.Artifact], batch: NDArray[np.float32], threads: None) -> dict[str, float]:
        measured.append(batch.shape)
        return {each.path.name: 2.0 if each.target == "trt-int8" else 6.0 for each in models}

    monkeypatch.setattr(choice, "_measure", measure)
    build = ["build", str(unpacked.folder), "--max-batch"]
    assert cli.run("deploy", [*build, "60"]) == 0  # more than there are golden faces
    document, err = capsys.readouterr()
    lines = err.splitlines()
    table = lines[next(number for number, line in enumerate(lines) if line.startswith("model ")) :]
    assert table[0].endswith("p50 ms, 60 images")
    assert table[-1] == "C8-trt-int8.engine: INT8 is 3.00 times as fast as FP16, and needs 1.05"
    assert json.loads(document)["max_batch"] == 60
    images, _ = unpacked.golden
    with open_session(unpacked.folder / "C8-trt-int8.engine") as session:
        assert session.artifact.device is not None
        assert (session.artifact.device["max_batch"], session.most) == (60, 60)  # type: ignore[attr-defined]
        one_by_one = np.concatenate([session.run(image[np.newaxis]) for image in images[:7]])
        assert np.abs(session.run(images[:7]) - one_by_one).max() < 1e-3
    assert cli.run("deploy", [*build, "60"]) == 0
    assert "chosen before" in capsys.readouterr().err
    assert cli.run("deploy", build[:-1]) == 0  # for a camera: another engine, and another verdict
    assert measured == [(60, *images.shape[1:]), (1, *images.shape[1:])]
    assert choice.chosen(unpacked.folder).max_batch == 1


@pytest.mark.parametrize(("engine", "most"), [("tensorrt", 0), ("tensorrt", 257), ("onnxruntime", 8)])
def test_a_batch_that_no_engine_takes_is_refused(
    clean: None, packed: Path, capsys: pytest.CaptureFixture[str], engine: str, most: int
) -> None:
    assert cli.run("deploy", ["build", str(packed), "--engine", engine, "--max-batch", str(most)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"UsageError: --max-batch {most} was given for {engine}. Expected 1 to 256, for tensorrt: other models take "
        "any batch. Correct or leave out --max-batch."
    )


def test_slower_int8_is_not_chosen(
    gpu: ModuleType, unpacked: bundle.Bundle, clocked: dict[str, float], said: list[str]
) -> None:
    clocked["trt-int8"] = 1.95
    made = choice.choose(unpacked, "tensorrt", threads=None, say=said.append)
    assert made.file == "C8-trt-fp16.engine"
    assert made.why == "INT8 is 1.03 times as fast as FP16, and needs 1.05"


def test_int8_that_answers_otherwise_is_refused(
    gpu: ModuleType,
    unpacked: bundle.Bundle,
    clocked: dict[str, float],
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judge = golden.judge

    def broken(
        model: str,
        reference: np.ndarray,
        logits: np.ndarray,
        needed: float,  # type: ignore[type-arg]
    ) -> golden.Verdict:
        return judge(model, reference, np.roll(logits, 1, axis=1) if "int8" in model else logits, needed)

    monkeypatch.setattr(golden, "judge", broken)
    made = choice.choose(unpacked, "tensorrt", threads=None, say=said.append)
    assert made.file == "C8-trt-fp16.engine"
    assert made.why == "nothing of the other precision answers as the trained network does"
    refused = made.candidates[1].refused or ""
    assert refused.startswith("C8-trt-int8.engine answers ")
    assert "It was not kept" in refused
    assert not (unpacked.folder / "C8-trt-int8.engine").exists()


def test_without_tensorrt_it_says_what_to_do(clean: None, packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run("deploy", ["build", str(packed)]) == 3
    assert capsys.readouterr().err == (
        "TargetUnavailable: TensorRT cannot be used here: the package tensorrt is not installed. TensorRT 10.3 or "
        "newer and its GPU were expected. Run lc2fer-deploy doctor and mend what it names, or build with --engine "
        "onnxruntime.\n"
    )


# -- what goes wrong while engines are built --------------------------------------------------------------------------

KILLED = """
import sys, time
from lc2fer import cli
from lc2fer.deploy.device import golden

def judge(*given):
    print("proving", file=sys.__stdout__, flush=True)
    time.sleep(120)

golden.judge = judge
cli.run("deploy", ["build", sys.argv[1]])
"""


def test_a_build_that_was_killed_leaves_nothing_that_counts_and_is_cleaned_up(
    put_in: Callable[..., None], unpacked: bundle.Bundle, clocked: dict[str, float], said: list[str]
) -> None:
    path = os.pathsep.join(str(FAKES / name) for name in ("gpu", "cuda_python"))
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(unpacked.folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "proving\n"
        process.kill()
    (left,) = unpacked.folder.glob(".making-*")
    assert (left / "C8-trt-fp16.engine").is_file()
    assert not (unpacked.folder / "C8-trt-fp16.engine").exists()
    assert cli.run("deploy", ["verify", str(unpacked.folder)]) == 0
    os.utime(left, (0, 0))  # it was long ago
    put_in("tensorrt", "cuda")
    assert choice.choose(unpacked, "tensorrt", threads=None, say=said.append).file == "C8-trt-int8.engine"
    assert list(unpacked.folder.glob(".making-*")) == []


def test_a_full_disk_keeps_what_was_there(
    gpu: ModuleType,
    unpacked: bundle.Bundle,
    clocked: dict[str, float],
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = choice.choose(unpacked, "tensorrt", threads=None, say=said.append)
    engine = unpacked.folder / "C8-trt-int8.engine"
    engine.write_bytes(engine.read_bytes()[:-1])
    there = {path.name: path.read_bytes() for path in unpacked.folder.iterdir()}
    whole = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if self.suffix == ".engine":
            whole(self, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert cli.run("deploy", ["build", str(unpacked.folder)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"Lc2ferError: The disk of {unpacked.folder} is full. Room for the new files was expected; what was there "
        "before is untouched. Free some space and run the command again."
    )
    assert {path.name: path.read_bytes() for path in unpacked.folder.iterdir()} == there
    monkeypatch.undo()
    assert choice.chosen(unpacked.folder) == before


def test_a_truncated_engine_is_refused_and_built_again(
    gpu: ModuleType,
    unpacked: bundle.Bundle,
    clocked: dict[str, float],
    said: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    choice.choose(unpacked, "tensorrt", threads=None, say=said.append)
    engine = unpacked.folder / "C8-trt-int8.engine"
    whole = engine.read_bytes()
    engine.write_bytes(whole[: len(whole) // 2])
    assert cli.run("deploy", ["verify", str(unpacked.folder), "--model", str(engine)]) == 2
    assert f"ArtifactError: {engine}" in capsys.readouterr().err
    assert choice.choose(unpacked, "tensorrt", threads=None, say=said.append).file == engine.name
    assert len(engine.read_bytes()) == len(whole)


def test_onnx_runtime_chooses_by_its_own_clock(
    clean: None, unpacked: bundle.Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run("deploy", ["build", str(unpacked.folder), "--engine", "onnxruntime", "--threads", "1"]) == 0
    out, err = capsys.readouterr()
    *_, why = err.splitlines()
    document = json.loads(out)
    assert {each["target"] for each in document["candidates"]} == set(making.SOURCES + making.ON_CPU) - {"native-int8"}
    best = {}
    for each in sorted(document["candidates"], key=lambda each: -each["p50_ms"]):
        best["int8" in each["target"]] = each
    assert best[True]["p50_ms"] > 0
    speedup = best[False]["p50_ms"] / best[True]["p50_ms"]
    assert document["file"] == best[speedup >= 1.05]["file"]
    assert why == f"{document['file']}: {document['why']}"


def test_on_a_cpu_int8_has_to_beat_the_fastest_float(
    clean: None, unpacked: bundle.Bundle, clocked: dict[str, float], said: list[str]
) -> None:
    made = choice.choose(unpacked, "onnxruntime", threads=1, say=said.append)
    assert (made.file, made.why) == ("C8-ort-int8-fused.onnx", "INT8 is 2.20 times as fast as FP16, and needs 1.05")
    clocked["ort-fp32-fused"] = 0.51
    made = choice.choose(unpacked, "onnxruntime", threads=2, say=said.append)
    assert (made.file, made.why) == ("C8-ort-fp32-fused.onnx", "INT8 is 1.02 times as fast as FP32, and needs 1.05")


def test_without_our_operations_the_rest_is_chosen_from(
    clean: None,
    unpacked: bundle.Bundle,
    clocked: dict[str, float],
    said: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path))
    build.library.cache_clear()
    made = choice.choose(unpacked, "onnxruntime", threads=1, say=said.append)
    assert made.file == "C8-onnx-fp16.onnx"
    refused = [each.target for each in made.candidates if each.refused is not None]
    assert refused == ["ort-fp32-fused", "ort-fp16-fused", "ort-int8-fused"]
    assert sum("there is no no-such-compiler" in line for line in said) == 3
    build.library.cache_clear()


def test_a_damaged_verdict_is_made_again(
    clean: None, unpacked: bundle.Bundle, clocked: dict[str, float], said: list[str]
) -> None:
    with pytest.raises(ArtifactError, match=r"C8 has no choice.json. Expected the verdict of a build"):
        choice.chosen(unpacked.folder)
    made = choice.choose(unpacked, "onnxruntime", threads=1, say=said.append)
    (unpacked.folder / choice.CHOICE).write_text('{"format": 1')
    with pytest.raises(ArtifactError, match=r"choice.json is damaged"):
        choice.chosen(unpacked.folder)
    for file in (5, None, "../C8-onnx-fp16.onnx"):
        damaged = made.to_json() | {"file": file}
        (unpacked.folder / choice.CHOICE).write_text(json.dumps(damaged))
        with pytest.raises(ArtifactError, match=r"choice.json is damaged"):
            choice.chosen(unpacked.folder)
    assert choice.choose(unpacked, "onnxruntime", threads=1, say=said.append) == made
    assert choice.chosen(unpacked.folder) == made


def test_a_device_without_the_engine_is_told_so(
    clean: None, unpacked: bundle.Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for name in [name for name in sys.modules if name.startswith("lc2fer.deploy.sessions.onnxruntime")]:
        monkeypatch.delitem(sys.modules, name)
    assert cli.run("deploy", ["build", str(unpacked.folder), "--engine", "onnxruntime"]) == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("TargetUnavailable: C8-")
    assert " cannot be opened here: the package onnxruntime is not installed. " in last


def test_other_threads_are_measured_again(
    clean: None, unpacked: bundle.Bundle, clocked: dict[str, float], said: list[str]
) -> None:
    choice.choose(unpacked, "onnxruntime", threads=1, say=said.append)
    clocked["ort-int8"] = 0.4
    assert choice.choose(unpacked, "onnxruntime", threads=2, say=said.append).file == "C8-ort-int8.onnx"

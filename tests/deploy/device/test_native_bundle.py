"""liblc2fer in a bundle: carried for ARM, and chosen on the device."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from lc2fer.deploy.device import bundle, golden, wheel
from lc2fer.export.pipeline import Pipeline

from lc2fer import cli, kernels, open_session
from lc2fer.artifact import record_of
from lc2fer.kernels import build
from lc2fer.kernels import wheel as kernels_wheel

COMMON = ("golden.images", "golden.logits")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, small_weights: Path, noise_faces: Path) -> Callable[[str], Path]:
    """A bundle of one model; the golden faces are judged by the trained network."""
    out = tmp_path_factory.mktemp("out")
    pipeline = Pipeline("C8", out, weights=small_weights, data=noise_faces)

    def pack(target: str) -> Path:
        if target.startswith("native") and kernels.or_instead(target) != target:
            pytest.skip("liblc2fer cannot be had here")
        made = pipeline.export(target)
        pixels = golden.faces(made.input_spec)
        with open_session(pipeline.checkpoint) as session:
            logits = session.run(pixels.transpose(0, 3, 1, 2).astype("f4"))
        (out / "golden.images").write_bytes(pixels.tobytes())
        (out / "golden.logits").write_bytes(logits.astype("<f4").tobytes())
        files = [made.path, made.manifest_path, *(out / name for name in COMMON)]
        spec, parent = made.input_spec, pipeline.checkpoint.sha256
        models = [bundle.Model(made.path.name, 24.0)]
        path = out / f"{target}.bundle"
        bundle.write(path, files, variant="C8", input_spec=spec, parent_sha256=parent, models=models)
        return path

    return pack


def test_the_device_builds_with_liblc2fer(
    packed: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bundle.unpack(packed("native-fp32"), tmp_path / "C8").folder
    assert cli.run("deploy", ["verify", str(folder)]) == 0
    assert cli.run("deploy", ["build", str(folder), "--engine", "native", "--threads", "1"]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["file"] == "C8-native-fp32.lc2"
    assert document["why"] == "nothing of the other precision is made for this engine"
    (candidate,) = [each for each in document["candidates"] if each["refused"] is None and each["p50_ms"]]
    assert candidate["verdict"]["passed"]


def test_a_bundle_without_it_says_so(
    packed: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bundle.unpack(packed("onnx-fp32"), tmp_path / "C8").folder
    assert cli.run("deploy", ["build", str(folder), "--engine", "native", "--threads", "1"]) == 2
    assert (
        f"{folder} carries none of native-fp32, native-int8, which native runs. A bundle with one was expected. Make "
        "it anew with this version, or build with another --engine."
    ) in capsys.readouterr().err


def test_the_library_lies_beside_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "made.so"
    library.write_bytes(b"a library")
    monkeypatch.setattr(kernels_wheel, "library_for", lambda engine, machine: library)
    assert wheel.write_library(tmp_path) == []
    assert (tmp_path / "liblc2fer-aarch64.so").read_bytes() == b"a library"
    assert b"lc2fer_open(" in (tmp_path / "lc2fer.h").read_bytes()
    assert record_of(tmp_path / "liblc2fer-aarch64.so").size_bytes == 9


def test_without_a_compiler_for_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(engine: str, machine: str) -> Path:
        raise build.Lacking("there is no ziglang. One was expected. Install it")

    monkeypatch.setattr(kernels_wheel, "library_for", lacking)
    assert wheel.write_library(tmp_path) == [
        "The bundle has no liblc2fer for aarch64: there is no ziglang. One was expected. Install it, and make it again."
    ]
    assert list(tmp_path.iterdir()) == []

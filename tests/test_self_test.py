"""An INT8 model on a processor that it was not proven on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lc2fer
from lc2fer import artifact as artifacts
from lc2fer import processor, self_test
from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError, TargetUnavailable

VNNI = "flags\t\t: fpu avx2 avx512f avx512_vnni\n"
NO_VNNI = "model name\t: Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz\nflags\t\t: fpu avx2 fma\n"
RULE = (
    " cannot be trusted here: Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz has no VNNI, and without it the engine's sums "
    "of 8-bit products overflow (C6 falls from 36 to 15 dB). A processor with VNNI, or an ARM one, was expected. "
    "Export {}, or a target that ends in -int8-fused, whose sums are exact everywhere."
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, small_exports: Any) -> dict[str, Artifact]:
    if not processor.has_exact_products():
        pytest.skip("this processor has no VNNI, so nothing can be proven on it")
    targets = ("openvino-int8", "ort-int8", "onnx-int8", "ort-fp32")
    made: dict[str, Artifact] = small_exports.into(tmp_path_factory.mktemp("models"), *targets)
    return {target: made[target] for target in targets}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def cpuinfo(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    (folder / "cpuinfo").write_text(text)
    monkeypatch.setattr(processor, "_CPUINFO", folder / "cpuinfo")


def test_the_pictures_are_these() -> None:
    pictures = self_test.images(100)
    assert (pictures.shape, pictures.dtype) == ((4, 3, 100, 100), np.float32)
    assert self_test._digest(pictures) == "e8324b4046c90c16"
    assert self_test._digest(self_test.images(48)) == "4df1b0caac5671ff"


def test_int8_keeps_what_it_answered_and_nothing_else_does(models: dict[str, Artifact]) -> None:
    assert [target for target, made in models.items() if made.self_test is not None] == [
        "openvino-int8",
        "ort-int8",
        "onnx-int8",
    ]
    kept = models["ort-int8"].self_test
    assert kept is not None
    assert np.shape(kept["logits"]) == (4, 7)
    assert 20 < kept["needed_db"] <= 36


@pytest.mark.parametrize("target", ["openvino-int8", "ort-int8"])
def test_other_numbers_are_refused_once_and_equal_ones_remembered(
    target: str, models: dict[str, Artifact], cache: Path, tmp_path: Path
) -> None:
    made = models[target]
    with lc2fer.open_session(made, threads=1):
        assert len(list((cache / "checked").iterdir())) == 1
    assert made.self_test is not None
    shutil.copytree(made.path.parent, tmp_path / "models")
    other = replace(made, path=tmp_path / "models" / made.path.name)
    logits = np.asarray(made.self_test["logits"])
    spread = (logits - logits.mean(axis=0)).std()
    bad_db = made.self_test["needed_db"] - 8
    noise = np.random.default_rng(0).normal(0, spread * 10 ** (-bad_db / 20), logits.shape)
    other = replace(other, self_test={**made.self_test, "logits": (logits + noise).tolist()})
    artifacts.write(other.manifest_path, other.to_json())
    with lc2fer.open_session(other.path, threads=1):  # the same file, tested before
        pass
    shutil.rmtree(cache)
    instead = "openvino-fp32" if target == "openvino-int8" else "ort-fp32"
    with pytest.raises(TargetUnavailable) as refused:
        lc2fer.open_session(other.path, threads=1)
    start, _, rest = str(refused.value).partition(" dB on its own ")
    before, _, sqnr_db = start.rpartition(" ")
    assert before == f"{made.path.name} computes other numbers here than where it was proven:"
    assert abs(float(sqnr_db) - bad_db) < 4
    assert rest == (
        f"test pictures, {made.self_test['needed_db']:g} were expected. {processor.name()} may lack 8-bit products "
        f"that do not overflow (on x86: VNNI). Export {instead}, or a target that ends in -int8-fused, whose sums are "
        "exact everywhere."
    )
    assert not cache.exists()
    package = "openvino" if target == "openvino-int8" else "onnxruntime"
    with pytest.raises(TargetUnavailable) as refused:
        lc2fer.open_session(replace(other, tools={**other.tools, package: "1.2.3"}), threads=1)
    assert str(refused.value).endswith(
        f" were expected. It was proven with {package} 1.2.3, and {metadata.version(package)} runs it here. Install "
        f"that version, or export {instead}."
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: {},
        lambda kept: [],
        lambda kept: {**kept, "logits": kept["logits"][:3]},
        lambda kept: {**kept, "logits": [[None] * 7] * 4},
        lambda kept: {**kept, "needed_db": "much"},
    ],
)
def test_what_a_manifest_kept_of_it_is_damaged(
    damage: Callable[[Any], Any], models: dict[str, Artifact], cache: Path
) -> None:
    made = models["ort-int8"]
    with pytest.raises(ArtifactError) as refused:
        lc2fer.open_session(replace(made, self_test=damage(made.self_test)), threads=1)
    said = str(refused.value)
    assert said.startswith(f"{made.manifest_path} holds a damaged self_test (")
    assert said.endswith("). Expected what lc2fer-export writes. Copy the manifest again, or export the model again.")


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    models: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path / "file" / "cache"))
    with lc2fer.open_session(models["ort-int8"], threads=1) as session:
        assert session.run(np.zeros((1, 3, 32, 32), np.float32)).shape == (1, 7)


@pytest.mark.parametrize(("target", "instead"), [("openvino-int8", "openvino-fp32"), ("ort-int8", "ort-fp32")])
def test_a_processor_without_vnni_is_refused_before_anything_is_computed(
    target: str, instead: str, models: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo(monkeypatch, tmp_path, NO_VNNI)
    with pytest.raises(TargetUnavailable) as refused:
        lc2fer.open_session(models[target])
    assert str(refused.value) == models[target].path.name + RULE.format(instead)
    for exact in ("onnx-int8", "ort-fp32"):  # float between Q and DQ, and float
        with lc2fer.open_session(models[exact], threads=1):
            pass


def test_what_an_emulator_passes_on_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    cpuinfo(monkeypatch, tmp_path, VNNI)
    monkeypatch.setattr(processor, "features", lambda: frozenset({"AVX2", "AVX512F"}))
    assert processor.has_exact_products()
    monkeypatch.setattr(processor, "features", lambda: frozenset({"AVX2"}))
    assert not processor.has_exact_products()
    cpuinfo(monkeypatch, tmp_path, "flags\t\t: fpu avx2 avx_vnni\n")
    assert processor.has_exact_products()
    monkeypatch.setattr(processor.platform, "machine", lambda: "aarch64")
    cpuinfo(monkeypatch, tmp_path, "Features\t: fp asimd\n")
    assert processor.has_exact_products()


HASWELL = """
import json, sys
import lc2fer
from lc2fer import processor
from lc2fer.errors import TargetUnavailable
found = []
for model in sys.argv[1:]:
    for rule in (processor.has_exact_products, lambda: True):
        processor.has_exact_products = rule
        try:
            lc2fer.open_session(model, threads=1).close()
            found.append("opened")
        except TargetUnavailable as refused:
            found.append(str(refused).split(": ")[0])
    processor.has_exact_products = RULE
print(json.dumps(found))
""".replace("found = []", "found, RULE = [], processor.has_exact_products")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="there is no qemu-x86_64 here")
def test_a_haswell_refuses_by_the_rule_and_by_the_pictures(models: dict[str, Artifact], tmp_path: Path) -> None:
    paths = [str(models[target].path) for target in ("openvino-int8", "ort-int8", "onnx-int8")]
    started = time.monotonic()
    done = subprocess.run(
        ["qemu-x86_64", "-cpu", "Haswell", sys.executable, "-c", HASWELL, *paths],
        env={"PATH": os.environ["PATH"], "LC2FER_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{done.stderr} after {time.monotonic() - started:.0f} s"
    openvino, ort, onnx = (Path(path).name for path in paths)
    pictures = "computes other numbers here than where it was proven"
    assert json.loads(done.stdout) == [
        f"{openvino} cannot be trusted here",
        f"{openvino} {pictures}",
        f"{ort} cannot be trusted here",
        f"{ort} {pictures}",
        *["opened"] * 2,
    ], f"{onnx}: {done.stderr}"

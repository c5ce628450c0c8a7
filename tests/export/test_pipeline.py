"""From weights to proven artifacts: what is written, reused, refused, and never left half-made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lc2fer.export import parity, pipeline
from lc2fer.export.formats import onnx, qdq
from lc2fer.export.int8.calibration import Validation
from lc2fer.export.pipeline import Pipeline
from onnx import load_model

from lc2fer import open_session
from lc2fer.artifact import Artifact, hash_file
from lc2fer.errors import ArtifactError, DataError, ParityError, TargetUnavailable, UsageError
from lc2fer.recipe import PRECISIONS
from lc2fer.targets import FILES, TARGETS

Exported = Callable[[str], Artifact]


# ONNX Runtime 1.20 reads IR 10 and no newer; tests/compatibility/runtimes.py opens each in 1.20, 1.23 and the newest.
ONNX_VERSIONS = {
    "onnx-fp32": (10, {"": 18}),
    "onnx-fp16": (10, {"": 18}),
    "onnx-int8": (10, {"": 18}),
    "onnx-int8-fp16": (10, {"": 19}),
    "ort-fp32": (10, {"": 18}),
    "ort-int8": (10, {"": 18}),
    "web-int8": (10, {"": 18}),
    "ort-fp32-fused": (8, {"": 18, "lc2fer": 1}),
    "ort-fp16-fused": (8, {"": 18, "lc2fer": 1}),
    "ort-int8-fused": (8, {"": 18, "lc2fer": 1}),
}


@pytest.mark.parametrize("target", [target for target in FILES if TARGETS[target].kind == "onnx"])
def test_ir_version_and_opset_of_every_onnx_file_are_pinned(exported: Exported, target: str) -> None:
    model = load_model(exported(target).path)
    opsets = {one.domain: one.version for one in model.opset_import}
    assert (model.ir_version, opsets) == ONNX_VERSIONS[target]


@pytest.mark.parametrize("target", FILES)
def test_every_target_is_proven_and_says_so(target: str, exported: Exported) -> None:
    artifact = exported(target)
    manifest = json.loads(artifact.manifest_path.read_text())
    assert artifact.path.stem == f"C8-{target}"
    assert manifest["proof"]["images"] == 84
    assert manifest["proof"]["sqnr_db"] >= PRECISIONS[artifact.recipe.precision].sqnr_db  # type: ignore[union-attr]
    assert manifest["proof"]["reference_sha256"] == exported("torch").sha256
    assert manifest["parent_sha256"] == exported(TARGETS[target].parents[0]).sha256
    assert manifest["tools"]["lc2fer"]
    assert sum(record["size_bytes"] for record in manifest["files"]) == artifact.size_bytes
    assert not [path for path in artifact.path.parent.iterdir() if path.name.startswith(".")]


def test_int8_names_its_images(exported: Exported) -> None:
    onnx_int8, openvino_int8 = exported("onnx-int8").calibration, exported("openvino-int8").calibration
    assert onnx_int8 == openvino_int8
    assert onnx_int8 is not None
    assert onnx_int8["images"] == 40
    assert onnx_int8["none_among_test_images"] == 21
    assert len(onnx_int8["fingerprint"]) == 64


def test_fp16_and_int8_are_smaller(exported: Exported) -> None:
    assert exported("onnx-fp16").size_bytes < 0.6 * exported("onnx-fp32").size_bytes
    assert exported("onnx-int8").size_bytes < 0.5 * exported("onnx-fp32").size_bytes
    assert exported("openvino-int8").size_bytes < 0.6 * exported("openvino-fp32").size_bytes


def test_the_same_again_is_reused(
    exported: Exported, faces: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = exported("onnx-int8")
    monkeypatch.setattr(qdq, "make", None)  # would fail if it were called
    said: list[str] = []
    again = Pipeline(
        "C8", artifact.path.parent, weights=weights, data=faces, calibration_images=40, say=said.append
    ).export("onnx-int8")
    assert again.sha256 == artifact.sha256
    assert said[-1] == "C8-onnx-int8.onnx: reused, its parent, recipe and tools are the same"


def test_a_model_that_was_proven_on_other_images_is_proven_on_these(
    exported: Exported, write_faces: Callable[..., Path], weights: Path, tmp_path: Path
) -> None:
    first = exported("onnx-fp32")
    other = write_faces(tmp_path / "other", train=40, test=3)
    out = tmp_path / "out"
    shutil.copytree(first.path.parent, out)
    made = Pipeline("C8", out, weights=weights, data=other).export("onnx-fp32")
    assert made.sha256 == first.sha256
    assert made.proof is not None
    assert first.proof is not None
    assert made.proof["images_fingerprint"] != first.proof["images_fingerprint"]
    assert made.proof["images"] < first.proof["images"]
    with pytest.raises(DataError, match="is not a folder"):
        Pipeline("C8", out, weights=weights, data=tmp_path / "none").export("onnx-fp32")
    said: list[str] = []
    Pipeline("C8", out, weights=weights, say=said.append).export("onnx-fp32")  # drawn faces prove no better
    assert said == ["C8-onnx-fp32.onnx: reused, its parent, recipe and tools are the same"]


def test_random_weights_have_the_size_that_was_asked_for(tmp_path: Path) -> None:
    for size in (64, 48):
        assert Pipeline("C1", tmp_path, size=size).export("torch").input_spec.size == size
    with pytest.raises(UsageError, match="pixels"):
        Pipeline("C1", tmp_path, size=3).export("torch")


def test_other_calibration_is_made_anew(exported: Exported, faces: Path, weights: Path, tmp_path: Path) -> None:
    first = Pipeline("C8", tmp_path, weights=weights, data=faces, calibration_images=40).export("onnx-int8")
    second = Pipeline("C8", tmp_path, weights=weights, data=faces, calibration_images=41).export("onnx-int8")
    assert first.calibration != second.calibration
    assert second.calibration is not None
    assert second.calibration["images"] == 41


@pytest.fixture
def traced_anew(traced_once: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "_traced", traced_once)
    monkeypatch.setattr(onnx, "_GRAPHS", onnx.Once())


@pytest.mark.usefixtures("traced_anew")
def test_export_is_reproducible(exported: Exported, faces: Path, weights: Path, tmp_path: Path) -> None:
    again = Pipeline("C8", tmp_path, weights=weights, data=faces, calibration_images=40).export("onnx-int8")
    assert again.sha256 == exported("onnx-int8").sha256
    assert str(Path(__file__).resolve().parents[2]).encode() not in again.path.read_bytes(), "a path of this machine"


@pytest.mark.usefixtures("traced_anew")
def test_a_wrong_graph_is_not_kept(faces: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from lc2fer.network import fuse

    def forgetful(network: object, *rest: object) -> torch.nn.Module:
        form = fuse.deploy_form(network, *rest)  # type: ignore[arg-type]
        torch.nn.init.zeros_(form.stages[1][1].project.weight)
        return form

    monkeypatch.setattr(onnx, "deploy_form", forgetful)
    with pytest.raises(
        ParityError,
        match=r"C8-onnx-fp32.onnx disagrees with the trained network: .* dB .* fp32 needs at least 60 dB and 100%\. "
        r"The artifact was not kept",
    ):
        Pipeline("C8", tmp_path, weights=weights, data=faces).export("onnx-fp32")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["C8-torch.json", "C8-torch.safetensors"]


def test_interruption_leaves_what_was_there(
    faces: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Pipeline("C8", tmp_path, weights=weights, data=faces).export("onnx-fp32")
    before = {path.name: hash_file(path) for path in tmp_path.iterdir()}
    first.manifest_path.write_text(first.manifest_path.read_text().replace('"opset": 18', '"opset": 17'))
    before[first.manifest_path.name] = hash_file(first.manifest_path)

    def interrupted(parent: Artifact, recipe: object, calibration: object, path: Path) -> list[Path]:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(onnx, "make", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Pipeline("C8", tmp_path, weights=weights, data=faces).export("onnx-fp32")
    assert {path.name: hash_file(path) for path in tmp_path.iterdir()} == before


def test_random_weights_are_told(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.artifacts, "bundled", lambda name: None)
    said: list[str] = []
    artifact = Pipeline("C8", tmp_path, data=faces, say=said.append).export("torch")
    assert said == [
        "C8 has no bundled weights: random ones (seed 0) are used. Speed, size and parity are real, accuracy means "
        "nothing. Pass --weights for trained ones."
    ]
    assert artifact.training == {"weights": "random"}


@pytest.mark.parametrize("bundled", [True, False])
def test_own_weights_in_a_folder_are_not_replaced_unasked(
    faces: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled: bool
) -> None:
    own = Pipeline("C8", tmp_path, weights=weights, data=faces).checkpoint
    if not bundled:
        monkeypatch.setattr(pipeline.artifacts, "bundled", lambda name: None)
    with pytest.raises(UsageError) as refused:
        _ = Pipeline("C8", tmp_path, data=faces).checkpoint
    assert str(refused.value) == (
        f"{own.path} holds other weights than the {'bundled' if bundled else 'random'} ones, which are taken without "
        f"--weights. The same were expected in one folder. Pass --weights {own.path} to go on with these, or another "
        "--out."
    )
    assert Pipeline("C8", tmp_path, weights=own.path, data=faces).checkpoint.sha256 == own.sha256


def test_the_bundled_weights_change_their_setting_in_one_folder(tmp_path: Path) -> None:
    for setting in ("accuracy", "balanced", "accuracy"):
        found = Pipeline("C8", tmp_path, setting=setting).checkpoint
        assert ((found.training or {}).get("setting") == "balanced") == (setting == "balanced")


def test_models_of_a_setting_are_not_replaced_by_who_does_not_name_it(tmp_path: Path) -> None:
    balanced = Pipeline("C8", tmp_path, setting="balanced").checkpoint
    with pytest.raises(UsageError) as refused:
        _ = Pipeline("C8", tmp_path).checkpoint
    assert str(refused.value) == (
        f"{balanced.path} has the setting balanced, and what is made without --setting has another. The same was "
        f"expected in one folder. Pass --weights {balanced.path} to go on with it, or another --out."
    )
    for setting in (None, "balanced"):  # nothing is added twice
        for out in (tmp_path, tmp_path / "other"):
            made = Pipeline("C8", out, weights=balanced.path, setting=setting).checkpoint
            assert made.sha256 == balanced.sha256
    with pytest.raises(UsageError, match=r"has the setting balanced in it, and accuracy was asked for\. Weights as"):
        _ = Pipeline("C8", tmp_path / "third", weights=balanced.path, setting="accuracy").checkpoint


def test_wrong_weights(faces: Path, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"mine.safetensors holds C8. C6 was asked for. Pass --config C8"):
        Pipeline("C6", tmp_path, weights=weights, data=faces).export("onnx-fp32")
    with pytest.raises(
        UsageError, match=r"There is no target 'openvino-int4'. Expected one of .* Did you mean openvino-int8"
    ):
        Pipeline("C8", tmp_path, weights=weights, data=faces).export("openvino-int4")


def test_engines_are_for_their_device(exported: Exported) -> None:
    with pytest.raises(TargetUnavailable) as refusal:
        exported("trt-int8")
    text = str(refusal.value)
    assert text.startswith("TensorRT cannot be used here: ")
    assert "Engines are built on the device that runs them." in text
    assert text.endswith("trtexec --stronglyTyped --onnx=C8-onnx-int8-fp16.onnx --saveEngine=C8-trt-int8.engine")
    assert exported("onnx-int8").path.is_file()
    assert exported("onnx-int8-fp16").path.is_file()


def test_nothing_is_made_to_know_that_there_is_no_tensorrt(faces: Path, weights: Path, tmp_path: Path) -> None:
    pipeline = Pipeline("C8", tmp_path, weights=weights, data=faces)
    pipeline.check("openvino-int8")
    with pytest.raises(TargetUnavailable) as refusal:
        pipeline.check("trt-int8")
    assert str(refusal.value).startswith("TensorRT cannot be used here: ")
    assert str(refusal.value).endswith(
        "Engines are built on the device that runs them: make a bundle with lc2fer-deploy bundle --config C8, copy it "
        "there and run lc2fer-deploy build C8.bundle."
    )
    assert list(tmp_path.iterdir()) == []


def test_calibration_refuses_test_images(
    faces: Path, weights: Path, tmp_path: Path, write_faces: Callable[..., Path]
) -> None:
    from PIL import Image

    leaky = write_faces(tmp_path / "leaky", train=20, test=3)
    with Image.open(leaky / "Image" / "aligned" / "test_00001_aligned.png") as image:
        for place in range(1, 141, 7):  # all of its class: some are in D^v
            image.save(leaky / "Image" / "aligned" / f"train_{place:05d}_aligned.png", compress_level=1 + place % 9)
    with pytest.raises(
        DataError,
        match=r"train_\d+_aligned.png is the same picture as the test image test_00001_aligned.png. "
        r"Calibration and policy may not see D\^e. Remove the copy",
    ):
        Pipeline("C8", tmp_path / "out", weights=weights, data=leaky).export("onnx-fp32")


def test_too_few_validation_images(
    faces: Path, weights: Path, tmp_path: Path, write_faces: Callable[..., Path]
) -> None:
    few = write_faces(tmp_path / "few", train=20, test=1)
    with pytest.raises(DataError, match=r"has 28 validation images .* 300 are needed to calibrate with"):
        Pipeline("C8", tmp_path, weights=weights, data=few).export("openvino-int8")
    with pytest.raises(UsageError, match=r"20 calibration images were asked for\. At least 32 are needed"):
        Pipeline("C8", tmp_path, weights=weights, data=faces, calibration_images=20).export("openvino-int8")


def test_a_small_data_set_gives_all_of_its_validation_images(faces: Path, weights: Path, tmp_path: Path) -> None:
    said: list[str] = []
    pipeline = Pipeline("C8", tmp_path, weights=weights, data=faces, say=said.append)
    for target in ("onnx-int8", "ort-int8"):
        wanted = pipeline.wanted(target)
        assert wanted.calibration is not None
        assert wanted.calibration["images"] == 84
    told = [line for line in said if "validation images" in line and "usual" in line]
    assert told == [f"{faces} has 84 validation images: INT8 takes its ranges from these, where 300 are usual."]


def test_calibration_set_rewinds_and_is_d_v(faces: Path) -> None:
    from lc2fer.data import open_dataset
    from lc2fer.inputs import InputSpec

    validation = Validation(open_dataset(faces), InputSpec(size=32))
    images = validation.draw(40, 0)
    assert [batch.sum() for batch in images] == [batch.sum() for batch in images]
    assert next(iter(images)).shape == (1, 3, 32, 32)
    assert set(images.sha256) <= set(validation.split.validation_sha256)
    assert images.fingerprint == validation.draw(40, 0).fingerprint
    assert images.fingerprint != validation.draw(40, 1).fingerprint
    assert not set(images.sha256) & set(validation.draw(44, 0, skip=40).sha256)


def test_a_damaged_model_is_refused(exported: Exported, tmp_path: Path) -> None:
    for target in ("onnx-fp32", "openvino-fp32"):
        artifact = exported(target)
        for record in artifact.files:
            (tmp_path / record.name).write_bytes((artifact.path.parent / record.name).read_bytes())
        (tmp_path / artifact.manifest_path.name).write_bytes(artifact.manifest_path.read_bytes())
        whole = tmp_path / artifact.files[-1].name
        whole.write_bytes(whole.read_bytes()[:-100])
        with pytest.raises(ArtifactError, match=r"is not the file that its manifest describes .* truncated or changed"):
            open_session(tmp_path / artifact.path.name)


def test_proof_counts_only_decided_images(faces: Path) -> None:
    from lc2fer.data import open_dataset
    from lc2fer.inputs import InputSpec

    images = Validation(open_dataset(faces), InputSpec(size=32)).draw(40, 0)
    rng = np.random.default_rng(0)
    reference = rng.normal(0, 1, (40, 7)).astype(np.float32)
    reference[0, :2] = reference[0].max() + np.array([1.0, 1.0 + 1e-6])  # a tie
    logits = reference.copy()
    logits[0, 0] += 1e-4
    proof = parity.prove(reference, logits, "fp32", images, reference_sha256="0", name="x")
    assert proof.decided < 40
    assert proof.agreement == 1.0
    logits[3] = np.nan
    with pytest.raises(ParityError, match="x gives NaN or infinity on 1 of 40 validation images"):
        parity.prove(reference, logits, "fp32", images, reference_sha256="0", name="x")

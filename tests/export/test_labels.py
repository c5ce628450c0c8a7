"""Labels and sizes that come with the weights, through an export; and weights that cannot be exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import layouts
import numpy as np
import onnx
import pytest
import torch
from lc2fer.export.budget import deliver
from lc2fer.export.int8.calibration import Validation
from lc2fer.export.parity import prove
from lc2fer.export.pipeline import Pipeline
from safetensors.torch import load_file, save_file

from lc2fer import artifact as artifacts
from lc2fer import cli, header
from lc2fer.data import open_dataset, records
from lc2fer.errors import ArtifactError, DataError
from lc2fer.inputs import LABELS, InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build
from lc2fer.recipe import Budget
from lc2fer.session import open_session
from lc2fer.variants import variant

FIVE = ("happiness", "neutral", "bored", "engaged", "tired")


@pytest.fixture(scope="module")
def of_five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights with five classes, not to be changed; one file, for no two have the same bytes."""
    return weights(tmp_path_factory.mktemp("five"), FIVE)


def weights(folder: Path, labels: tuple[str, ...], size: int = 32) -> Path:
    torch.manual_seed(2)
    network = build(variant("C8"), len(labels))
    with torch.no_grad():
        network.head.linear.weight.mul_(30)
    spec = InputSpec(size=size, labels=labels)
    return checkpoint.save(network, folder, "mine", input_spec=spec, training={}).path


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 training and 2 test faces of each of five classes: 40 images of D^v."""
    return layouts.folders(tmp_path_factory.mktemp("own") / "faces", FIVE, {"train": 40, "test": 2})


def test_five_classes_are_exported_and_predicted(
    own: Path, of_five: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = Pipeline("C8", tmp_path / "out", weights=of_five, data=own, calibration_images=32)
    made = pipeline.export("ort-int8")
    assert made.input_spec == InputSpec(size=32, labels=FIVE)
    shape = onnx.load(made.path).graph.output[0].type.tensor_type.shape
    assert [dim.dim_param or dim.dim_value for dim in shape.dim] == ["batch", 5]
    assert sorted(set(pipeline.validation.proof.labels.tolist())) == [0, 1, 2, 3, 4]
    picture = next((own / "test" / "bored").iterdir())
    given = ["--model", str(made.path), "--faces", "crop", "--min-confidence", "0", str(picture)]
    assert cli.run("predict", given) == 0
    out, err = capsys.readouterr()
    (found,) = json.loads(out)["predictions"]
    assert tuple(found["probabilities"]) == FIVE
    assert found["expression"] in FIVE
    assert err.splitlines()[0].split()[-5:] == list(FIVE)


def test_the_header_alone_says_labels_and_size(own: Path, tmp_path: Path) -> None:
    path = weights(tmp_path, tuple(sorted(LABELS)), size=48)
    path.with_suffix(".json").unlink()
    made = Pipeline("C8", tmp_path / "out", weights=path).export("torch")
    assert made.input_spec == InputSpec(size=48, labels=tuple(sorted(LABELS)))
    with open_session(made) as session:
        assert session.run(np.zeros((1, 3, 48, 48), np.float32)).shape == (1, 7)


@pytest.mark.parametrize("command", ["export", "explain"])
def test_data_that_were_cut_out_otherwise_are_refused(
    command: str, own: Path, of_five: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces = Path(shutil.copytree(own, tmp_path / "faces"))
    records.write(faces, "eyes", 32, "BlazeFace")
    target = ["--target", "onnx-fp32"] if command == "export" else []
    arguments = [
        "--config",
        "C8",
        *target,
        "--weights",
        str(of_five),
        "--data",
        str(faces),
        "--out",
        str(tmp_path / "out"),
    ]
    assert cli.run(command, arguments) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"DataError: The faces of {faces} were cut out with --alignment eyes, and those that the weights were trained "
        "on with none. The same was expected. Make them with lc2fer-faces --alignment none."
    )


def test_a_size_that_nothing_says(tmp_path: Path) -> None:
    path = weights(tmp_path, LABELS, size=48)
    path.with_suffix(".json").unlink()
    said = {name: value for name, value in header.read(path).said.items() if name != "size"}
    save_file(load_file(path), path, said)
    with pytest.raises(
        ArtifactError, match=r"does not say its size, and has no manifest\. .* lc2fer-export as --size\."
    ):
        Pipeline("C8", tmp_path / "out", weights=path).export("torch")
    made = Pipeline("C8", tmp_path / "out", weights=path, size=48).export("torch")
    assert made.input_spec.size == 48
    assert Pipeline("C8", tmp_path / "out", weights=made.path).export("torch").input_spec.size == 48


def test_a_head_of_eight_with_seven_labels(tmp_path: Path) -> None:
    path = weights(tmp_path, LABELS)
    tensors = load_file(path)
    tensors["head.linear.weight"] = torch.cat([tensors["head.linear.weight"], tensors["head.linear.weight"][:1]])
    tensors["head.linear.bias"] = torch.cat([tensors["head.linear.bias"], torch.tensor([99.0])])
    save_file(tensors, path, dict(header.read(path).said))
    path.with_suffix(".json").unlink()
    with pytest.raises(ArtifactError) as refused:
        Pipeline("C8", tmp_path / "out", weights=path).export("torch")
    assert str(refused.value) == (
        f"{path} tells 8 classes apart. The 7 expressions surprise, fear, disgust, happiness, sadness, anger, neutral "
        "were expected. Pass weights that were trained on them."
    )


def test_renamed_weights_are_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = weights(tmp_path, FIVE)
    theirs = path.with_name("theirs.safetensors")
    shutil.move(path, theirs)
    shutil.move(path.with_suffix(".json"), theirs.with_suffix(".json"))
    made = Pipeline("C8", tmp_path / "out", weights=theirs).export("torch")
    assert made.input_spec.labels == FIVE
    assert capsys.readouterr().err == f"{theirs} is mine.safetensors, by its sha256.\n"


def test_a_network_that_gives_one_answer(own: Path, tmp_path: Path) -> None:
    network = build(variant("C8"), 5)
    with torch.no_grad():
        network.head.linear.weight.zero_()
    spec = InputSpec(size=32, labels=FIVE)
    path = checkpoint.save(network, tmp_path, "constant", input_spec=spec, training={}).path
    with pytest.raises(ArtifactError) as refused:
        Pipeline("C8", tmp_path / "out", weights=path, data=own).export("onnx-fp32")
    assert str(refused.value) == (
        f"{path} gives the same answer to all 40 validation images: its logits "
        "differ by 0 at most. A network that tells pictures apart was expected. Train it again, or pass other weights."
    )
    assert not (tmp_path / "out" / "C8-onnx-fp32.onnx").exists()


def test_equal_logits_can_be_written_down(own: Path) -> None:
    images = Validation(open_dataset(own), InputSpec(size=32, labels=FIVE)).draw(40, 0)
    logits = np.random.default_rng(0).normal(0, 1, (40, 5)).astype(np.float32)
    proof = prove(logits, logits, "fp32", images, reference_sha256="0", name="x")
    assert proof.sqnr_db == 200.0
    assert json.loads(json.dumps(proof.to_json(), allow_nan=False))["agreement"] == 1.0


# -- data of other classes ---------------------------------------------------------------------------------------------


def test_data_of_fewer_classes_is_read_in_the_models_order(own: Path) -> None:
    images = Validation(open_dataset(own), InputSpec(size=32, labels=("more", *reversed(FIVE)))).draw(40, 0)
    plain = Validation(open_dataset(own), InputSpec(size=32, labels=FIVE)).draw(40, 0)
    assert images.labels.tolist() == [5 - label for label in plain.labels]
    assert images.sha256 == plain.sha256


def test_data_of_other_classes_is_refused(own: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        Pipeline("C8", tmp_path / "out", weights=weights(tmp_path, LABELS), data=own).export("onnx-fp32")
    assert str(refused.value) == (
        f"{own} has the class bored, which the model does not know: it tells surprise, fear, disgust, happiness, "
        "sadness, anger, neutral apart. Data of these classes was expected. Pass other --data, or leave the class out "
        "with --synonyms bored=."
    )


def test_drawn_faces_calibrate_any_model_and_judge_none(
    own: Path, of_five: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lc2fer.export import pipeline as module

    drawn = layouts.folders(tmp_path / "drawn", LABELS, {"train": 30, "test": 1})
    monkeypatch.setattr(module, "open_dataset", lambda *given: open_dataset(drawn))
    pipeline = Pipeline("C8", tmp_path / "out", weights=of_five, calibration_images=32)
    assert pipeline.export("onnx-int8").input_spec.labels == FIVE
    assert set(pipeline.validation.proof.labels.tolist()) == {-1, 0, 1}
    with pytest.raises(DataError) as refused:
        deliver(pipeline, "onnx-int8", Budget(0.01))
    assert str(refused.value) == (
        "synthetic has other classes than the weights, happiness, neutral, bored, engaged, tired. Images of these were "
        "expected, to see what INT8 loses. Pass them as --data."
    )


@pytest.mark.parametrize("target", ["torch", "onnx-fp32", "openvino-fp32"])
def test_a_manifest_with_fewer_labels_than_the_model_has_classes(
    own: Path, of_five: Path, tmp_path: Path, target: str
) -> None:
    if target == "openvino-fp32":
        pytest.importorskip("openvino")
    made = Pipeline("C8", tmp_path / "out", weights=of_five, data=own).export(target)
    fields = json.loads(made.manifest_path.read_text())
    fields["input_spec"]["labels"] = list(FIVE[:4])
    made.manifest_path.write_text(json.dumps(fields))
    with pytest.raises(ArtifactError) as refused:
        open_session(made.path)
    expected = (
        f"{made.path} tells 5 classes apart. The 4 expressions {', '.join(FIVE[:4])} of its manifest were expected."
    )
    if target == "torch":
        expected = f"{made.path} has labels {', '.join(FIVE[:4])} by its manifest, and {', '.join(FIVE)} in its header."
    assert str(refused.value).startswith(expected)


def test_bundled_weights_are_exported_as_before(tmp_path: Path) -> None:
    made = Pipeline("C8", tmp_path).export("torch")
    assert made.input_spec == InputSpec()
    bundled = artifacts.bundled("C8")
    assert bundled is not None
    assert made.sha256 == artifacts.hash_file(bundled)

"""Classes come from the data: their number, names and order reach the checkpoint, whatever the run starts from."""

from __future__ import annotations

import json
import re
import shutil
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pytest
import torch

from lc2fer import artifact as artifacts
from lc2fer import header
from lc2fer.data import records
from lc2fer.errors import ArtifactError, DataError, UsageError
from lc2fer.inputs import LABELS, InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build
from lc2fer.training import command as train_command
from lc2fer.training import faces as train_data
from lc2fer.training import log
from lc2fer.training.sources import distinct
from lc2fer.variants import variant

pytestmark = pytest.mark.usefixtures("own_cache")
OWN = ("bored", "engaged", "happy", "tired", "neutral")
EIGHT = (*LABELS, "contempt")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return layouts.folders(tmp_path / "own", OWN, {"train": 10, "test": 2})


def train(out: Path, *data: Path, more: tuple[str, ...] = ()) -> dict[str, Any]:
    given = ["--config", "C8", "--data", *map(str, data), "--out", str(out), "--size", "32", "--epochs", "1"]
    return train_command.main([*given, "--batch", "8", *more])


def test_five_classes_of_ones_own(own: Path, tmp_path: Path) -> None:
    made = Path(train(tmp_path / "run", own)["artifact"])
    labels = ("happiness", "neutral", "bored", "engaged", "tired")
    assert artifacts.load(made).input_spec == InputSpec(size=32, labels=labels)
    assert (header.read(made).labels, header.read(made).size) == (labels, 32)
    assert checkpoint.load(made).num_classes == 5
    assert json.loads((tmp_path / "run" / "run.json").read_text())["labels"] == list(labels)


def test_the_alignment_of_the_data_reaches_the_weights(own: Path, tmp_path: Path) -> None:
    records.write(own, "level", 32, "BlazeFace")
    made = Path(train(tmp_path / "run", own)["artifact"])
    assert artifacts.load(made).input_spec.alignment == "level"
    made.with_suffix(".json").unlink()
    assert header.input_spec(made, 5)[0].alignment == "level"


def test_an_alignment_that_the_data_contradict(own: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    records.write(own, "level", 32, "BlazeFace")
    records.write(tmp_path / "other", "eyes", 32, "BlazeFace")
    assert records.alignment_of([str(own)], None) == records.alignment_of([str(own)], "level") == "level"
    assert records.alignment_of([str(tmp_path)], None) == "none"
    assert records.alignment_of([str(tmp_path)], "eyes") == "eyes"
    with pytest.raises(UsageError) as refused:
        records.alignment_of([str(own)], "eyes")
    assert str(refused.value) == (
        f"The faces of {own} were cut out with --alignment level. --alignment eyes was expected. Make them with "
        "lc2fer-faces --alignment eyes, or pass --alignment level."
    )
    with pytest.raises(UsageError, match=rf"--alignment eyes\. level, as {own} was expected\. Make them with"):
        records.alignment_of([str(own), str(tmp_path / "other")], None)


@pytest.mark.parametrize("text", ["", "[]", '{"alignment": "ears"}', '{"size": 3}', "\xff", "[" * 99999])
def test_a_record_that_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / records.FILE).write_text(text, encoding="latin-1")
    with pytest.raises(DataError) as refused:
        records.read(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path / records.FILE} does not say how the faces were cut out. Expected lc2fer-faces's record, with an "
        "alignment of none, level, eyes. Make the folder again, or remove that file."
    )


def test_eight_classes_from_a_table_with_votes(tmp_path: Path) -> None:
    root = layouts.fer2013(tmp_path / "fer", {"Training": 8, "PublicTest": 2, "PrivateTest": 2})
    votes = np.zeros((84, 10), np.int64)
    votes[np.arange(84), np.arange(84) % 8] = 9
    votes[:, 8] = 1
    layouts.votes(root, votes)
    made = Path(train(tmp_path / "run", root, more=("--targets", "votes"))["artifact"])
    assert artifacts.load(made).input_spec.labels == EIGHT
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert [len(entry["validation"]) for entry in split.values()] == [14]


def test_votes_without_a_majority_are_learnt_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the training part, as votes, and unless the picture is a test image."""
    root = layouts.fer2013(tmp_path / "fer", {"Training": 8, "PublicTest": 2, "PrivateTest": 2})
    votes = np.eye(10, dtype=np.int64)[np.arange(84) % 7] * 10
    votes[[0, 1, 56, 70]] = [5, 5, *[0] * 8]  # two of Training, and one of each other part
    layouts.votes(root, votes)
    table = (root / "fer2013.csv").read_text().splitlines()
    test = next(line for line in reversed(table) if line.endswith("PrivateTest"))
    table[2] = test.replace("PrivateTest", "Training")  # the second is the last test image
    (root / "fer2013.csv").write_text("\n".join(table) + "\n")
    trained = {}
    for targets in ("votes", "labels"):
        train(tmp_path / targets, root, more=("--targets", targets))
        (trained[targets],) = json.loads((tmp_path / targets / "run.json").read_text())["data"]
    assert (trained["votes"]["fit_images"], trained["labels"]["fit_images"]) == (55, 54)
    assert trained["votes"]["split"] == trained["labels"]["split"]
    said = capsys.readouterr().err
    assert said.count("1 training images without a majority are learnt from by their votes.\n") == 1


def test_what_was_left_out_is_said(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "train" / "bored" / ".DS_Store").write_bytes(b"")
    train(tmp_path / "run", own)
    said = capsys.readouterr().err
    assert "Left out: 1 hidden files or folders (.DS_Store).\n" in said
    assert "C8: 40 images to train on, 10 to validate, on " in said
    assert "\nof each class: " in said
    assert re.findall(r"bored ([0-9]+)", said) == ["8"]
    assert "So few images seldom suffice to learn from random weights. --init FILE starts from trained ones, " in said


def test_a_long_epoch_is_told_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line each half minute."""
    seconds = iter(range(0, 1000, 20))
    monkeypatch.setattr(log, "time", types.SimpleNamespace(monotonic=lambda: float(next(seconds))))
    with log.Log(tmp_path, 3, resumed_after=0) as told:
        for step in range(6):
            told.step(1, step, 6)
    assert [line for line in capsys.readouterr().err.splitlines() if "step" in line] == [
        "epoch 2/3  step 1/6",
        "epoch 2/3  step 3/6",
        "epoch 2/3  step 5/6",
    ]


def test_training_images_that_are_d_vs_too_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = layouts.folders(tmp_path / "own", OWN, {"train": 10, "val": 2, "test": 2})
    shutil.copy(next((root / "val" / "bored").iterdir()), root / "train" / "bored" / "copy.png")
    train(tmp_path / "run", root)
    said = capsys.readouterr().err
    assert "Left out: 1 training images that are D^v's too.\n" in said
    assert "C8: 50 images to train on, 10 to validate, on " in said


def test_training_images_that_are_d_v_of_another_data_set_are_left_out(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = layouts.folders(tmp_path / "other", OWN, {"train": 10, "val": 2, "test": 2}, before=1000)
    shutil.copy(next((other / "val" / "bored").iterdir()), own / "train" / "bored" / "copy.png")
    record = train(tmp_path / "run", own, other)
    said = capsys.readouterr().err
    assert "own: Left out: 1 training images that are D^v's too.\n" in said
    assert "C8: 90 images to train on, 20 to validate, on " in said
    assert record["epochs"] == 1


def test_votes_are_not_learnt_of_images_that_another_data_set_holds_out(tmp_path: Path) -> None:
    from lc2fer.reading import Reading
    from lc2fer.training.sources import open_sources

    root = layouts.fer2013(tmp_path / "fer", {"Training": 8, "PublicTest": 2, "PrivateTest": 2})
    votes = np.eye(10, dtype=np.int64)[np.arange(84) % 7] * 10
    votes[[0, 1]] = [5, 5, *[0] * 8]
    layouts.votes(root, votes)
    first = open_sources([str(root)], "aligned", Reading(), 0, 0, votes=True)
    other = layouts.folders(tmp_path / "other", ("happy", "sad"), {"train": 8, "val": 2, "test": 2}, before=1000)
    for part, sample in zip(("val", "test"), first.datasets[0].undecided):
        shutil.copy(sample.path, other / part / "happy" / "held.pgm")
    both = open_sources([str(root), str(other)], "aligned", Reading(), 0, 0, votes=True)
    assert len(first.parts[0]) - len(both.parts[0]) == 2


def test_a_run_that_forgets_the_alignment_is_another_run(own: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", own, more=("--alignment", "eyes"))
    with pytest.raises(UsageError, match=r"holds a run with alignment eyes\. This one has none\. Choose another --out"):
        train(tmp_path / "run", own, more=("--epochs", "2"))
    assert artifacts.load(tmp_path / "run" / "C8.json").input_spec.alignment == "eyes"


def test_weights_that_a_run_starts_from_are_not_overwritten(own: Path, tmp_path: Path) -> None:
    first = Path(train(tmp_path / "run", own)["artifact"])
    for more in (("--init", str(first)), ("--teacher", str(first), "--distill", "0.5")):
        with pytest.raises(
            UsageError, match=r"C8\.safetensors was given to learn from, and the run would write its own"
        ):
            train(tmp_path / "run", own, more=("--restart", *more))
    (tmp_path / "run" / "state.safetensors").unlink()
    with pytest.raises(UsageError, match=r"C8\.safetensors is there and is not of this run, which would replace it\."):
        train(tmp_path / "run", own, more=("--lr", "0.002"))
    assert train(tmp_path / "run", own)["epochs"] == 1  # of this run itself
    before = first.read_bytes()
    (tmp_path / "run" / "state.safetensors").unlink()
    first.with_suffix(".json").unlink()  # weights of anywhere
    with pytest.raises(UsageError, match=r"is not of this run"):
        train(tmp_path / "run", own)
    assert first.read_bytes() == before
    assert train(tmp_path / "run", own, more=("--restart",))["epochs"] == 1


def test_a_second_data_set_may_have_fewer_classes(own: Path, tmp_path: Path) -> None:
    fewer = layouts.folders(tmp_path / "fewer", ("neutral", "bored"), {"train": 5, "test": 1}, before=1000)
    made = Path(train(tmp_path / "run", own, fewer)["artifact"])
    assert artifacts.load(made).input_spec.labels == ("happiness", "neutral", "bored", "engaged", "tired")
    with pytest.raises(DataError) as refused:
        train(tmp_path / "other", fewer, own)
    assert str(refused.value) == (
        f"{own} has the class happiness, which the model does not know: it tells neutral, bored apart. Data of these "
        "classes was expected. Pass other --data, or leave the class out with --synonyms happiness=."
    )


def test_a_data_set_that_is_named_twice(own: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"own was given twice as --data\. Each data set was expected once, for its"):
        train(tmp_path / "run", own, own / ".." / "own")


def test_a_single_class_teaches_nothing(tmp_path: Path) -> None:
    one = layouts.folders(tmp_path / "one", ("bored",), {"train": 5, "test": 1})
    with pytest.raises(
        DataError, match=rf"^{one} has one class only, bored\. Expected two at least, to learn to tell "
    ):
        train(tmp_path / "run", one)


def test_a_second_data_set_holds_test_images_of_the_first(own: Path, tmp_path: Path) -> None:
    leak = layouts.folders(tmp_path / "leak", ("bored", "engaged"), {"train": 4, "test": 1}, before=1000)
    picture = next((own / "test" / "tired").iterdir())
    copy = Path(shutil.copy(picture, leak / "train" / "bored" / "00.png"))
    test = next((leak / "test" / "bored").iterdir())
    shutil.copy(test, own / "train" / "bored" / "leaked.png")
    with pytest.raises(DataError) as refused:
        train(tmp_path / "run", own, leak)
    assert str(refused.value) == (
        f"1 training images of {own} are test images of {leak}: {own / 'train' / 'bored' / 'leaked.png'} is the same "
        f"file as {test}. Test images were expected to be in no training part. Remove them from it, or train on one of "
        "the two."
    )
    (own / "train" / "bored" / "leaked.png").unlink()
    with pytest.raises(DataError, match=rf"^1 training images of {leak} are test images of {own}: {copy} is the same "):
        train(tmp_path / "run", own, leak)


def test_labels_of_a_second_data_set_are_the_firsts(tmp_path: Path) -> None:
    from lc2fer.reading import Reading
    from lc2fer.training.sources import open_sources

    first = layouts.folders(tmp_path / "a", ("happy", "tired", "bored"), {"train": 5, "test": 1})
    second = layouts.folders(tmp_path / "b", ("tired", "happy"), {"train": 5, "test": 1}, before=1000)
    found = open_sources([str(first), str(second)], "aligned", Reading(), 0, 0)
    assert found.labels == ("happiness", "bored", "tired")
    assert found.ids(found.datasets[1], found.parts[1]).tolist() == [0] * 4 + [2] * 4
    targets = train_data.targets(found.datasets, found.parts, "labels")
    assert targets[-8:].argmax(1).tolist() == [0] * 4 + [2] * 4
    assert targets.shape == (20, 3)


def test_a_run_starts_from_other_classes_by_their_names(own: Path, tmp_path: Path) -> None:
    bundled = artifacts.bundled("C8")
    assert bundled is not None
    made = train(tmp_path / "run", own, more=("--init", str(bundled), "--lr", "1e-30"))["artifact"]
    head = checkpoint.load(made).head.linear.weight
    seven = checkpoint.load(bundled).head.linear.weight
    assert torch.equal(head[0], seven[LABELS.index("happiness")])
    assert torch.equal(head[1], seven[LABELS.index("neutral")])
    assert not any(torch.equal(head[2], row) for row in seven)


def weights(folder: Path, name: str, labels: tuple[str, ...]) -> Path:
    torch.manual_seed(1)
    network = build(variant("C8"), len(labels))
    return checkpoint.save(network, folder, name, input_spec=InputSpec(size=32, labels=labels), training={}).path


def test_a_teachers_classes_are_put_in_the_runs_order(tmp_path: Path) -> None:
    alphabet = tuple(sorted(EIGHT))
    path = weights(tmp_path, "teacher", alphabet)
    pixels = torch.randn(1, 3, 32, 32)
    before = train_data.teacher(path).network(pixels)[0]
    after = train_data.teacher(path).answers_to(EIGHT, path)
    assert after.spec.labels == EIGHT
    for name in EIGHT:
        assert after.network(pixels)[0][EIGHT.index(name)].item() == pytest.approx(before[alphabet.index(name)].item())


def test_a_teacher_of_other_classes(own: Path, tmp_path: Path) -> None:
    teacher = weights(tmp_path, "teacher", LABELS)
    with pytest.raises(ArtifactError) as refused:
        train(tmp_path / "run", own, more=("--teacher", str(teacher), "--distill", "0.5"))
    assert str(refused.value) == (
        f"{teacher} tells surprise, fear, disgust, happiness, sadness, anger, neutral apart. A teacher of the data's "
        "classes, happiness, neutral, bored, engaged, tired, was expected. Pass another --teacher, or none."
    )


@pytest.mark.parametrize("flag", [("--init",), ("--distill", "0.5", "--teacher")])
def test_weights_that_are_no_floats_teach_nothing(own: Path, tmp_path: Path, flag: tuple[str, ...]) -> None:
    from safetensors.torch import load_file, save_file

    path = weights(tmp_path, "eight", LABELS)
    tensors = {name: value.to(torch.int8) for name, value in load_file(path).items()}
    save_file(tensors, path, dict(header.read(path).said))
    path.with_suffix(".json").unlink()  # its manifest is of the floats
    with pytest.raises(ArtifactError, match=r"holds head\.linear\.bias as int8\. Weights as float32, float16 or "):
        train(tmp_path / "run", own, more=(*flag, str(path)))


# -- the record of the split ---------------------------------------------------------------------------------------


def test_folders_of_equal_names_have_an_entry_each(write_faces: Callable[..., Path], tmp_path: Path) -> None:
    for place, count, side in (("a", 4, 32), ("b", 6, 16)):
        write_faces(tmp_path / place / "faces", train=count, test=1, side=side)
    train(tmp_path / "run", tmp_path / "a" / "faces", tmp_path / "b" / "faces")
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert {name: len(entry["validation"]) for name, entry in split.items()} == {"a/faces": 7, "b/faces": 7}


def test_names_that_tell_folders_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/faces", "b/faces", "c/b/faces", "other"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert distinct(["a/faces", "b/faces"]) == ("a/faces", "b/faces")
    assert distinct(["other", "a/faces", "synthetic"]) == ("other", "faces", "synthetic")
    assert distinct(["b/faces", "c/b/faces"]) == (f"{tmp_path.name}/b/faces", "c/b/faces")
    monkeypatch.chdir(tmp_path / "other")
    assert distinct(["."]) == ("other",)


def test_data_that_was_moved_is_the_same_run(own: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", own)
    moved = Path(shutil.move(own, tmp_path / "moved"))
    assert train(tmp_path / "run", moved)["epochs"] == 1
    with pytest.raises(UsageError, match=r"holds a run with labels \['happiness', .*\]\. This one has \['happiness', "):
        train(tmp_path / "run", moved, more=("--synonyms", "tired=sleepy"))


def test_a_run_from_before_the_labels_were_written_goes_on(noise_faces: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", noise_faces)
    path = tmp_path / "run" / "run.json"
    described = json.loads(path.read_text())
    assert described.pop("labels") == list(LABELS)
    path.write_text(json.dumps(described))
    assert train(tmp_path / "run", noise_faces, more=("--epochs", "2"))["epochs"] == 2


def test_a_picture_that_was_moved_to_another_class_is_another_run(own: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", own)
    picture = next((own / "train" / "bored").iterdir())
    shutil.move(picture, own / "train" / "tired" / "moved.png")
    with pytest.raises(UsageError, match=r"holds a run with data \[.*\]\. This one has \[.*\]\. Choose another --out"):
        train(tmp_path / "run", own)


def test_numbers_that_are_read_otherwise_are_another_run(tmp_path: Path) -> None:
    root = layouts.folders(tmp_path / "numbers", "0123456", {"train": 5, "test": 1})
    train(tmp_path / "run", root, more=("--labels-from", "0"))
    with pytest.raises(UsageError, match=r"holds a run with data \[.*\]\. This one has \[.*\]\. Choose another --out"):
        train(tmp_path / "run", root, more=("--labels-from", "fer2013"))
    path = tmp_path / "run" / "run.json"
    described = json.loads(path.read_text())
    assert len(described["data"][0].pop("labels")) == 64
    path.write_text(json.dumps(described))  # as a run of before had it
    assert train(tmp_path / "run", root, more=("--labels-from", "0"))["epochs"] == 1


def test_changed_votes_are_another_run(noise_faces: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(noise_faces, tmp_path / "faces"))
    lines = (root / "EmoLabel" / "list_patition_label.txt").read_text().split("\n")[:-1]
    images = [f"Image/aligned/{line.split('.')[0]}_aligned.png" for line in lines]

    def vote(first: int) -> None:
        rows = [f"{image},{first},9,0,0,0,0,0" for image in images]
        (root / "votes.csv").write_text("\n".join([",".join(["image", *LABELS]), *rows]) + "\n")

    votes = ("--targets", "votes", "--epochs")
    vote(1)
    train(tmp_path / "run", root, more=(*votes, "1"))
    vote(2)  # the majority is the same
    with pytest.raises(UsageError, match=r"holds a run with data \[.*\]\. This one has \[.*\]\. Choose another --out"):
        train(tmp_path / "run", root, more=(*votes, "2"))
    path = tmp_path / "run" / "run.json"
    described = json.loads(path.read_text())
    assert len(described["data"][0].pop("votes")) == 64
    path.write_text(json.dumps(described))  # as a run of before had it
    assert train(tmp_path / "run", root, more=(*votes, "2"))["epochs"] == 2

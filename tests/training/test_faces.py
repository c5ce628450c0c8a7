"""Each ingredient of a recipe: what it changes, in numbers, and that a stopped run still ends in the same weights."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch.nn import functional

from lc2fer import artifact as artifacts
from lc2fer.data import open_dataset, read_pixels
from lc2fer.data.split import divide
from lc2fer.errors import ArtifactError, DataError, UsageError
from lc2fer.inputs import LABELS, InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build, normalize
from lc2fer.settings import RECIPES, Settings
from lc2fer.training import command as train_command
from lc2fer.training import faces as train_data
from lc2fer.training.augment import augmentation
from lc2fer.training.batches import Batches
from lc2fer.training.learner import Learner
from lc2fer.training.train import Run
from lc2fer.variants import variant

Train = Callable[..., dict[str, Any]]
CPU = torch.device("cpu")


@pytest.fixture
def tiny(noise_faces: Path, tmp_path: Path) -> Train:
    """Trains C8 on 32x32 pictures for 2 epochs of 7 steps into tmp_path/run, unless told otherwise."""

    def run(*more: str, out: str = "run", data: Path = noise_faces) -> dict[str, Any]:
        given = ["--config", "C8", "--data", str(data), "--out", str(tmp_path / out)]
        return train_command.main(
            [*given, "--size", "32", "--epochs", "2", "--batch", "16", "--lr", "0.004", "--drop-path", "0", *more]
        )

    return run


def losses(folder: Path) -> list[float]:
    return json.loads((folder / "first_losses.json").read_text())["losses"]


# -- recipes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_changes_settings_that_exist(name: str) -> None:
    assert RECIPES[name].keys() <= {field.name for field in fields(Settings)} - {"config", "init", "teachers", "seed"}
    assert Settings("C5", **RECIPES[name]).epochs > 0


def test_the_papers_recipe_changes_nothing() -> None:
    assert Settings("C5", **RECIPES["paper"]) == Settings("C5")


def test_a_flag_goes_before_its_recipe(tiny: Train, tmp_path: Path) -> None:
    tiny("--recipe", "best", "--epochs", "1", "--seed", "4")
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    given = {"size": 32, "epochs": 1, "batch": 16, "lr": 0.004, "drop_path": 0.0, "seed": 4}
    for name, value in {**RECIPES["best"], **given}.items():
        assert described[name] == value, name


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"ema": 1.0}, "--ema is 1.0. Expected 0 to below 1. Pass a rate as --ema."),
        ({"erase": 1.5}, "--erase is 1.5. Expected 0 to 1. Pass a share as --erase."),
        ({"mixup": -1.0}, "--mixup is -1.0. Expected 0 or more. Pass 0 to do without it."),
        ({"weight_decay": math.nan}, "--weight-decay is nan. Expected 0 or more. Pass 0 to do without it."),
        ({"limit": -1}, "--limit is -1. Expected a number of images, or 0 for all. Correct --limit."),
        (
            {"start_size": 120},
            "--start-size is 120. Expected no more than --size, 100. Lower --start-size.",
        ),
        (
            {"distill": 0.5},
            "--distill is 0.5 with 0 teachers. Both or neither were expected. Pass --teacher FILE and a share of its "
            "answers as --distill, or leave both out.",
        ),
        (
            {"teachers": ("aa",)},
            "--distill is 0.0 with 1 teachers. Both or neither were expected. Pass --teacher FILE and a share of its "
            "answers as --distill, or leave both out.",
        ),
    ],
)
def test_ingredients_that_cannot_work_are_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as refused:
        Settings("C8", **change)
    assert str(refused.value) == text


def test_images_grow_for_three_quarters_of_the_run() -> None:
    settings = Settings("C8", size=100, start_size=40, epochs=8)
    assert [settings.train_size(epoch) for epoch in range(8)] == [40, 40, 55, 70, 70, 85, 100, 100]
    assert {Settings("C8", size=64).train_size(epoch) for epoch in range(8)} == {64}


def test_a_short_warm_up_rises_at_once() -> None:
    settings = Settings("C8", schedule="one-cycle", warm_up=0.05)
    rates = [settings.learning_rate(step, 100) for step in range(100)]
    assert rates.index(max(rates)) == 4
    assert max(rates) == pytest.approx(1e-3)
    assert Settings("C8", schedule="one-cycle", warm_up=0.0).learning_rate(0, 100) == pytest.approx(1e-3, rel=1e-3)


def test_a_seed_and_an_environment_give_the_first_losses_bit_for_bit(noise_faces: Path, tmp_path: Path) -> None:
    """Fifty steps, in two fresh processes."""
    program = "import sys; from lc2fer import cli; sys.exit(cli.train())"
    given = ["--config", "C8", "--data", str(noise_faces), "--size", "32", "--epochs", "1", "--batch", "2"]
    for name in "ab":
        command = [sys.executable, "-c", program, *given, "--augment", "faces", "--out", str(tmp_path / name)]
        subprocess.run([*command, "--mixup", "0.2", "--ema", "0.9"], check=True, capture_output=True)
    first, second = (json.loads((tmp_path / name / "first_losses.json").read_text()) for name in "ab")
    assert first == second
    assert len(first["losses"]) == len(set(first["losses"])) == 50
    assert first["environment"].keys() == {
        *("device", "processes", "threads", "machine", "vector_instructions", "tools"),
    }
    assert first["environment"]["tools"]["torch"] == torch.__version__


# -- ingredients -------------------------------------------------------------------------------------------------------


def test_decay_spares_what_is_no_matrix_or_kernel() -> None:
    network, alone = build(variant("C8")), Accelerator(cpu=True)
    settings = Settings("C8", weight_decay=0.05, decay="weights")
    every, none = Learner(settings, network, alone).optimizers[0].param_groups
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    decayed = {names[id(parameter)] for parameter in every["params"]}
    spared = {names[id(parameter)] for parameter in none["params"]}
    assert (every["weight_decay"], none["weight_decay"]) == (0.05, 0.0)
    assert decayed | spared == set(names.values())
    assert all(name.endswith("weight") and "norm" not in name for name in decayed)
    assert all(name.endswith(("bias", "gamma", "beta")) or "norm" in name for name in spared)
    (alike,) = Learner(Settings("C8"), network, alone).optimizers[0].param_groups
    assert len(alike["params"]) == len(names)


def test_rare_classes_weigh_more_by_the_root_of_their_count() -> None:
    labels = np.repeat(np.arange(7), [100, 25, 4, 100, 100, 100, 100])
    weights = train_data.balance(labels)
    assert weights[1] / weights[0] == pytest.approx(2)
    assert weights[2] / weights[0] == pytest.approx(5)
    assert weights[labels].mean() == pytest.approx(1)


def test_rare_classes_are_drawn_more_often() -> None:
    labels = np.repeat(np.arange(7), [9000, 1000, 0, 0, 0, 0, 0])
    settings = Settings("C8", balance="sampling", seed=3)
    drawn = train_data.order(labels, settings, 0)
    share = (torch.from_numpy(labels)[drawn] == 1).float().mean().item()
    assert share == pytest.approx(0.25, abs=0.02)  # 1000 / sqrt(1000) against 9000 / sqrt(9000); 4 standard errors
    assert torch.equal(drawn, train_data.order(labels, settings, 0))
    assert not torch.equal(drawn, train_data.order(labels, settings, 1))
    plain = train_data.order(labels, Settings("C8", seed=3), 0)
    assert torch.equal(plain.sort().values, torch.arange(10_000))


def test_the_loss_weighs_the_classes(tiny: Train, tmp_path: Path, write_faces: Callable[..., Path]) -> None:
    """Weights that do not move: the mean loss of an epoch, by hand from the same images, in two ways."""
    faces = write_faces(tmp_path / "faces", train=20, test=1, side=32)
    listing = faces / "EmoLabel" / "list_patition_label.txt"
    lines = [line for line in listing.read_text().splitlines() if not line.startswith("train_001") or line[-1] != "3"]
    listing.write_text("\n".join(lines) + "\n")  # disgust is rare now
    samples = divide(open_dataset(faces)).fit
    seen = train_data.faces(samples, InputSpec(size=32), CPU)
    known = seen.labels.numpy()
    order = train_data.order(known, Settings("C8"), 0)[: 16 * (len(known) // 16)]
    weights = torch.from_numpy(train_data.balance(known)).float()[seen.labels[order]]
    for name, factor in (("none", torch.ones(len(order))), ("loss", weights)):
        tiny("--epochs", "1", "--lr", "1e-30", "--balance", name, out=name, data=faces)
        network = checkpoint.load(tmp_path / name / "C8.safetensors")
        with torch.inference_mode():
            logits = network(normalize(seen.pixels[order]))
        loss = torch.nn.functional.cross_entropy(logits, seen.labels[order], reduction="none") * factor
        assert losses(tmp_path / name) == pytest.approx(loss.view(-1, 16).mean(dim=1).tolist(), rel=1e-4), name
    assert weights.max() > 1.1


@pytest.mark.parametrize("balance", ["none", "loss"])
def test_a_batch_in_parts_is_learned_as_one(
    tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, balance: str
) -> None:
    given = ("--batch", "32", "--balance", balance, "--label-smoothing", "0.1", "--augment", "paper")
    tiny(*given, out="parts")
    monkeypatch.setattr(train_data, "CACHED", 32)
    tiny(*given, out="whole")
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)


def test_fewer_images_are_the_same_in_every_copy(noise_faces: Path, tiny: Train, tmp_path: Path) -> None:
    split = divide(open_dataset(noise_faces))
    few = train_data.limited(split, 40)
    assert [split.fit_sha256[split.fit.index(sample)] for sample in few] == [
        image for image in split.fit_sha256 if image in sorted(split.fit_sha256)[:40]
    ]
    assert train_data.limited(split, 0) == split.fit
    tiny("--epochs", "1", "--limit", "40")
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    assert described["data"][0]["fit_images"] == 40
    assert described["data"][0]["split"] == split.fingerprint  # D^v is whole


def test_votes_are_learned_where_there_are_some(noise_faces: Path, tmp_path: Path) -> None:
    datasets = [open_dataset(noise_faces)]
    few = [dataset.train[:3] for dataset in datasets]
    assert train_data.targets(datasets, few, "labels").tolist() == np.eye(7)[:3].tolist()
    with pytest.raises(DataError) as refused:
        train_data.targets(datasets, few, "votes")
    assert str(refused.value) == (
        f"{noise_faces} have no votes.csv. Votes were asked for. Write it as docs/training.md says, or train with "
        "--targets labels."
    )


def test_votes_reach_the_loss(tiny: Train, tmp_path: Path, write_faces: Callable[..., Path]) -> None:
    """Even votes cannot be learned: the loss of a network trained on them stays at ln 7."""
    faces = write_faces(tmp_path / "faces", train=20, test=1)
    rows = [f"{sample.path.relative_to(faces).as_posix()},1,1,1,1,1,1,1" for sample in open_dataset(faces).train]
    (faces / "votes.csv").write_text("\n".join([",".join(["image", *LABELS]), *rows]) + "\n")
    tiny("--targets", "votes", out="votes", data=faces)
    tiny(out="labels", data=faces)
    for name, end in (("votes", math.log(7)), ("labels", 1.0)):
        with (tmp_path / name / "log.csv").open() as file:
            last = float(list(csv.DictReader(file))[-1]["loss"])
        assert last == pytest.approx(end, abs=0.05) if name == "votes" else last < end, name


def test_teachers_answer_with_the_mean_of_their_probabilities(noise_faces: Path, small_weights: Path) -> None:
    samples = divide(open_dataset(noise_faces)).fit[:5]
    torch.manual_seed(5)
    other = train_data.Teacher(build(variant("C6")).eval(), InputSpec(size=40))
    with torch.no_grad():
        other.network.head.linear.weight.mul_(50)
    one = train_data.teacher(small_weights)
    assert one.spec.size == 32
    found = train_data.answers([one, other], samples, CPU, nullcontext)
    expected = torch.zeros(5, 7)
    with torch.inference_mode():
        for each in (one, other):
            pixels = normalize(torch.from_numpy(read_pixels(samples, each.spec)).permute(0, 3, 1, 2))
            expected += each.network(pixels).softmax(1) / 4 + each.network(pixels.flip(-1)).softmax(1) / 4
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert expected.max(1).values.std() > 0.01


def test_a_pupil_learns_its_teachers_answers(
    tiny: Train, tmp_path: Path, noise_faces: Path, small_weights: Path
) -> None:
    """A teacher that knows nothing of these classes: its pupil answers as it does, another one as the labels say."""
    tiny("--teacher", str(small_weights), "--distill", "1", "--epochs", "8", "--lr", "0.008", out="pupil")
    tiny("--epochs", "8", out="alone")
    described = json.loads((tmp_path / "pupil" / "run.json").read_text())
    assert described["teachers"] == [artifacts.hash_file(small_weights)]
    samples = divide(open_dataset(noise_faces)).fit
    master = train_data.answers([train_data.teacher(small_weights)], samples, CPU, nullcontext)
    images = normalize(train_data.faces(samples, InputSpec(size=32), CPU).pixels)
    apart = {}
    for name in ("pupil", "alone"):
        state = load_file(tmp_path / name / "state.safetensors")
        network = build(variant("C8")).eval()
        network.load_state_dict({key[8:]: value for key, value in state.items() if key.startswith("network.")})
        with torch.inference_mode():
            found = network(images).log_softmax(1)
        apart[name] = (master * (master.log() - found)).sum(1).mean().item()  # Kullback-Leibler, nats
    assert apart["pupil"] < 0.3
    assert apart["alone"] > 3 * apart["pupil"]


def test_teachers_answer_every_augmented_image_in_their_own_size(noise_faces: Path, small_weights: Path) -> None:
    settings = Settings("C8", size=32, augment="paper", distill=0.25, teach="augmented", teachers=("sha",))
    samples = divide(open_dataset(noise_faces)).fit[:6]
    faces = train_data.faces(samples, InputSpec(size=32), CPU)
    targets = torch.eye(7)[faces.labels]
    other = train_data.Teacher(build(variant("C6")).eval(), InputSpec(size=40))
    one = train_data.teacher(small_weights)
    batches = Batches(settings, faces, targets, [one, other], nullcontext)
    index = torch.tensor([4, 1, 1])
    torch.manual_seed(3)
    images, wanted = batches(index, 24)
    assert images.shape == (3, 3, 24, 24)
    torch.manual_seed(3)
    seen = augmentation("paper")(faces.pixels[index].float())
    assert not torch.equal(seen[1], seen[2])  # the same face, moved otherwise
    larger = functional.interpolate(seen, size=(40, 40), mode="bilinear", antialias=True)
    with torch.inference_mode():
        answers = (one.network(normalize(seen)).softmax(1) + other.network(normalize(larger)).softmax(1)) / 2
    torch.testing.assert_close(wanted, 0.75 * targets[index] + 0.25 * answers)


def test_the_validation_images_are_judged_every_third_epoch_and_after_the_last(tiny: Train, tmp_path: Path) -> None:
    assert tiny("--epochs", "5", "--judge-every", "3", out="seldom")["epochs"] == 5
    tiny("--epochs", "5", out="often")
    rows = {}
    for name in ("seldom", "often"):
        with (tmp_path / name / "log.csv").open(newline="") as file:
            rows[name] = {int(row["epoch"]): row for row in csv.DictReader(file)}
    assert list(rows["seldom"]) == [3, 5]
    for epoch in (3, 5):
        assert rows["seldom"][epoch]["validation_loss"] == rows["often"][epoch]["validation_loss"]
    first = [float(rows["often"][epoch]["loss"]) for epoch in (1, 2, 3)]
    assert float(rows["seldom"][3]["loss"]) == pytest.approx(sum(first) / 3)


def test_a_teacher_that_is_missing_is_told(tiny: Train, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as refused:
        tiny("--teacher", str(tmp_path / "none.safetensors"), "--distill", "0.5")
    assert str(refused.value) == (
        f"{tmp_path / 'none.safetensors'} is missing. A teacher's checkpoint was expected. Correct --teacher."
    )


def test_averaged_weights_are_kept_and_the_present_ones_go_on(tiny: Train, tmp_path: Path) -> None:
    """Seven steps: the averages by hand, from the weights after each step."""
    seen: list[torch.Tensor] = []
    average = Learner.average

    def watched(learner: Learner, step: int) -> None:
        if not seen:
            seen.append(learner.judged.head.linear.weight.detach().clone())
        average(learner, step)
        seen.append(learner.network.head.linear.weight.detach().clone())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "average", watched)
        tiny("--epochs", "1", "--ema", "0.3")
    expected = seen[0]
    for step, present in enumerate(seen[1:]):
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * present
    assert len(seen) == 8
    state = load_file(tmp_path / "run" / "state.safetensors")
    torch.testing.assert_close(state["averaged.head.linear.weight"], expected)
    assert torch.equal(state["network.head.linear.weight"], seen[-1])
    kept = checkpoint.load(tmp_path / "run" / "C8.safetensors")
    torch.testing.assert_close(kept.head.linear.weight.detach(), expected)


def test_compiling_without_a_compiler_is_refused(tiny: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UsageError) as refused:
        tiny("--compile")
    assert str(refused.value) == (
        "--compile was passed, and there is no no-such-compiler. torch.compile needs a C++ compiler on a CPU. Install "
        "g++, name yours in the variable CXX, or leave --compile out."
    )


@pytest.mark.every
@pytest.mark.usefixtures("compiler")
def test_a_compiled_run_takes_growing_images(tiny: Train, tmp_path: Path) -> None:
    growing = ("--start-size", "20", "--epochs", "2")  # two sizes: compiling takes 20 s for each
    tiny(*growing, out="plain")
    tiny(*growing, "--compile")
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "plain"), rel=1e-3)


def test_a_run_with_everything_can_be_interrupted(tiny: Train, tmp_path: Path, small_weights: Path) -> None:
    everything = [
        *("--schedule", "one-cycle", "--decay", "weights", "--ema", "0.9", "--augment", "faces", "--erase", "0.3"),
        *("--mixup", "0.2", "--cutmix", "1", "--balance", "sampling", "--start-size", "20", "--drop-path", "0.1"),
        *("--teacher", str(small_weights), "--distill", "0.5", "--label-smoothing", "0.1", "--epochs", "3"),
    ]
    tiny(*everything, out="whole")
    keep_state = Run.keep_state

    def interrupted(run: Run) -> None:
        keep_state(run)
        if run.progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "keep_state", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tiny(*everything)
    assert tiny(*everything)["epochs"] == 3
    first, second = (load_file(tmp_path / name / "state.safetensors") for name in ("whole", "run"))
    assert first.keys() == second.keys()
    for name in first.keys() - {"progress"}:
        assert torch.equal(first[name], second[name]), name

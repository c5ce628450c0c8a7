"""Training: it learns, it can be stopped anywhere and goes on to the same weights, and it says why it stops."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lc2fer import artifact as artifacts
from lc2fer import settings
from lc2fer.data import labels_of, open_dataset, read_pixels
from lc2fer.data.split import divide
from lc2fer.errors import ArtifactError, TrainingError, UsageError
from lc2fer.inputs import InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build, grow, normalize
from lc2fer.settings import Settings
from lc2fer.training import augment
from lc2fer.training import command as train_command
from lc2fer.training.augment import augmentation
from lc2fer.training.train import Run
from lc2fer.variants import variant

Train = Callable[..., dict[str, Any]]


@pytest.fixture
def tiny(noise_faces: Path, tmp_path: Path) -> Train:
    """Trains C8 on 32x32 pictures for 3 epochs of 7 steps into tmp_path/run, unless told otherwise."""

    def run(*more: str, out: str = "run") -> dict[str, Any]:
        return train_command.main(arguments(noise_faces, tmp_path / out, *more))

    return run


def arguments(data: Path, out: Path, *more: str) -> list[str]:
    return [
        *("--config", "C8", "--data", str(data), "--out", str(out)),
        *("--size", "32", "--epochs", "3", "--batch", "16", "--lr", "0.004", *more),
    ]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def same_weights(a: Path, b: Path) -> bool:
    first, second = load_file(a), load_file(b)
    assert first.keys() == second.keys()
    for tensors in (first, second):
        tensors.pop("progress", None)  # it holds the seconds
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_learns_and_leaves_its_files(tiny: Train, tmp_path: Path, noise_faces: Path) -> None:
    document = tiny()
    out = tmp_path / "run"
    assert document.keys() == {"artifact", "epochs", "best_epoch", "validation_accuracy", "seconds"}
    assert document["artifact"] == str(out / "C8.safetensors")
    assert document["epochs"] == 3
    assert document["validation_accuracy"] > 0.5  # chance is 0.143

    made = artifacts.load(out / "C8.safetensors")
    assert (made.kind, made.variant, made.input_spec) == ("checkpoint", "C8", InputSpec(size=32))
    assert made.training is not None
    assert made.training["epoch"] == document["best_epoch"]
    assert round(made.training["validation_accuracy"], 6) == document["validation_accuracy"]
    assert (made.training["lr"], made.training["seed"], made.training["epochs"]) == (0.004, 0, 3)

    log = rows(out)
    assert [row["epoch"] for row in log] == ["1", "2", "3"]
    assert float(log[0]["loss"]) > float(log[2]["loss"])
    assert max(float(row["validation_accuracy"]) for row in log) == pytest.approx(document["validation_accuracy"])
    assert [row["learning_rate"] for row in log] == ["0.004"] * 3
    assert list((out / "tensorboard").glob("events.out.tfevents.*"))

    (data,) = json.loads((out / "run.json").read_text())["data"]
    divided = json.loads((out / "split.json").read_text())["noise"]
    assert len(data.pop("labels")) == 64
    assert data == {"name": "noise", "fit_images": 112, "split": divided["fingerprint"]}
    assert len(divided["validation"]) == 28
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_the_best_checkpoint_scores_what_its_manifest_says(tiny: Train, tmp_path: Path, noise_faces: Path) -> None:
    document = tiny("--epochs", "2")
    held = divide(open_dataset(noise_faces)).validation
    pixels = torch.from_numpy(read_pixels(held, InputSpec(size=32))).permute(0, 3, 1, 2)
    with torch.inference_mode():
        predicted = checkpoint.load(tmp_path / "run" / "C8.safetensors")(normalize(pixels)).argmax(1).numpy()
    assert round(float((predicted == labels_of(held)).mean()), 6) == document["validation_accuracy"]


@pytest.mark.parametrize("when", ["before the state", "after the state"])
def test_an_interrupted_run_ends_in_the_same_weights(
    tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    tiny(out="whole")
    keep_state = Run.keep_state

    def interrupted(run: Run) -> None:
        if run.progress.epoch != 2 or when == "after the state":
            keep_state(run)
        if run.progress.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "keep_state", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tiny()
    monkeypatch.undo()
    assert tiny()["epochs"] == 3
    for name in ("C8.safetensors", "state.safetensors"):
        assert same_weights(tmp_path / "whole" / name, tmp_path / "run" / name), name
    assert [row["epoch"] for row in rows(tmp_path / "run")] == ["1", "2", "3"]
    assert [row["loss"] for row in rows(tmp_path / "run")] == [row["loss"] for row in rows(tmp_path / "whole")]


def test_a_killed_process_ends_in_the_same_weights(tiny: Train, tmp_path: Path, noise_faces: Path) -> None:
    tiny("--epochs", "6", out="whole")
    out = tmp_path / "run"
    program = "import sys; from lc2fer import cli; sys.exit(cli.train())"
    command = [sys.executable, "-c", program, *arguments(noise_faces, out, "--epochs", "6")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (out / "state.safetensors").is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert (out / "state.safetensors").is_file()
    assert tiny("--epochs", "6")["epochs"] == 6
    assert same_weights(tmp_path / "whole" / "C8.safetensors", out / "C8.safetensors")
    assert same_weights(tmp_path / "whole" / "state.safetensors", out / "state.safetensors")


def test_a_finished_run_has_nothing_left_to_do(tiny: Train, tmp_path: Path) -> None:
    first = tiny("--epochs", "1")
    before = (tmp_path / "run" / "C8.safetensors").read_bytes()
    assert tiny("--epochs", "1") == first
    assert (tmp_path / "run" / "C8.safetensors").read_bytes() == before
    assert len(rows(tmp_path / "run")) == 1


def test_another_run_in_the_folder_is_refused_or_replaced(tiny: Train, tmp_path: Path) -> None:
    tiny("--epochs", "1")
    with pytest.raises(UsageError) as refused:
        tiny("--epochs", "1", "--lr", "0.002")
    assert str(refused.value) == (
        f"{tmp_path / 'run'} holds a run with lr 0.004. This one has 0.002. Choose another --out, or pass --restart to "
        "replace that run."
    )
    assert tiny("--epochs", "1", "--lr", "0.002", "--restart")["epochs"] == 1
    assert json.loads((tmp_path / "run" / "run.json").read_text())["lr"] == 0.002
    assert [row["learning_rate"] for row in rows(tmp_path / "run")] == ["0.002"]


def test_a_damaged_state_is_refused(tiny: Train, tmp_path: Path) -> None:
    tiny("--epochs", "1")
    state = tmp_path / "run" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ArtifactError) as refused:
        tiny("--epochs", "2")
    assert str(refused.value).startswith(f"{state} cannot be resumed from (")
    assert str(refused.value).endswith("A run's state was expected. Pass --restart to begin anew.")


def test_a_run_goes_on_behind_a_table_that_a_spreadsheet_saved(tiny: Train, tmp_path: Path) -> None:
    tiny("--epochs", "1")
    table = tmp_path / "run" / "log.csv"
    written = table.read_text()
    table.write_text(written.replace(",", ";"), encoding="utf-8-sig")
    with pytest.raises(TrainingError, match=rf"^{table} is not the table that this run wrote \(KeyError: 'epoch'\)\. "):
        tiny("--epochs", "2")
    table.write_text(written, encoding="utf-8-sig")
    tiny("--epochs", "2")
    assert [row["epoch"] for row in rows(tmp_path / "run")] == ["1", "2"]


def test_the_largest_seed_works(tiny: Train) -> None:
    assert tiny("--epochs", "1", "--seed", str(2**32 - 1))["epochs"] == 1


def test_the_seed_decides_the_losses(tiny: Train, tmp_path: Path) -> None:
    for out, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        tiny("--epochs", "1", "--augment", "paper", "--seed", seed, out=out)
    losses = {out: rows(tmp_path / out)[0]["loss"] for out in "abc"}
    assert losses["a"] == losses["b"] != losses["c"]
    assert same_weights(tmp_path / "a" / "C8.safetensors", tmp_path / "b" / "C8.safetensors")


def test_a_loss_that_is_not_finite_names_its_step(tiny: Train, tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as stopped:
        tiny("--lr", "1e30")
    assert str(stopped.value) in {
        f"The loss became {loss} in epoch 1, step 2. A finite loss was expected. There was no finished epoch to keep; "
        "lower --lr, or train with --precision fp32."
        for loss in ("nan", "inf")
    }
    assert not (tmp_path / "run" / "C8.safetensors").exists()
    assert not (tmp_path / "run" / "state.safetensors").exists()


def test_a_ruined_epoch_leaves_the_best_one(tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "learning_rate", lambda self, step, steps: 0.004 if step < 9 else 1e30)
    with pytest.raises(TrainingError) as stopped:
        tiny()
    assert (
        " in epoch 2, step 4. A finite loss was expected. The best checkpoint so far, of epoch 1, is kept in "
        in str(stopped.value)
    )
    made = artifacts.load(tmp_path / "run" / "C8.safetensors")
    assert made.training is not None
    assert made.training["epoch"] == 1
    assert checkpoint.load(made.path).variant.name == "C8"


def test_weights_that_only_the_last_step_ruins_are_not_kept(
    tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "learning_rate", lambda self, step, steps: 1e30 if step == 6 else 0.004)
    with pytest.raises(TrainingError, match=r"in epoch 1, on the validation images\. A finite loss was expected"):
        tiny()
    assert not (tmp_path / "run" / "C8.safetensors").exists()


def test_patience_ends_a_run_that_does_not_improve(tiny: Train, tmp_path: Path) -> None:
    document = tiny("--epochs", "50", "--lr", "1e-30", "--patience", "2")
    assert (document["epochs"], document["best_epoch"]) == (3, 1)
    assert len(rows(tmp_path / "run")) == 3


def test_a_batch_larger_than_the_data_is_refused(tiny: Train) -> None:
    with pytest.raises(UsageError) as refused:
        tiny("--batch", "4096")
    assert str(refused.value) == (
        "--batch 4096 is larger than the 112 training images. Expected at least one batch. Lower --batch."
    )


def test_weights_can_be_started_from(tiny: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny()
    first = tmp_path / "run" / "C8.safetensors"
    best = artifacts.load(first).training
    assert best is not None
    assert "before the first epoch" not in capsys.readouterr().err
    tiny("--init", str(first), "--epochs", "1", "--lr", "1e-30", out="more")
    known = f"before the first epoch {best['validation_accuracy']:.1%} of the validation images are right"
    assert known in capsys.readouterr().err
    made = artifacts.load(tmp_path / "more" / "C8.safetensors")
    assert made.training is not None
    assert made.training["init"] == artifacts.hash_file(first)
    assert made.training["validation_accuracy"] == best["validation_accuracy"]
    assert same_weights(first, made.path)


def test_weights_of_another_variant_cannot(tiny: Train, tmp_path: Path) -> None:
    made = checkpoint.save(build(variant("C6")), tmp_path, "C6", input_spec=InputSpec(), training={})
    with pytest.raises(ArtifactError, match=r"C6\.safetensors holds C6\. C8 was asked for\."):
        tiny("--init", str(made.path))


def test_a_deeper_variant_starts_as_the_shallower_one() -> None:
    torch.manual_seed(0)
    shallower, deeper = build(variant("C6")).eval(), build(variant("C5")).eval()
    with torch.inference_mode():
        for parameter in shallower.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    grow(deeper, shallower)
    images = torch.randn(2, 3, 40, 40)
    with torch.inference_mode():
        torch.testing.assert_close(deeper(images), shallower(images))


def test_weights_of_a_shallower_variant_can_be_started_from(tmp_path: Path, write_faces: Callable[..., Path]) -> None:
    first = checkpoint.save(build(variant("C6")), tmp_path, "C6", input_spec=InputSpec(), training={})
    given = arguments(
        write_faces(tmp_path / "faces", train=20, test=1), tmp_path / "deep", "--init", str(first.path), "--epochs", "1"
    )
    given[given.index("C8")] = "C5"
    train_command.main(given)
    made = artifacts.load(tmp_path / "deep" / "C5.safetensors")
    assert made.training is not None
    assert made.training["init"] == first.sha256


def test_two_data_sets_are_scored_apart(tmp_path: Path, write_faces: Callable[..., Path]) -> None:
    parts_of = {"second": (10, 32), "third": (20, 40)}  # images and side; of one side they would share some
    data = [write_faces(tmp_path / name, train=n, test=1, side=side) for name, (n, side) in parts_of.items()]
    given = arguments(data[0], tmp_path / "both", "--epochs", "1")
    given.insert(given.index(str(data[0])) + 1, str(data[1]))
    train_command.main(given)
    (row,) = rows(tmp_path / "both")
    parts = [float(row["validation_accuracy_0"]), float(row["validation_accuracy_1"])]
    assert float(row["validation_accuracy"]) == pytest.approx((14 * parts[0] + 28 * parts[1]) / 42)
    assert set(json.loads((tmp_path / "both" / "split.json").read_text())) == {"second", "third"}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"epochs": 0}, "--epochs is 0. Expected 1 or more. Pass a positive number as --epochs."),
        ({"batch": -1}, "--batch is -1. Expected 1 or more. Pass a positive number as --batch."),
        ({"patience": 0}, "--patience is 0. Expected 1 or more. Pass a positive number as --patience."),
        ({"seed": -1}, "--seed is -1. Expected 0 to 4294967295, as numpy takes it. Pass such a number."),
        ({"seed": 2**32}, "--seed is 4294967296. Expected 0 to 4294967295, as numpy takes it. Pass such a number."),
        ({"size": 100000}, "--size is 100000. Expected at most 4096 pixels a side. Pass a smaller --size."),
        ({"lr": 0.0}, "--lr is 0.0. Expected a positive learning rate, such as 0.001. Pass one as --lr."),
        ({"lr": float("nan")}, "--lr is nan. Expected a positive learning rate, such as 0.001. Pass one as --lr."),
        ({"drop_path": 1.0}, "--drop-path is 1.0. Expected 0 to below 1. Pass a rate as --drop-path."),
        (
            {"label_smoothing": -0.1},
            "--label-smoothing is -0.1. Expected 0 to below 1. Pass a rate as --label-smoothing.",
        ),
        (
            {"size": 13},
            "C8 cannot take 13x13 images: stage 3 would convolve a 1x1 map with a 2x2 kernel. Its strides need at "
            "least 14 pixels a side. Use --size 14 or more.",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as refused:
        Settings("C8", **change)
    assert str(refused.value) == text


def test_the_papers_recipe_is_the_default() -> None:
    settings = Settings("C5")
    assert (settings.size, settings.epochs, settings.batch, settings.lr) == (100, 150, 128, 1e-3)
    assert {settings.learning_rate(step, 100) for step in range(100)} == {1e-3}


def test_one_cycle_rises_for_a_quarter_and_falls_to_nothing() -> None:
    settings = replace(Settings("C8"), schedule="one-cycle")
    rates = [settings.learning_rate(step, 100) for step in range(100)]
    assert rates.index(max(rates)) == 24
    assert max(rates) == pytest.approx(1e-3)
    assert rates[:25] == sorted(rates[:25])
    assert rates[24:] == sorted(rates[24:], reverse=True)
    assert rates[0] < 1e-4
    assert rates[-1] == pytest.approx(0, abs=1e-12)


def test_augmentation_moves_images_and_keeps_their_range() -> None:
    torch.manual_seed(0)
    images = torch.rand(8, 3, 32, 32) * 255
    assert augmentation("none")(images) is images
    moved = augmentation("paper")(images)
    assert moved.shape == images.shape
    assert 0 <= moved.min() < moved.max() <= 255
    assert all(not torch.equal(before, after) for before, after in zip(images, moved))
    assert not torch.equal(augmentation("paper")(images), moved)


def test_every_augmentation_can_be_asked_for() -> None:
    assert tuple(augment.AUGMENTATIONS) == settings.AUGMENTATIONS


@pytest.mark.every
@pytest.mark.parametrize("more", [[], ["--compile"]])
def test_two_processes_train_as_one(
    noise_faces: Path, tmp_path: Path, request: pytest.FixtureRequest, more: list[str]
) -> None:
    """The same global batch, in parts in each process, gives the same losses; only one process writes and speaks."""
    if more:
        request.getfixturevalue("compiler")
    given = arguments(noise_faces, tmp_path / "one", "--batch", "48", "--drop-path", "0", "--epochs", "2", *more)
    train_command.main(given)
    given[given.index(str(tmp_path / "one"))] = str(tmp_path / "two")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    program = tmp_path / "program.py"
    program.write_text("import sys; from lc2fer import cli; sys.exit(cli.train())")
    done = subprocess.run([*torchrun, str(program), *given], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "bucket view strides" not in done.stderr  # gradients lie as processes exchange them
    assert json.loads(done.stdout.splitlines()[-1])["epochs"] == 2
    assert len(done.stdout.strip().splitlines()) == 1
    losses = [[float(row["loss"]) for row in rows(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)

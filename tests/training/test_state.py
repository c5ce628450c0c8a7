"""A run's folder: one run at a time, and states that are whole or refused by name."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lc2fer import cli
from lc2fer.errors import ArtifactError, UsageError
from lc2fer.storage import alone
from lc2fer.training import state
from lc2fer.training.state import Progress

TENSORS = {"network.a": torch.zeros(2, 3), "optimizer.0.step": torch.zeros(())}
DESCRIBED = {"config": "C8", "seed": 0, "epochs": 2, "data": [{"name": "x"}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a run of one epoch leaves."""
    (tmp_path / "run.json").write_text(json.dumps(DESCRIBED))
    state.keep(tmp_path, TENSORS, Progress(1, 1, 0.5, 1.25, 9.0))
    return tmp_path


def told(**changes: Any) -> Any:
    return asdict(Progress(1, 1, 0.5, 1.25, 9.0)) | changes


def test_what_was_kept_is_read(folder: Path) -> None:
    found = state.read(folder, DESCRIBED, TENSORS)
    assert found is not None
    tensors, progress = found
    assert progress == Progress(1, 1, 0.5, 1.25, 9.0)
    assert {name: value.tolist() for name, value in tensors.items()} == {
        name: value.tolist() for name, value in TENSORS.items()
    }


def test_more_epochs_are_the_same_run_and_another_seed_is_not(folder: Path) -> None:
    assert state.read(folder, DESCRIBED | {"epochs": 9}, TENSORS) is not None
    with pytest.raises(UsageError, match=r"holds a run with seed 0\. This one has 1\. Choose another --out, or pass"):
        state.read(folder, DESCRIBED | {"seed": 1}, TENSORS)


def test_a_folder_without_a_state_is_a_new_run(folder: Path) -> None:
    state.forget(folder)
    assert state.read(folder, DESCRIBED, TENSORS) is None


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"network.a": None}, "network.a is missing"),
        ({"optimizer.0.step": None}, "optimizer.0.step is missing"),
        ({"network.b": torch.zeros(1)}, "network.b is not of this run"),
        (
            {"network.a": torch.zeros(3, 2)},
            r"network.a is torch.float32 \[3, 2\], where torch.float32 \[2, 3\] belongs",
        ),
        ({"network.a": torch.zeros(2, 3).half()}, r"network.a is torch.float16 \[2, 3\], where torch.float32"),
        ({"progress": None}, "KeyError: 'progress'"),
        ({"progress": torch.zeros(0, dtype=torch.uint8)}, "Expecting value"),
        ({"progress": torch.zeros(3)}, "'float' object cannot be interpreted|Expecting value|decode"),
    ],
)
def test_a_state_of_other_tensors_is_refused(folder: Path, tensors: dict[str, Any], reason: str) -> None:
    path = folder / "state.safetensors"
    changed = {name: value for name, value in (load_file(path) | tensors).items() if value is not None}
    save_file(changed, path)
    refused(folder, reason)


@pytest.mark.parametrize(
    ("progress", "reason"),
    [
        ({}, r"its progress has the fields \[\]"),
        ([], r"its progress has the fields \[\]"),
        (3, "its progress has the fields 3"),
        (told(newer=1), "its progress has the fields .*'newer'"),
        (told(epoch=0, best_epoch=0), "its progress is .*'epoch': 0"),
        (told(epoch=1.5), "its progress is .*'epoch': 1.5"),
        (told(best_epoch=2), "its progress is .*'best_epoch': 2"),
        (told(seconds="9"), "its progress is .*'seconds': '9'"),
    ],
)
def test_a_state_of_another_progress_is_refused(folder: Path, progress: Any, reason: str) -> None:
    path = folder / "state.safetensors"
    text = torch.tensor(list(json.dumps(progress).encode()), dtype=torch.uint8)
    save_file(load_file(path) | {"progress": text}, path)
    refused(folder, reason)


@pytest.mark.parametrize("text", ["[]", "3", "", "{", "[" * 100_000, "\xff"])
def test_a_run_that_is_described_otherwise_is_refused(folder: Path, text: str) -> None:
    (folder / "run.json").write_bytes(text.encode("latin-1"))
    refused(folder, "cannot be resumed")


def refused(folder: Path, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason) as raised:
        state.read(folder, DESCRIBED, TENSORS)
    assert str(raised.value).startswith(f"{folder / 'state.safetensors'} cannot be resumed from (")
    assert str(raised.value).endswith("A run's state was expected. Pass --restart to begin anew.")


# -- one run at a time ------------------------------------------------------------------------------------------------


def test_a_second_training_in_the_folder_is_refused(tmp_path: Path) -> None:
    with (
        alone(tmp_path / "new" / "run", "training"),
        pytest.raises(UsageError) as told,
        alone(tmp_path / "new" / "run", "training"),
    ):
        pass
    assert str(told.value) == (
        f"Another training writes into {tmp_path / 'new' / 'run'} now. One at a time was expected. Wait for it, or "
        "choose another --out."
    )
    with alone(tmp_path / "new" / "run", "training"):
        pass
    assert list((tmp_path / "new" / "run").iterdir()) == []


def test_a_training_that_was_killed_leaves_no_lock(tmp_path: Path) -> None:
    program = "import sys, time; from pathlib import Path; from lc2fer.storage import alone\nwith alone("
    program += "Path(sys.argv[1]), 'training'):\n    print(1, flush=True)\n    time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "1\n"
        with pytest.raises(UsageError), alone(tmp_path, "training"):
            pass
        other.kill()
    with alone(tmp_path, "training"):
        pass


def test_of_many_processes_of_a_run_the_first_holds_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with alone(tmp_path, "training"):
        monkeypatch.setenv("RANK", "1")
        with alone(tmp_path, "training"):
            pass


def test_the_command_refuses_too(noise_faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with alone(tmp_path, "training"):
        assert cli.run("train", ["--config", "C8", "--data", str(noise_faces), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"UsageError: Another training writes into {tmp_path} now.")


def test_more_epochs_than_a_cycle_was_begun_with_are_told(
    noise_faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--config", "C8", "--data", str(noise_faces), "--out", str(tmp_path / "run")]
    given += ["--size", "32", "--limit", "16", "--batch", "16"]
    told = "The run had --epochs 1, by which its learning rate rose and fell, and has 2 from here."
    for epochs, says in (("1", False), ("2", True), ("2", False)):
        assert cli.run("train", [*given, "--schedule", "one-cycle", "--epochs", epochs]) == 0
        assert (told in capsys.readouterr().err) == says

"""What benchmarks/baselines/README.md says of its runs follows from the runs' own files."""

from __future__ import annotations

import csv
import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path

import pytest
from lc2fer.benchmarks.studies import ablation
from lc2fer.benchmarks.studies import runs as training

from lc2fer.training.command import settings_of

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks" / "baselines"
RUNS = sorted(path.parent.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("run.json"))
README = (FOLDER / "README.md").read_text(encoding="utf-8")
TRAINING = (FOLDER.parents[1] / "docs" / "training.md").read_text(encoding="utf-8")


def told(run: str) -> list[str]:
    """The cells of a run's line."""
    line = next(line for line in README.splitlines() if line.startswith(f"| {run} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_line_of_the_tables_is_a_run() -> None:
    assert sorted(re.findall(r"^\| (\w+/[\w/]+) \|", README, re.MULTILINE)) == RUNS


@pytest.mark.parametrize("run", RUNS)
def test_the_command_gives_the_runs_settings(run: str) -> None:
    section = README.split(f"## {run.split('/')[0]}\n")[1]
    command = re.search(r"^    lc2fer-train ((?:.*\\\n)*.*)", section, re.MULTILINE)
    assert command is not None
    text = command[1].replace("\\\n", " ").replace("CONFIG", run.split("/")[-1])
    if "RECIPE" in text:
        text = text.replace("RECIPE", run.split("/")[1])
    else:
        text = text.replace("FLAGS", told(run)[1].strip("`"))
    settings = json.loads((FOLDER / run / "run.json").read_text())
    names = [data["name"] for data in settings.pop("data")]
    settings.pop("labels", None)  # they came after most runs
    given, chosen = settings_of(shlex.split(text.replace("FACES", "faces")))
    assert (given.init is None) == (settings.pop("init") is None)  # a path there, the file's hash here
    later: dict[str, object] = {"teach": "once", "judge_every": 1, "validation_images": 0, "keep": "best"}
    later["optimizer"] = "adamw"  # all of these came after the runs
    assert json.loads(json.dumps(asdict(chosen))) == later | settings | {"init": None}
    assert given.data == names


@pytest.mark.parametrize("run", RUNS)
def test_the_accuracy_is_that_of_the_log(run: str) -> None:
    with (FOLDER / run / "log.csv").open(newline="") as file:
        epochs = list(csv.DictReader(file))
    assert int(epochs[-1]["epoch"]) == json.loads((FOLDER / run / "run.json").read_text())["epochs"]
    assert len(json.loads((FOLDER / run / "first_losses.json").read_text())["losses"]) == 50
    assert f"{100 * max(float(epoch['validation_accuracy']) for epoch in epochs):.2f}" in told(run)


def test_the_ablation_follows_from_the_logs() -> None:
    base = FOLDER / "longer" / "seed0" / "a" / "C6"
    folders = [*(FOLDER / "longer").glob("seed?/a/C6"), *(FOLDER / "ablation30").glob("*/C6")]
    folders.append(FOLDER / "muon30" / "C6")
    (first, *arms), spread = ablation.compare([training.read(folder) for folder in folders], training.read(base))
    assert spread is not None
    assert f"| the base | {100 * first.accuracy:.2f} | |" in TRAINING
    assert f"The standard deviation between the base's seeds is {100 * spread:.2f} points" in TRAINING
    assert len(arms) == len(folders) - 3
    assert "optimizer muon, precision fp32" in [arm.changed for arm in arms]  # and no setting that came later
    for arm in arms:
        assert arm.half is not None
        flags = told(arm.runs[0].folder.relative_to(FOLDER).as_posix())[1]
        assert f"| {flags} | {100 * arm.accuracy:.2f} | {arm.points} |" in TRAINING

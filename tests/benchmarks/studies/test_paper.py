"""Training runs side by side: the paper's comparison, and what each setting adds to a base."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from lc2fer.benchmarks.command import main
from lc2fer.benchmarks.report.document import Report
from lc2fer.benchmarks.studies import ablation, paper
from lc2fer.benchmarks.studies import runs as training
from lc2fer.benchmarks.views.charts import Circle, scatter

from lc2fer.errors import ArtifactError, UsageError
from lc2fer.settings import RECIPES, Settings
from lc2fer.variants import VARIANTS

DATA = [{"name": "faces", "fit_images": 80, "split": "aa"}]


def write(folder: Path, config: str = "C8", accuracies: tuple[float, ...] = (0.5, 0.7), **settings: Any) -> Path:
    """A run's folder, with a checkpoint whose bytes are its own."""
    folder.mkdir(parents=True)
    described = {"config": config, "size": 100, "seed": 0, "ema": 0.0, "teachers": [], "data": DATA} | settings
    (folder / "run.json").write_text(json.dumps(described))
    with (folder / "log.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "seconds"])
        for place, accuracy in enumerate(accuracies):
            rows.writerow([place + 1, 1.0, 0.6 + place / 10, 1.0 - place / 10, accuracy, 10 + 2 * place])
    (folder / f"{config}.safetensors").write_bytes(str(folder).encode())
    return folder


def test_a_run_is_read_from_its_folder(tmp_path: Path) -> None:
    run = training.read(write(tmp_path / "a", accuracies=(0.5, 0.75, 0.75, 0.7)))
    assert (run.variant.name, run.epochs, run.best_epoch, run.accuracy) == ("C8", 4, 3, 0.75)  # the smaller loss
    assert run.train_accuracy == pytest.approx(0.8)
    assert run.epoch_seconds == 13
    assert (run.splits, run.names) == (("aa",), "faces")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as refused:
        training.read(tmp_path / "none")
    assert str(refused.value) == (
        f"{tmp_path / 'none'} is no finished training run (FileNotFoundError: [Errno 2] No such file or directory: "
        f"'{tmp_path / 'none' / 'run.json'}'). run.json and log.csv were expected. Pass a folder that lc2fer-train "
        "--out wrote."
    )


def test_the_papers_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [
        write(tmp_path / "c1", "C1", (0.60, 0.61)),
        write(tmp_path / "c5", "C5", (0.70, 0.71)),
        write(tmp_path / "c5b", "C5", (0.72, 0.73), seed=1),
        write(tmp_path / "c8", "C8", (0.60, 0.65), ema=0.9),
    ]
    document = main(["paper", *map(str, folders), "--out", str(tmp_path / "out")])
    text = (tmp_path / "out" / "paper.md").read_text()
    assert capsys.readouterr().out == text
    assert document["order_agreement"] == {"other": 1.0}
    assert document["runs"][1] == {
        "recipe": "other",
        "config": "C5",
        "seeds": 2,
        "validation_accuracy": 0.72,
        "test_accuracy": None,
        "epoch_seconds": 11.0,
    }
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert rows[2] == ["other", "C1", "3,389,647", "102", "11.0", "2 (2)", "70.00", "61.00", "not scored", "69.17"]
    assert rows[3][1] == "C5"
    assert rows[3][7] == "72.00 (2 seeds: 71.00 to 73.00)"
    assert "Order of the runs, recipe other: C5 C8 C1. The paper's: C5 C8 C1. Kendall's tau: 1.00." in text
    assert "The runs of recipe other differ in more than their configuration: ema 0.0, 0.9." in text
    assert "Runs: trained and judged on faces. The last column is the paper's, on RAF-DB" in text
    assert 'gives "0.9 M parameters" beside that figure; C5 has 1.65 M and C6 0.93 M' in text
    page = (tmp_path / "out" / "paper.html").read_text()
    assert page.count('<circle class="row') == 3 + len(VARIANTS)
    assert "C5: 73.47 %, 346.1 MMACs at 100x100, 1,645,639 parameters" in page
    assert "<h2>Runs here: faces</h2>" in page
    assert "<h2>The paper: RAF-DB, without augmentation</h2>" in page


def test_a_circles_area_is_the_number_of_parameters() -> None:
    circles = [Circle("A", "A", 1.0, 70.0, 4_000_000, "e1"), Circle("B", "B", 2.0, 71.0, 1_000_000, "e1")]
    drawn = scatter(circles, "s", "%", "Two")
    assert 'r="26.0"><title>A' in drawn
    assert 'r="13.0"><title>B' in drawn


def test_recipes_stand_side_by_side(tmp_path: Path) -> None:
    accuracies = {"paper": (0.60, 0.62, 0.61), "best": (0.63, 0.61, 0.66)}
    runs = []
    for recipe, values in accuracies.items():
        for config, accuracy in zip(("C1", "C5", "C8"), values):
            settings = asdict(Settings(config, **{**RECIPES[recipe], "size": 48, "epochs": 5, "precision": "bf16"}))
            runs.append(training.read(write(tmp_path / recipe / config, accuracies=(accuracy,), **settings)))
    lines = paper.compare(runs)
    assert [(line.recipe, line.name) for line in lines[:4]] == [
        ("paper", "C1"),
        ("paper", "C5"),
        ("paper", "C8"),
        ("best", "C1"),
    ]
    notes = "\n".join(paper.notes(lines))
    assert "Order of the runs, recipe paper: C5 C8 C1. The paper's: C5 C8 C1. Kendall's tau: 1.00." in notes
    assert "Order of the runs, recipe best: C8 C1 C5. The paper's: C5 C8 C1. Kendall's tau: -0.33." in notes
    assert "Recipe best over recipe paper, points: C1 +3.00, C5 -1.00, C8 +5.00; in the mean +2.33." in notes
    assert "differ" not in notes
    assert "C8, recipe best: 66.00 %" in paper.page(lines)


def test_answers_to_the_test_images_come_from_a_report(tmp_path: Path, planted: Callable[..., Report]) -> None:
    run = training.read(write(tmp_path / "c6", "C6"))
    report = planted(images=700, onnx_int8=(20, 50))  # 50 of the parent's answers are wrong
    (parent,) = report.parents
    (line,) = paper.compare([run], [replace(report, parents=(replace(parent, sha256=run.sha256),))])
    assert line.test == (650, 700)
    assert "| 92.86 (90.7" in paper.markdown([line])
    (other,) = paper.compare([run], [report])
    assert other.test is None


def test_lines_are_compared_by_the_test_images_only_where_all_were_scored(
    tmp_path: Path, planted: Callable[..., Report]
) -> None:
    first, second = (training.read(write(tmp_path / name, name.upper())) for name in ("c6", "c8"))
    report = planted(images=700, onnx_int8=(20, 50))
    parents = [replace(report.parents[0], sha256=run.sha256) for run in (first, second)]
    lines = paper.compare([first, second], [replace(report, parents=tuple(parents))])
    assert [line.judged for line in lines] == [650 / 700, 650 / 700]
    lines = paper.compare([first, second], [replace(report, parents=tuple(parents[:1]))])
    assert [line.judged for line in lines] == [0.7, 0.7]
    assert [line.test for line in lines] == [(650, 700), None]


def test_reports_of_different_test_images_are_not_put_into_one_column(
    tmp_path: Path, planted: Callable[..., Report]
) -> None:
    reports = [planted(images=count, onnx_int8=(2, 5)) for count in (70, 700)]
    with pytest.raises(UsageError, match=r"^The reports were scored on different images: 70 images of faces and 700 "):
        paper.compare([training.read(write(tmp_path / "c6", "C6"))], reports)


def test_of_a_run_that_kept_its_last_weights_these_are_compared(tmp_path: Path) -> None:
    run = training.read(write(tmp_path / "a", accuracies=(0.5, 0.75, 0.7), keep="last"))
    assert (run.best_epoch, run.accuracy, run.epochs) == (3, 0.7, 3)
    assert run.train_accuracy == pytest.approx(0.8)


def test_a_run_counts_once_among_the_seeds(tmp_path: Path) -> None:
    base, other = write(tmp_path / "base"), write(tmp_path / "other", seed=1, accuracies=(0.6,))
    document = main(["ablation", str(base), str(other), f"{tmp_path}/./base", "--base", str(base)])
    assert (document["runs"], document["arms"][0]["seeds"]) == (2, 2)
    copy = write(tmp_path / "copy")
    with pytest.raises(UsageError, match=r"base and .*copy have the same settings and the seed 0\. Runs of an "):
        main(["ablation", str(base), str(copy), "--base", str(base)])


def test_a_checkpoint_that_was_not_kept_is_not_scored(tmp_path: Path, planted: Callable[..., Report]) -> None:
    folder = write(tmp_path / "c6", "C6")
    (folder / "C6.safetensors").unlink()
    (line,) = paper.compare([training.read(folder)], [planted(images=700, onnx_int8=(20, 50))])
    assert (line.accuracy, line.test) == (0.7, None)


def test_the_same_images_in_another_folder_are_compared(tmp_path: Path) -> None:
    one = training.read(write(tmp_path / "a"))
    other = training.read(write(tmp_path / "b", seed=1, data=[DATA[0] | {"name": "copy"}]))
    (arm,), _ = ablation.compare([one, other], one)
    assert len(arm.runs) == 2


def test_runs_of_other_images_are_not_compared(tmp_path: Path) -> None:
    one = training.read(write(tmp_path / "a"))
    other = training.read(write(tmp_path / "b", data=[{"name": "drawn", "fit_images": 80, "split": "bb"}]))
    with pytest.raises(UsageError) as refused:
        paper.compare([one, other])
    assert str(refused.value) == (
        f"{one.folder} and {other.folder} were judged on different images (faces and drawn). One D^v was expected. "
        "Compare runs of the same --data."
    )
    with pytest.raises(UsageError, match="were judged on different images"):
        ablation.compare([one, other], one)


def test_what_each_setting_adds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accuracies = {("base", 0): 0.70, ("base", 1): 0.72, ("ema", 0): 0.74, ("ema", 1): 0.76, ("taught", 0): 0.69}
    settings: dict[str, dict[str, Any]] = {
        "base": {},
        "ema": {"ema": 0.9},
        "taught": {"teachers": ["x"], "distill": 0.5},
    }
    folders = [
        write(tmp_path / f"{name}-{seed}", accuracies=(0.1, accuracy), seed=seed, **settings[name])
        for (name, seed), accuracy in accuracies.items()
    ]
    document = main(["ablation", *map(str, folders), "--base", str(tmp_path / "base-0")])
    assert [(arm["changed"], arm["seeds"], arm["gain"]) for arm in document["arms"]] == [
        ("", 2, 0.0),
        ("ema 0.9", 2, 0.04),
        ("distill 0.5, 1 teachers", 1, -0.02),
    ]
    # deviations of 0.01 in four runs, five runs less three arms: sqrt(0.0004 / 2); t(2) = 4.3027
    assert document["spread_of_seeds"] == pytest.approx(0.014142, abs=1e-6)
    assert document["arms"][1]["half"] == pytest.approx(4.302653 * 0.0141421, abs=1e-6)
    assert document["arms"][2]["half"] == pytest.approx(4.302653 * 0.0141421 * 1.5**0.5, abs=1e-6)
    printed = capsys.readouterr().out
    assert "| +4.00 ±6.08 " in printed
    assert "Standard deviation between seeds, pooled over the arms: 1.41 points." in printed


def test_one_seed_each_has_no_interval(tmp_path: Path) -> None:
    runs = [training.read(write(tmp_path / "a")), training.read(write(tmp_path / "b", ema=0.5))]
    arms, spread = ablation.compare(runs, runs[0])
    assert spread is None
    assert [arm.half for arm in arms] == [None, None]
    assert ablation.table(arms, spread).endswith("No arm has two seeds: what differs by chance is not known.")


def test_the_base_must_be_among_the_runs(tmp_path: Path) -> None:
    one, other = training.read(write(tmp_path / "a")), training.read(write(tmp_path / "b", ema=0.5))
    with pytest.raises(UsageError) as refused:
        ablation.compare([one], other)
    assert str(refused.value) == (
        f"None of the runs has the settings of {other.folder}. The base was expected among them. Pass it too."
    )

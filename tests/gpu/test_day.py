"""The day on a GPU, rehearsed on a CPU: every part runs and leaves its results, and the clock ends what it must."""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from lc2fer import artifact as artifacts
from lc2fer.alignment import square
from lc2fer.data import labels_of, open_dataset, read_pixels
from lc2fer.data.split import divide, images_kept
from lc2fer.finder import find_in_crop, open_finder
from lc2fer.inputs import InputSpec, read_image

HERE = Path(__file__).resolve().parent


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a script of this folder, as they import each other."""
    monkeypatch.syspath_prepend(str(HERE))
    return import_module


def test_packed_faces_are_those_of_the_folder(part: Callable[[str], Any], noise_faces: Path, tmp_path: Path) -> None:
    part("packed").pack(noise_faces, tmp_path / "faces.npz")
    found = part("packed").read(tmp_path / "faces.npz")
    split = divide(open_dataset(noise_faces))
    import torch

    spec = InputSpec(size=24)
    for name, samples in (("fit", split.fit), ("validation", split.validation)):
        faces = found.faces(name, spec, torch.device("cpu"))
        assert faces.labels.tolist() == labels_of(samples).tolist()
        grey = read_pixels(samples, spec).astype(np.float64) @ [0.299, 0.587, 0.114]
        apart = np.abs(faces.pixels.permute(0, 2, 3, 1).numpy() - grey[..., None])
        assert apart.max() < 2  # made grey before it was resized, and rounded
    assert found.described["split"] == split.fingerprint
    assert found.targets("labels").argmax(1).tolist() == labels_of(split.fit).tolist()


def test_packed_faces_are_cut_out_by_their_eyes(
    part: Callable[[str], Any], photograph: Callable[[str], Path], tmp_path: Path
) -> None:
    with Image.open(photograph("astronaut")) as image:
        (face,) = open_finder(thorough=True).find(np.asarray(image.convert("RGB")))
        middle = face.left + face.width / 2, face.top + face.height / 2
        box = [at + side * face.width * 0.6 for side in (-1, 1) for at in middle]
        for number in range(12):
            folder = tmp_path / "faces" / ("train" if number < 10 else "test") / ("happy", "sad")[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            turned = image.rotate(3 * number - 15, center=middle, resample=Image.Resampling.BILINEAR)
            turned.convert("L").crop([round(at) for at in box]).resize((96, 96)).save(folder / f"{number}.png")
    part("packed").pack(tmp_path / "faces", tmp_path / "faces.npz", alignment="eyes")
    found = part("packed").read(tmp_path / "faces.npz")
    assert found.alignment == "eyes"
    import torch

    split = divide(open_dataset(tmp_path / "faces"))
    pixels = found.faces("fit", InputSpec(size=48), torch.device("cpu")).pixels.permute(0, 2, 3, 1).numpy()
    finder = open_finder(thorough=True)
    for sample, made in zip(split.fit, pixels):
        image = np.asarray(read_image(sample.path).convert("RGB"))
        wanted = square(image, find_in_crop(finder, image)[0], 48, "eyes")
        assert np.abs(made.astype(int) - wanted).max() <= 1
        assert abs(find_in_crop(finder, made)[0].roll_degrees) < 6


def test_faces_without_a_majority_are_packed_too(
    part: Callable[[str], Any], noise_faces: Path, write_faces: Callable[..., Path], tmp_path: Path
) -> None:
    more = write_faces(tmp_path / "more", train=2, test=1)
    for path in (more / "Image" / "aligned").iterdir():
        with Image.open(path) as image:
            ImageOps.flip(image).save(path)
    test = noise_faces / "Image" / "aligned" / "test_00001_aligned.png"
    shutil.copy(test, more / "Image" / "aligned" / "train_00001_aligned.png")
    part("packed").pack(noise_faces, tmp_path / "faces.npz", more=more)
    found = part("packed").read(tmp_path / "faces.npz")
    split = divide(open_dataset(noise_faces))
    assert found.described == {"name": "noise", "fit_images": len(split.fit) + 13, "split": split.fingerprint}
    assert len(found.shares) == len(found.pixels["fit"]) == len(split.fit) + 13
    assert len(found.pixels["validation"]) == len(split.validation)


@pytest.mark.every
def test_the_rehearsal_runs_every_part(noise_faces: Path, tmp_path: Path, part: Callable[[str], Any]) -> None:
    part("packed").pack(noise_faces, tmp_path / "faces.npz")
    part("packed").pack(noise_faces, tmp_path / "whole.npz", keep=14)
    for name in ("teachers", "students", "whole"):
        (tmp_path / f"go-{name}").write_text("4")  # on a busy machine an epoch may take two
    parts = ["depthwise", "memory", "throughput", "teachers", "students", "whole"]
    environment = {**os.environ, "REHEARSE": "1", "PYTHON": sys.executable, "STUDENT_FLAGS": "--optimizer muon"}
    command = ["bash", str(HERE / "day.sh"), str(tmp_path), *parts, "no-such-part"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    logs = {path.name: path.read_text() for path in tmp_path.glob("*.log")}
    assert done.returncode == 2, logs
    assert done.stderr.startswith("There is no part no-such-part. Expected depthwise, memory, ")
    assert done.stdout.count("ended with 0") == len(parts) + 1, (done.stdout, logs)  # memory by two bindings
    (row,) = json.loads((tmp_path / "throughput.json").read_text())["rows"]
    assert row["images_per_second"] > 0
    for member in ("C8-9", "C8-0", "C8-1"):
        made = artifacts.load(tmp_path / "weights" / member / "C8.safetensors")
        assert made.training is not None
        assert made.training["device"] == "cpu"
        assert (tmp_path / "weights" / member / "done").is_file()
    with (tmp_path / "weights" / "students.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[-1]["side"] == "32"  # the larger of two sizes
    assert float(rows[-1]["C8-0 D^v"]) > 0
    whole = artifacts.load(tmp_path / "weights-whole" / "C8-0" / "C8.safetensors").training or {}
    assert whole["data"][0]["split"] == divide(open_dataset(noise_faces), keep=14).fingerprint
    assert images_kept(whole) == 14
    with (tmp_path / "weights-whole" / "whole.csv").open(newline="") as file:
        assert whole["epoch"] == int(list(csv.DictReader(file))[-1]["epoch"])


def test_the_clock_ends_the_training_and_leads_its_schedule(
    part: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Epochs of 7 seconds in 100: the last one begins where half of it still fits, and is judged."""
    cohort = part("cohort")
    now = 0.0
    monkeypatch.setattr(cohort.time, "perf_counter", lambda: now)
    seen: list[tuple[float, int]] = []
    judged: list[float] = []

    class Clocked(cohort.Cohort):
        def __init__(self) -> None:
            self.given = argparse.Namespace(seconds=100.0, sizes=[48, 100], first=0.35, judge=30.0, out=tmp_path)
            self.learners = {"C8-0": None}

        def _epoch(self, place: Any, took: float) -> list[float]:
            nonlocal now
            seen.append((place.share, place.side))
            now += 7
            return [0.0]

        def _judge(self, place: Any, losses: Any, seconds: float) -> None:
            judged.append(place.share)

    (tmp_path / "C8-0").mkdir()
    Clocked().train()
    assert len(seen) == 14
    assert now == 98
    assert [side for share, side in seen] == [48 if share < 0.35 else 100 for share, _ in seen]
    assert [share for share, _ in seen] == pytest.approx([0.07 * epoch for epoch in range(14)])
    assert judged[-1] == pytest.approx(0.98)
    assert max(np.diff([0, *judged])) <= 0.37
    assert (tmp_path / "C8-0" / "done").is_file()

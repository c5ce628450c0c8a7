"""Every data layout from training to the camera's page, by the commands that a user types; prints a table.

python tests/every_layout.py FOLDER

Draws eight small data sets, one a form that goes round, and takes each through lc2fer-train (one epoch), lc2fer-export,
lc2fer-bench, lc2fer-explain, lc2fer-deploy bundle, build, verify and run. Takes some minutes; exits 1 where a step
failed or a page names other labels than the data set. What the networks answer means nothing.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "fakes"))

import browser
import layouts
import numpy as np
from PIL import Image

from lc2fer import cli

COMMAND = "import sys; from lc2fer import cli; sys.exit(cli.run(sys.argv[1], sys.argv[2:]))"
FOLDERS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")  # FER2013's
OWN = ("bored", "engaged", "happy", "neutral", "tired")
COUNTS = {"train": 40, "test": 6}
STEPS = ("train", "export int8", "bench", "explain", "bundle", "build", "verify", "run", "page")


@dataclass(frozen=True)
class Layout:
    """One form of data set."""

    name: str
    classes: int
    make: Callable[[Path], Path]
    flags: tuple[str, ...] = ()


def rafdb(root: Path) -> Path:
    """As it goes round: list_partition_label.txt with a byte-order mark and a third column, labels 0..6."""
    lines = []
    for part, count in COUNTS.items():
        for number in range(7 * count):
            name = f"{part}_{number + 1:05d}"
            place = root / "Image" / "aligned" / f"{name}_aligned.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(layouts.face(number % 7, number + 1000 * len(part))).save(place, quality=95)
            lines.append(f"{name}.jpg {number % 7} 1\n")
    (root / "EmoLabel").mkdir()
    text = "".join(lines)
    (root / "EmoLabel" / "list_partition_label.txt").write_text("\ufeff" + text, encoding="utf-8")
    return root


def fer2013(root: Path) -> Path:
    return layouts.fer2013(root, {"Training": 40, "PublicTest": 12, "PrivateTest": 6})


def ferplus(root: Path) -> Path:
    """The same with FER+'s votes for eight classes beside it."""
    fer2013(root)
    rows = 7 * 58
    votes = np.zeros((rows, 10), np.int64)
    votes[np.arange(rows), np.arange(rows) % 7] = 9
    votes[np.arange(6, rows, 14), 6], votes[np.arange(6, rows, 14), 7] = 0, 9  # every other fear is contempt
    layouts.votes(root, votes)
    return root


def folders(names: tuple[str, ...], **parts: int) -> Callable[[Path], Path]:
    return lambda root: layouts.folders(root, names, parts)


LAYOUTS = (
    Layout("RAF-DB, list counted from 0", 7, rafdb, ("--labels-from", "0")),
    Layout("RAF-DB, train/1..7, valid/, test/", 7, folders(tuple("1234567"), train=40, valid=12, test=6)),
    Layout("FER2013, fer2013.csv", 7, fer2013),
    Layout("FER+, fer2013new.csv", 8, ferplus),
    Layout("FER2013, train/angry, test/happy", 7, folders(FOLDERS, train=40, test=6)),
    Layout("AffectNet, annotations", 8, lambda root: layouts.affectnet(root, {"train_set": 50, "val_set": 12})),
    Layout(
        "AffectNet, training.csv, 7 classes",
        7,
        lambda root: layouts.affectnet_tables(root, {"training": 50, "validation": 12}),
        ("--synonyms", "contempt="),
    ),
    Layout("five classes of one's own", 5, folders(OWN, train=40, val=12, test=6)),
)


def command(tool: str, *arguments: object, log: Path) -> tuple[int, dict[str, Any]]:
    """Exit code and last line of a command, run in this process; all that it said goes to the log."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as said:
        code = cli.run(tool, list(map(str, arguments)))
    with log.open("a") as file:
        file.write(f"\n== {tool} {' '.join(map(str, arguments))}\n{out.getvalue()}{said.getvalue()}")
    lines = [line for line in out.getvalue().splitlines() if line.startswith("{")]
    return code, json.loads(lines[-1]) if lines else {}


def page(model: Path, folder: Path) -> tuple[str, ...]:
    """The labels on the page of a running program, as a browser shows them; without one, as the page gets them."""
    arguments = ["deploy", "run", str(model), "--web", "127.0.0.1:0", "--threads", "1"]
    with subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        link = next(line for line in running.stderr if line.startswith("The page: ")).split()[-1]
        try:
            if browser.CHROMIUM is None:
                with urllib.request.urlopen(f"{link}api/status", timeout=20) as answer:
                    return tuple(json.load(answer)["labels"])
            shown = browser.Browser(folder / "browser", 1280, 900)
            try:
                shown.send("Page.navigate", url=link)
                shown.until("document.querySelectorAll('#own .label').length > 0")
                return tuple(shown.value("[...document.querySelectorAll('#own .label')].map((one) => one.textContent)"))
            finally:
                shown.close()
        finally:
            running.terminate()


def seen_on_page(model: Path, folder: Path) -> tuple[str, ...]:
    """The same, asked by a process of its own: what this one has loaded may hold the numbers of the browser's pipes."""
    done = subprocess.run(
        [sys.executable, __file__, "page", str(model), str(folder)], stdout=subprocess.PIPE, text=True, timeout=300
    )
    return tuple(json.loads(done.stdout.splitlines()[-1])) if done.returncode == 0 else ()


def through(layout: Layout, folder: Path) -> dict[str, Any]:
    """What became of each step, and the labels of the data, of the weights and of the page."""
    folder.mkdir(parents=True)
    data, out, log = layout.make(folder / "data"), folder / "out", folder / "log"
    given = ["--data", data, *layout.flags]
    found: dict[str, Any] = {}

    def step(name: str, tool: str, *arguments: object) -> dict[str, Any]:
        if any(found.values()):
            found[name] = None
            return {}
        found[name], document = command(tool, *arguments, log=log)
        return document

    small = ("--size", 32, "--epochs", 1, "--batch", 16)
    document = step("train", "train", "--config", "C8", *given, "--out", folder / "run", *small)
    weights = Path(document["artifact"])
    few = ("--weights", weights, *given)
    calibrated = ("--out", out, "--calibration-images", 40)
    made = step("export int8", "export", "--config", "C8", "--target", "ort-int8", *few, *calibrated)
    quick = ("--launches", 1, "--seconds", 0.1, "--runs", 30, "--strict")
    models = (weights, made.get("artifact", ""))
    step("bench", "bench", "--models", *models, *given, "--out", out, *quick)
    step(
        "explain", "explain", "--config", "C8", *few, "--beside", models[1], "--limit", 40, "--out", folder / "explain"
    )
    step("bundle", "deploy", "bundle", "--config", "C8", *few, *calibrated)
    step("build", "deploy", "build", out / "C8.bundle", "--engine", "onnxruntime", "--threads", 1)
    step("verify", "deploy", "verify", out / "C8.bundle", "--threads", 1)
    photograph = folder / "face.png"
    Image.fromarray(layouts.face(0, 1, 128)).save(photograph)
    step("run", "deploy", "run", out / "C8.bundle", "--source", photograph, "--json", "--threads", 1)
    labels = tuple(json.loads(weights.with_suffix(".json").read_text())["input_spec"]["labels"])
    seen = seen_on_page(out / "C8.bundle", folder) if not any(found.values()) else ()
    found["page"] = int(seen != labels or len(labels) != layout.classes)
    return {**found, "labels": seen or labels}


def main() -> int:
    """Print the table as Markdown."""
    if sys.argv[1] == "page":
        print(json.dumps(page(Path(sys.argv[2]), Path(sys.argv[3]))))
        return 0
    root = Path(sys.argv[1])
    failed = 0
    print(f"| layout | {' | '.join(STEPS)} | labels on the page | s |")
    print(f"| --- |{' --- |' * len(STEPS)} --- | --: |", flush=True)
    for number, layout in enumerate(LAYOUTS, 1):
        began = time.monotonic()
        found = through(layout, root / str(number))
        said = ["ok" if found[step] == 0 else "-" if found[step] is None else f"exit {found[step]}" for step in STEPS]
        failed += any(one != "ok" for one in said)
        labels = f"{len(found['labels'])}: {', '.join(found['labels'])}"
        print(f"| {layout.name} | {' | '.join(said)} | {labels} | {time.monotonic() - began:.0f} |", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())

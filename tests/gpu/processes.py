"""lc2fer-train on one GPU: twice the same, two processes as one, and a killed run that goes on.

python tests/gpu/processes.py FOLDER
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

_TRAIN = "import sys; from lc2fer import cli; sys.exit(cli.train())"


def write_faces(root: Path, count: int = 20) -> None:
    """Noise in the layout of RAF-DB, a colour for each class."""
    rng = np.random.default_rng(0)
    (root / "Image" / "aligned").mkdir(parents=True, exist_ok=True)
    (root / "EmoLabel").mkdir(exist_ok=True)
    lines = []
    for part, number in (("train", count), ("test", 1)):
        for place in range(7 * number):
            colour = 30 * (place % 7) + np.array([10, 25, 40])
            picture = np.clip(rng.normal(colour, 25, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(root / "Image" / "aligned" / f"{part}_{place:05d}_aligned.jpg", quality=95)
            lines.append(f"{part}_{place:05d}.jpg {place % 7 + 1}")
    (root / "EmoLabel" / "list_patition_label.txt").write_text("\n".join(lines) + "\n")


def losses(out: Path) -> list[float]:
    """Of each epoch."""
    with (out / "log.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def apart(one: list[float], other: list[float]) -> float:
    """The largest relative difference."""
    return max(abs(a - b) / abs(a) for a, b in zip(one, other, strict=True))


def main(folder: Path) -> None:
    """The command."""
    faces = folder / "faces"
    write_faces(faces)
    epochs = 6
    flags = ["--config", "C8", "--data", str(faces), "--size", "32", "--epochs", str(epochs), "--batch", "32"]
    flags += ["--drop-path", "0"]

    def command(name: str) -> list[str]:
        return [*flags, "--out", str(folder / name)]

    def train(start: list[str], name: str) -> None:
        done = subprocess.run([sys.executable, *start, *command(name)], capture_output=True, text=True, timeout=120)
        if done.returncode:
            print(f"{name}: {done.returncode}\n{done.stderr[-3000:]}", flush=True)

    program = folder / "train.py"
    program.write_text(_TRAIN)
    for name in ("one", "again"):
        train([str(program)], name)
    print(f"one process, twice: losses {apart(losses(folder / 'one'), losses(folder / 'again')):.2e} apart", flush=True)

    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    train([*launcher, str(program)], "two")
    print(f"two processes: {apart(losses(folder / 'one'), losses(folder / 'two')):.2e} apart from one", flush=True)

    out = folder / "killed"
    process = subprocess.Popen([sys.executable, str(program), *command("killed")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (out / "state.safetensors").is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    stood = len(losses(out)) if (out / "log.csv").is_file() else 0
    train([str(program)], "killed")
    found = apart(losses(folder / "one"), losses(out))
    print(f"killed after epoch {stood} of {epochs}, gone on: {found:.2e} apart from the whole run", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

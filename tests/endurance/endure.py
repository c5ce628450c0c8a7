"""Long runs: `nice -n 19 python tests/endurance/endure.py FOLDER [WHAT ...] --out FILE`.

FOLDER holds models of any engine (lc2fer-export) of one configuration. `inferences`: --runs of each; `sessions`: each
opened and closed --sessions times; `camera`: lc2fer-deploy run for --minutes on a stream that changes size, rate and
coding, with a page that somebody looks at. Memory, file descriptors and threads are read all the way, and have to be
flat: a straight line through the second half's values may not rise by more than what stands in LIMITS.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

import lc2fer
from lc2fer.data.drawing import draw
from lc2fer.data.synthetic import sample

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))

from ip_camera import IpCamera

LIMITS = {"resident_mb": 8.0, "descriptors": 0.5, "threads": 0.5}
_SAMPLES = 400
_FILMS = (  # size, coding, pictures a second
    ((320, 240), "baseline", 15),
    ((640, 480), "mp4v", 30),
    ((640, 480), "progressive", 30),
    ((854, 480), "mpg2", 25),
    ((800, 600), "grey", 8),
    ((320, 240), "VP80", 20),
)
_CONTAINERS = {
    "mp4v": ".ts",
    "mpg2": ".ts",
    "VP80": ".mkv",
}  # the other codings are JPEG's, one picture after the other
_FILM_S = 5.0  # a film ends, and the camera is opened anew
_LONGER_S = 15.0  # that the command runs on, so that nothing is read of one that ends


def state(pid: int | str = "self") -> dict[str, float]:
    """Resident memory, open file descriptors and threads of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = {name: int(re.search(rf"{name}:\s+(\d+)", text)[1]) for name in ("VmRSS", "Threads")}  # type: ignore[index]
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    return {"resident_mb": found["VmRSS"] / 1024, "descriptors": descriptors, "threads": found["Threads"]}


def flat(samples: list[dict[str, float]]) -> dict[str, Any]:
    """First, last and largest values, and what a line through the second half rises by."""
    found: dict[str, Any] = {}
    late = samples[len(samples) // 2 :]
    for name, limit in LIMITS.items():
        values = [sample[name] for sample in late]
        slope = np.polyfit(np.arange(len(values)), values, 1)[0] if len(values) > 1 else 0.0
        rise = float(slope * (len(values) - 1))
        found[name] = {
            "first": round(samples[0][name], 1),
            "last": round(samples[-1][name], 1),
            "largest": round(max(sample[name] for sample in samples), 1),
            "rise": round(rise, 2),
            "flat": rise <= limit,
        }
    return found


def _repeat(count: int, act: Callable[[int], object]) -> dict[str, Any]:
    samples, started = [], time.monotonic()
    for number in range(count):
        act(number)
        if number % max(1, count // _SAMPLES) == 0:
            samples.append(state())
    return {"count": count, "seconds": round(time.monotonic() - started, 1), **flat(samples)}


def inferences(model: Path, runs: int) -> dict[str, Any]:
    """One session; the answer to an image has to be the same at the end as at the start."""
    with lc2fer.open_session(model, threads=1) as session:
        shape = session.artifact.input_spec.shape
        images = np.random.default_rng(0).integers(0, 256, (16, 1, *shape)).astype(np.float32)
        before = [session.run(image) for image in images]
        found = _repeat(runs, lambda number: session.run(images[number % 16]))
        same = all(np.array_equal(session.run(image), logits) for image, logits in zip(images, before))
    return {**found, "same_answers": same}


def sessions(model: Path, count: int) -> dict[str, Any]:
    """Opened, run once, closed."""
    spec = lc2fer.open_session(model, threads=1)
    image = np.zeros((1, *spec.artifact.input_spec.shape), np.float32)
    spec.close()

    def once(_: int) -> None:
        with lc2fer.open_session(model, threads=2) as session:
            session.run(image)

    return _repeat(count, once)


def camera(model: Path, minutes: float, change_s: float = 20.0) -> dict[str, Any]:
    """The command as a user starts it, on a camera in the network that goes away every `change_s` and returns with
    another film, every fourth time three seconds later."""
    samples, asked, changes, number = [], 0, 0, 0
    program = "import sys; from lc2fer.cli import deploy; sys.exit(deploy())"
    with tempfile.TemporaryDirectory() as work, IpCamera([]) as source:
        _show(source, Path(work), *_FILMS[0])
        command = ["run", str(model), "--source", source.url, "--json", "--threads", "1", "--web", "127.0.0.1:0"]
        with Path(work, "lines").open("w") as lines:
            process = subprocess.Popen(
                [sys.executable, "-c", program, *command, "--seconds", str(60 * minutes + _LONGER_S)],
                stdout=lines,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert process.stderr is not None
            links = (re.search(r"http://127[^ \n]+", line) for line in process.stderr)
            found = next(filter(None, links))
            threading.Thread(target=process.stderr.read, daemon=True).start()
            began = time.monotonic()
            while time.monotonic() < began + 60 * minutes and process.poll() is None:
                time.sleep(2)
                if time.monotonic() > began + change_s * (changes + 1):
                    changes += 1
                    source.vanish()
                    _show(source, Path(work), *_FILMS[changes % len(_FILMS)])
                    time.sleep(3 if changes % 4 == 0 else 0)
                    source.come_back()
                if process.poll() is None:
                    samples.append(state(process.pid))
                    with (
                        suppress(OSError),
                        urllib.request.urlopen(f"{found[0]}api/picture?after={number}", timeout=30) as answer,
                    ):
                        asked += answer.status == 200
                        number = int(json.loads(answer.headers.get("LC2FER-Scene", "{}")).get("number", number))
            code = process.wait(900)  # a busy machine starts late, and counts its seconds from there
        last = json.loads(Path(work, "lines").read_text().splitlines()[-1])
    told = {name: last[name] for name in ("captured", "judged", "dropped", "age_ms")}
    return {"minutes": minutes, "changes": changes, "exit_code": code, "pages_pictures": asked, **told, **flat(samples)}


def _show(camera: IpCamera, folder: Path, size: tuple[int, int], coding: str, fps: float) -> None:
    """Let the camera give pictures of that size, coding and rate, with a drawn face that moves."""
    pictures = _pictures(size)
    camera.fps, camera.pictures, camera.film = fps, [], None
    if coding not in _CONTAINERS:
        for picture in pictures:
            file = io.BytesIO()
            picture.convert("L" if coding == "grey" else "RGB").save(file, "JPEG", progressive=coding == "progressive")
            camera.pictures.append(file.getvalue())
        camera.damaged = 1
        return
    path = folder / f"film{_CONTAINERS[coding]}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*coding), fps, size)
    for step in range(round(_FILM_S * fps)):
        writer.write(np.asarray(pictures[step % len(pictures)])[:, :, ::-1])
    writer.release()
    camera.film = path.read_bytes(), _FILM_S


def _pictures(size: tuple[int, int]) -> list[Image.Image]:
    """RGB [height,width,3]."""
    face = draw(sample(3, np.random.default_rng(3000)), 200)
    found = []
    for step in range(4):
        picture = Image.new("RGB", size, (120, 120, 120))
        picture.paste(face, (10 + 15 * step, (size[1] - 200) // 2))
        found.append(picture)
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", nargs="*", default=["sessions", "inferences", "camera"])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--change", type=float, default=20.0, metavar="SECONDS", help="that a camera's film lasts")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    models = sorted(path for path in given.folder.iterdir() if path.suffix in (".onnx", ".xml", ".safetensors", ".lc2"))
    document: dict[str, Any] = {}
    for what in given.what:
        for model in models[:1] if what == "camera" else models:
            size = {"inferences": given.runs, "sessions": given.sessions, "camera": f"{given.minutes}, {given.change}"}[
                what
            ]
            program = "import sys, json; sys.path[:0] = sys.argv[1:3]; import endure; from pathlib import Path; "
            program += f"print(json.dumps(endure.{what}(Path(sys.argv[3]), {size})))"
            here = Path(__file__).parent
            done = subprocess.run(
                [sys.executable, "-c", program, str(here), str(here.parent / "fakes"), str(model)],
                capture_output=True,
                text=True,
            )
            name = f"{what} {model.name}"
            last = done.stdout.splitlines()[-1] if done.returncode == 0 else "null"
            document[name] = json.loads(last) or {"failed": done.stderr[-1000:]}
            print(f"{name}: {document[name]}", file=sys.stderr, flush=True)
            given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    good = all(
        "failed" not in one and one.get("same_answers", True) and all(one[name]["flat"] for name in LIMITS)
        for one in document.values()
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

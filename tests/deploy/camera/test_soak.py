"""The bundled C6 in INT8 watches a video of 30 pictures a second while somebody looks at its page: nothing piles up."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
import video

from lc2fer import cli

SECONDS = 30
SETTLED_S = 10  # until then engines and allocators still take what they keep
GROWTH_MB = 1.5  # 60 kB of every second would be this much: a hundredth of a picture


@pytest.fixture(scope="module")
def c6(tmp_path_factory: pytest.TempPathFactory, write_faces: object) -> Path:
    """C6 in INT8 for ONNX Runtime, from the bundled weights."""
    out = tmp_path_factory.mktemp("c6")
    faces = write_faces(out / "faces", train=60, test=3, side=100)  # type: ignore[operator]
    arguments = ["--config", "C6", "--target", "ort-int8", "--data", str(faces), "--calibration-images", "40"]
    assert cli.run("export", [*arguments, "--out", str(out)]) == 0
    return out / "C6-ort-int8.onnx"


def look(link: str, stop: threading.Event) -> None:
    """A viewer of the page: asks for the newest picture again and again."""
    number = 0
    while not stop.is_set():
        with urllib.request.urlopen(f"{link}api/picture?after={number}", timeout=20) as answer:
            if answer.status == 200:
                number = json.loads(answer.headers["LC2FER-Scene"])["number"]


@pytest.mark.every
def test_memory_is_flat_and_pictures_stay_fresh(c6: Path, tmp_path: Path) -> None:
    film = video.write(tmp_path / "face.mp4", video.moving(video.face(3), SECONDS * video.FPS))
    lines = tmp_path / "lines"
    program = "import sys; from lc2fer.cli import deploy; sys.exit(deploy())"
    arguments = ["run", str(c6), "--source", str(film), "--json", "--threads", "1", "--web", "127.0.0.1:0"]
    samples: list[float] = []
    with lines.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments], stdout=out, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        found = re.search(r"http://\S+", process.stderr.readline())
        assert found is not None
        stop = threading.Event()
        viewer = threading.Thread(target=look, args=(found[0], stop))
        viewer.start()
        begin = time.monotonic()
        while time.monotonic() - begin < SECONDS - 2:
            time.sleep(0.25)
            if time.monotonic() - begin > SETTLED_S:
                samples.append(resident_mb(process.pid))
        stop.set()
        viewer.join()
        assert process.wait(60) == 0
    third = len(samples) // 3
    growth = statistics.median(samples[-third:]) - statistics.median(samples[:third])
    document = json.loads(lines.read_text().splitlines()[-1])
    assert growth < GROWTH_MB, samples[::8]
    assert document["captured"] == SECONDS * video.FPS
    assert document["judged"] + document["dropped"] == document["captured"]
    assert document["first_picture_s"] < 10  # under 3 s on a machine that does nothing else
    assert document["age_ms"]["p50"] < 100


def resident_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) / 1024  # type: ignore[index]

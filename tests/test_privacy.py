"""Nothing here reports home: no connection that nobody asked for, nothing in the home folder but what the docs name."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

_SECONDS = 60  # that a session stays open: ONNX Runtime 1.32 looks up its maker's collector 9 s after one is opened

OPEN = f"""
import sys, time
import numpy as np
import lc2fer
with lc2fer.open_session(sys.argv[1], threads=1) as session:
    session.run(np.zeros((1, *session.artifact.input_spec.shape), np.float32))
    time.sleep({_SECONDS})
"""
STOCK = """
import sys
from pathlib import Path
from lc2fer.spokes import exporter
exports = exporter("C8", Path(sys.argv[1]), weights=Path(sys.argv[2]), data=sys.argv[3], images="aligned", say=str,
                   calibration_images=64)
for target in ("stock-onnx-int8", "stock-openvino-int8"):
    exports.export(target)
"""
COMMANDS = """
import shlex, sys
from lc2fer import cli
for line in sys.argv[1:]:
    command, *arguments = shlex.split(line)
    if code := cli.run(command, arguments):
        sys.exit(f"{line}: {code}")
"""


@dataclass
class Watched:
    """A process under the network's watch, with a home folder of its own."""

    process: subprocess.Popen[str]
    home: Path
    log: Path

    def end(self) -> tuple[str, list[str], list[str]]:
        """What it printed to standard error, what it asked of the network, and what appeared in its home folder."""
        _, errors = self.process.communicate(timeout=200)
        asked = self.log.read_text().splitlines() if self.log.is_file() else []
        return errors, asked, sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*"))


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Starts a Python program under watch."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("watch") / "watch.so"
    source = Path(__file__).parent / "fakes" / "network_watch.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)

    def start(program: str, *arguments: str) -> Watched:
        home = tmp_path_factory.mktemp("home")
        log = home.with_name(f"{home.name}.log")
        environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | {
            "HOME": str(home),
            "XDG_CACHE_HOME": "",
            "LC2FER_CACHE": str(home.with_name(f"{home.name}.cache")),
            "LD_PRELOAD": str(library),
            "NETWORK_WATCH": str(log),
        }
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env=environment,
            cwd=home.parent,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        return Watched(process, home, log)

    return start


def test_the_watch_sees_a_connection_and_a_look_up(watch: Any) -> None:
    program = (
        "import socket\n"
        "for call in (lambda: socket.create_connection(('127.0.0.1', 9), 1), lambda: socket.getaddrinfo('::1', 9)):\n"
        "    try: call()\n"
        "    except OSError: pass\n"
    )
    errors, asked, home = watch(program).end()
    assert (errors, asked, home) == ("", ["getaddrinfo 127.0.0.1", "connect ", "getaddrinfo ::1"], [])


@pytest.mark.slow
def test_no_engine_and_no_command_opens_a_connection(
    watch: Any, tmp_path: Path, small_weights: Path, small_faces: Path, small_exports: Any
) -> None:
    models = [made.path for made in small_exports.into(tmp_path, "ort-fp32", "openvino-fp32").values()]
    face = next((small_faces / "Image" / "aligned").iterdir())
    weights = f"C8 --weights {shlex.quote(str(small_weights))} --data {small_faces} --out {tmp_path}"
    running = [watch(OPEN, str(model)) for model in models]
    camera = f"deploy run {models[1]} --source {face.parent} --seconds {_SECONDS}"
    running.append(watch(COMMANDS, camera))
    running.append(watch(STOCK, str(tmp_path / "stock"), str(small_weights), str(small_faces)))
    commands = (
        f"predict --model {models[1]} {face}",
        f"train --config C8 --data {small_faces} --out {tmp_path}/run --epochs 1 --batch 32 --size 32",
        f"export --config {weights}/bench --target ort-fp32",
        f"bench --configs {weights}/bench --targets ort-fp32 --launches 1 --runs 2 --seconds 0",
        "deploy doctor",
    )
    for session in (watch(COMMANDS, *commands), *running):
        errors, asked, home = session.end()
        assert (session.process.returncode, asked, home) == (0, [], []), errors


def test_no_engine_is_imported_before_telemetry_is_refused() -> None:
    program = (
        "import sys, lc2fer.export.pipeline; print(*sorted({'onnxruntime', 'openvino', 'nncf'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_a_picture_starts_no_program(python: Any, tmp_path: Path) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    Image.new("RGB", (64, 64)).save(tmp_path / "face.eps")
    (tmp_path / "face.eps").rename(tmp_path / "face.jpg")
    done = python(
        "import json, sys\n"
        "started = []\n"
        "sys.addaudithook(lambda event, _: started.append(event) if event in\n"
        "    ('subprocess.Popen', 'os.system', 'os.exec', 'os.posix_spawn', 'os.fork') else None)\n"
        "from pathlib import Path\n"
        "from lc2fer.errors import DataError\n"
        "from lc2fer.inputs import read_image\n"
        "try: read_image(Path(sys.argv[1]))\n"
        "except DataError as error: print(json.dumps([str(error), started]))\n",
        str(tmp_path / "face.jpg"),
    )
    text, started = json.loads(done.stdout)
    assert started == []
    assert text == (
        f"{tmp_path / 'face.jpg'} cannot be read as a picture: it is no JPEG, PNG, WebP, BMP, TIFF, GIF or PPM. "
        "Expected a whole JPEG or PNG. Copy the file again from its source."
    )

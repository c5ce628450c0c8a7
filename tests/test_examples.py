"""The examples run as they are written."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lc2fer.export.formats import onnxruntime_web
from PIL import Image

import lc2fer
from lc2fer import artifact
from lc2fer.errors import TargetUnavailable


def test_each_example_is_short(checkout: Path) -> None:
    files = [path for path in (checkout / "examples").iterdir() if path.is_file()]
    assert len(files) >= 6
    assert all(len(path.read_text(encoding="utf-8").splitlines()) < 60 for path in files)


def test_predict(
    checkout: Path,
    photograph: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = photograph("astronaut")
    monkeypatch.setattr(sys, "argv", ["predict.py", str(path)])
    runpy.run_path(str(checkout / "examples" / "predict.py"))
    assert capsys.readouterr().out.startswith(f"{path} 1: happiness, ")


def test_service(checkout: Path, photograph: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    testclient = pytest.importorskip("starlette.testclient")
    monkeypatch.setenv("MODEL", str(artifact.bundled("C6")))
    app = runpy.run_path(str(checkout / "examples" / "service.py"))["app"]
    client = testclient.TestClient(app)
    (answer,) = client.post("/", content=photograph("astronaut").read_bytes()).json()
    assert answer["expression"] == "happiness"
    assert client.post("/", content=b"no picture").status_code == 400


@pytest.mark.slow
def test_from_photograph_to_report_and_to_node(
    checkout: Path,
    photograph: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """The notebook, cell by cell; then Node answers with the model that it made as Python does."""
    picture = Image.open(photograph("astronaut")).convert("RGB")
    picture.save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    display = SimpleNamespace(SVG=lambda path: Path(path).read_text(encoding="utf-8"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    notebook = json.loads((checkout / "examples" / "photograph_to_report.ipynb").read_text(encoding="utf-8"))
    said: dict[str, Any] = {}
    values = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            *lines, last = cell["source"].splitlines()
            value = not last.startswith((" ", "for"))  # what the notebook shows below the cell
            exec("\n".join(lines if value else [*lines, last]), said)
            values.append(eval(last, said) if value else None)
    assert values[1].size == (105, 105)
    assert values[2] == values[4] == 0
    assert "C8 onnx-int8" in values[5]
    assert len(re.findall(r"^happiness \d\d%", capsys.readouterr().out, re.MULTILINE)) == 2

    left, top, width, height = said["answers"][0].box
    face = picture.crop((left, top, left + width, top + height)).resize((100, 100))
    face.save(tmp_path / "face.ppm")
    (expected,) = lc2fer.predict(tmp_path / "face.ppm", "out/C8-onnx-int8.onnx", faces="crop")
    assert node(checkout, tmp_path, "out/C8-onnx-int8.onnx") == f"happiness, {round(100 * expected.confidence)}%\n"


def node(checkout: Path, folder: Path, model: str) -> str:
    """What the client in JavaScript prints of face.ppm, with the engine that web-int8 fetches from npm."""
    if shutil.which("node") is None:
        pytest.skip("there is no Node.js here")
    try:
        engine = onnxruntime_web.folder()
    except TargetUnavailable as unavailable:
        pytest.skip(str(unavailable))
    package = folder / "node_modules" / "onnxruntime-web"
    shutil.copytree(engine, package)
    (package / "package.json").write_text(json.dumps({"type": "module", "exports": "./ort.wasm.min.mjs"}))
    client = shutil.copy(checkout / "examples" / "classify.mjs", folder)
    done = subprocess.run(["node", client, model, "face.ppm"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout

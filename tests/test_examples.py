"""The examples run as they are written."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lc2fer import artifact


def test_each_example_is_short(checkout: Path) -> None:
    files = [path for path in (checkout / "examples").iterdir() if path.is_file()]
    assert len(files) >= 4
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

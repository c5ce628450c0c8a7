"""lc2fer-predict, run as its user does, on a picture that is there at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lc2fer import cli


def predict(*arguments: object) -> int:
    return cli.run("predict", [str(argument) for argument in arguments])


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return document


def grey(path: Path, side: int = 48) -> Path:
    Image.new("L", (side, side), 90).save(path)
    return path

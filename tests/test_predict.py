"""lc2fer-predict, as its user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from lc2fer import cli
from lc2fer.inputs import LABELS, InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build
from lc2fer.variants import VARIANTS


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return checkpoint.save(build(VARIANTS["C8"]), folder, "C8", input_spec=InputSpec(), training={}).path


def test_table_and_last_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = [tmp_path / "one.png", tmp_path / "two.jpg"]
    Image.new("L", (48, 48), 90).save(pictures[0])
    Image.new("RGB", (200, 150), (200, 120, 90)).save(pictures[1])
    assert cli.run("predict", ["--model", str(model), *map(str, pictures)]) == 0
    *table, last = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["picture", "expression", *LABELS]
    assert [line.split()[0] for line in table[2:]] == ["one.png", "two.jpg"]
    document = json.loads(last)
    assert document["artifact"] == str(model)
    for found, picture in zip(document["predictions"], pictures):
        assert found["picture"] == str(picture)
        shares = found["probabilities"]
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert found["expression"] == max(shares, key=shares.get)


def test_unreadable_picture(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 not much of a picture")
    assert cli.run("predict", ["--model", str(model), str(broken)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"DataError: {broken} cannot be read as a picture: ")
    assert captured.err.endswith("Expected a whole JPEG or PNG. Copy the file again from its source.\n")


def test_bundled_c6_is_the_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "grey.png"
    Image.new("L", (100, 100), 128).save(picture)
    assert cli.run("predict", [str(picture)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["artifact"].endswith("C6.safetensors")

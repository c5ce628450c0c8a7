"""The ranking of layers: table, JSON and picture of one measurement."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from lc2fer.export.formats import onnx, qdq
from lc2fer.export.int8 import quantize
from lc2fer.export.sensitivity import Damage, plot

from lc2fer import cli


def test_the_layer_whose_range_is_wrong_comes_first(
    faces: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(*arguments: Any) -> dict[str, quantize.QuantizedLayer]:
        layers = right(*arguments)
        wrong = layers["stages.1.0.conv"]
        return layers | {"stages.1.0.conv": replace(wrong, scale=1000 * wrong.scale)}

    right = quantize.quantize
    monkeypatch.setattr(quantize, "quantize", careless)
    monkeypatch.setattr(qdq, "_LAYERS", onnx.Once())  # neither those of other tests nor these for them
    arguments = ["--config", "C8", "--sensitivity", "--weights", str(weights), "--data", str(faces)]
    arguments += ["--calibration-images", "40", "--sensitivity-images", "40", "--out", str(tmp_path)]
    assert cli.run("export", arguments) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    layers = document["layers"]
    assert len(layers) == 12
    assert [layer["sqnr_db"] for layer in layers] == sorted(layer["sqnr_db"] for layer in layers)
    assert layers[0]["layer"] == "stages.1.0.conv"
    assert all(0 <= layer["flips"] <= layer["images"] == 40 for layer in layers)
    lines = err.splitlines()
    assert lines[0].split() == ["layer,", "alone", "in", "INT8", "SQNR", "(dB)", "flips"]
    assert lines[2].split() == [
        "stages.1.0.conv",
        f"{layers[0]['sqnr_db']:.1f}",
        *f"{layers[0]['flips']} of 40".split(),
    ]
    assert json.loads(Path(document["sensitivity"]).read_text()) == {
        key: value for key, value in document.items() if key not in ("sensitivity", "plot")
    }
    texts = [element.text for element in ElementTree.parse(document["plot"]).iter() if element.tag.endswith("text")]
    assert texts[0] == "C8: logit SQNR where one layer alone is INT8"
    assert texts[1] == "stages.1.0.conv"


def test_a_layer_that_loses_nothing() -> None:
    lossless = Damage("stages.0.0.conv", float("inf"), 0, 10)
    assert lossless.to_json() == {"layer": "stages.0.0.conv", "sqnr_db": None, "flips": 0, "images": 10}
    assert "inf dB, 0 of 10 flip" in plot([lossless], "a < b")
    assert "a &lt; b" in plot([lossless], "a < b")

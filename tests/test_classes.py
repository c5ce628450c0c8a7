"""From a data set to a bundle through the commands: seven classes of a table, AffectNet's eight, five of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import layouts
import pytest
from lc2fer.deploy.device import packing

from lc2fer import cli, storage
from lc2fer.inputs import LABELS

OWN = ("bored", "engaged", "happy", "tired", "neutral")


def table(root: Path) -> Path:
    return layouts.fer2013(root, {"Training": 16, "PublicTest": 6, "PrivateTest": 2})


def affectnet(root: Path) -> Path:
    return layouts.affectnet(root, {"train_set": 20, "val_set": 5})


def own(root: Path) -> Path:
    return layouts.folders(root, OWN, {"train": 20, "valid": 8, "test": 2}, suffix=".webp")


@pytest.mark.slow
@pytest.mark.usefixtures("own_wheels")
@pytest.mark.parametrize(
    ("write", "labels"),
    [
        pytest.param(table, LABELS, marks=pytest.mark.every),
        pytest.param(affectnet, (*LABELS, "contempt"), marks=pytest.mark.every),
        (own, ("happiness", "neutral", "bored", "engaged", "tired")),
    ],
    ids=["seven", "eight", "five"],
)
def test_classes_go_from_the_data_to_the_bundle(
    write: Callable[[Path], Path],
    labels: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache, compiled = tmp_path / "cache", storage.cache_folder() / "kernels"
    compiled.mkdir(parents=True, exist_ok=True)
    cache.mkdir()
    (cache / "kernels").symlink_to(compiled)  # they would take half a minute for each
    monkeypatch.setenv("LC2FER_CACHE", str(cache))
    monkeypatch.setattr(packing, "SOURCES", ("onnx-int8",))
    monkeypatch.setattr(packing, "ON_CPU", ("ort-int8-fused", "native-int8", "ort-int8"))
    data, out = str(write(tmp_path / "faces")), str(tmp_path / "out")

    def ran(command: str, *arguments: str) -> dict[str, Any]:
        assert cli.run(command, [*arguments]) == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    given = ("--config", "C8", "--data", data)
    run = ("--epochs", "1", "--size", "32", "--batch", "16", "--lr", "0.004", "--out", str(tmp_path / "run"))
    weights = ran("train", *given, *run)["artifact"]
    made = (*given, "--weights", weights, "--calibration-images", "32", "--out", out)
    model = ran("export", *made, "--target", "ort-int8")["artifact"]
    picture = str(next(path for path in sorted(Path(data).rglob("*")) if path.suffix in (".png", ".webp", ".csv")))
    if picture.endswith(".csv"):
        picture = str(next((tmp_path / "cache").rglob("*.pgm")))
    assert tuple(ran("predict", "--model", model, picture)["predictions"][0]["probabilities"]) == labels
    bundle = ran("deploy", "bundle", *made)["bundle"]
    models = ran("deploy", "verify", bundle)["models"]
    assert len(models) == len((*packing.SOURCES, *packing._on_cpu(str)))
    assert all(one["passed"] for one in models)
    folder = ran("deploy", "unpack", bundle)["folder"]
    assert tuple(json.loads((Path(folder) / "bundle.json").read_text())["input_spec"]["labels"]) == labels

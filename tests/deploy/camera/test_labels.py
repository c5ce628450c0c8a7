"""Models of eight and of five classes before the camera: the lines, the page's interface and the page itself."""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import layouts
import pytest
import torch
import video
from browser import CHROMIUM, Browser
from lc2fer.export.pipeline import Pipeline
from PIL import Image

from lc2fer import cli
from lc2fer.inputs import LABELS, InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build
from lc2fer.session import open_session
from lc2fer.variants import variant

web = pytest.importorskip("lc2fer.deploy.camera.web")
pytest.importorskip("cv2")

SETS = {8: (*LABELS, "contempt"), 5: ("happiness", "neutral", "bored & <b>", "engaged", "überrascht")}


@pytest.fixture(scope="module", params=SETS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small C8 of that many classes for ONNX Runtime, proven on faces of these."""
    torch.manual_seed(4)
    labels, folder = SETS[request.param], tmp_path_factory.mktemp("labels")
    faces = layouts.folders(folder / "faces", labels, {"train": 15, "test": 1})
    network = build(variant("C8"), len(labels))
    with torch.no_grad():
        network.head.linear.weight.mul_(30)
    spec = InputSpec(size=32, labels=labels)
    weights = checkpoint.save(network, folder, "mine", input_spec=spec, training={}).path
    return Pipeline("C8", folder / "out", weights=weights, data=faces).export("onnx-fp32").path


@pytest.fixture
def labels(model: Path) -> tuple[str, ...]:
    return tuple(json.loads(model.with_suffix(".json").read_text())["input_spec"]["labels"])


@pytest.fixture
def served(model: Path) -> Iterator[Any]:
    from lc2fer.deploy.camera.faces import open_detector
    from lc2fer.deploy.camera.live import Live, Manner

    with open_session(model) as session:
        live = Live(session, lambda: open_detector(None), [], Manner(0.0), {"model": "mine"})
        with web.serve(live, ("127.0.0.1", 0), None) as server:
            yield server


def answer(server: Any, path: str, body: bytes | None = None) -> Any:
    request = urllib.request.Request(server.url + path, body, {"Content-Type": "image/png"} if body else {})
    with urllib.request.urlopen(request, timeout=20) as found:
        return json.loads(found.read())


def test_the_pages_interface_has_the_models_labels(served: Any, labels: tuple[str, ...]) -> None:
    assert answer(served, "api/status")["labels"] == list(labels)
    file = io.BytesIO()
    Image.fromarray(video.face(3)[:, :, ::-1]).save(file, "PNG")
    faces = answer(served, "api/judge", file.getvalue())["faces"]
    assert faces[0]["expression"] in labels
    assert len(faces[0]["probabilities"]) == len(labels)


def test_a_folder_is_judged_in_the_models_words(
    model: Path, labels: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    (tmp_path / "pics").mkdir()
    cv2.imwrite(str(tmp_path / "pics" / "a.png"), video.placed(video.face(3), 220, 140))
    given = ["run", str(model), "--source", str(tmp_path / "pics"), "--json", "--min-confidence", "0"]
    assert cli.run("deploy", given) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    (face,) = next(line for line in lines if line.get("event") == "scene")["faces"]
    assert face["expression"] == labels[face["probabilities"].index(max(face["probabilities"]))]
    assert sum(face["probabilities"]) == pytest.approx(1, abs=1e-3)


def test_the_page_names_the_models_labels(served: Any, labels: tuple[str, ...], tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here to open the page in")
    browser = Browser(tmp_path / "user", 1280, 900)
    try:
        browser.send("Page.navigate", url=served.url)
        browser.until("document.querySelectorAll('#own .label').length > 0")
        names = "[...document.querySelectorAll('#own .label')].map((one) => one.textContent)"
        assert browser.value(names) == list(labels)
        assert browser.value("document.querySelectorAll('#own .label b').length") == 0
    finally:
        browser.close()

"""The report on a trained network: its numbers hold, and its page shows them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("captum")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from lc2fer import artifact as artifacts
from lc2fer import metrics
from lc2fer.data import labels_of, open_dataset, read_pixels, synthetic
from lc2fer.data.face import regions
from lc2fer.explain import command as explain
from lc2fer.explain import heat as explain_heat
from lc2fer.explain import maps as explain_maps
from lc2fer.explain import model as explain_model
from lc2fer.explain import space as explain_space
from lc2fer.explain.data import spread
from lc2fer.inputs import LABELS, InputSpec, read_image
from lc2fer.network import checkpoint
from lc2fer.session import open_session

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


@pytest.fixture(scope="module")
def few_maps() -> Iterator[None]:
    """One occlusion map a class and few beside another model: each costs some hundred answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explain_heat, "OCCLUDED", 1)
        patch.setattr("lc2fer.explain.beside.CHANGED_MAPS", 1)
        patch.setattr("lc2fer.explain.beside.SAME_MAPS", 1)
        yield


@pytest.fixture(scope="module")
def small(
    tmp_path_factory: pytest.TempPathFactory, small_weights: Path, small_faces: Path, few_maps: None
) -> Callable[..., tuple[dict[str, Any], str]]:
    """Reports on the small network and faces; gives the document and the page."""

    def run(*more: str) -> tuple[dict[str, Any], str]:
        out = tmp_path_factory.mktemp("report")
        arguments = ["--config", "C8", "--weights", str(small_weights), "--data", str(small_faces), "--out", str(out)]
        summary = explain.main([*arguments, *more])
        assert sorted(path.name for path in out.iterdir()) == ["C8-explain.html", "C8-explain.json"]
        return json.loads(Path(summary["json"]).read_text()), Path(summary["report"]).read_text()

    return run


@pytest.fixture(scope="module")
def plain(small: Any) -> Any:
    """The report without flags."""
    return small()


@pytest.fixture(scope="module")
def beside(
    small: Any, small_weights: Path, other_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """The small network beside one whose answers differ, with that model's path."""
    model = other_model(small_weights, tmp_path_factory.mktemp("model"), 0.7)
    return (*small("--beside", str(model), "--thumbnails"), model)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, few_maps: None) -> tuple[dict[str, Any], str, Path]:
    """The report on the bundled C8 and few procedural faces; the document, the page and the faces' folder."""
    folder = tmp_path_factory.mktemp("drawn")
    root = synthetic.write(folder / "faces", train=119, test=35)
    summary = explain.main(["--config", "c8", "--data", str(root), "--out", str(folder / "out")])
    return json.loads(Path(summary["json"]).read_text()), Path(summary["report"]).read_text(), root


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_the_confusions_are_those_of_the_session(drawn: Any) -> None:
    document, _, root = drawn
    samples = open_dataset(root).test
    weights = artifacts.bundled("C8")
    assert weights is not None
    pixels = read_pixels(samples, InputSpec())
    with open_session(weights) as session:
        logits = session.run(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32))
    labels, predicted = labels_of(samples), metrics.predictions(logits)
    found = document["confusion"]
    assert found["counts"] == metrics.confusion(labels, predicted).tolist()
    assert found["accuracy"] == round(metrics.accuracy(labels, predicted), 6)
    assert found["wrong"] == int((labels != predicted).sum())
    assert found["recalls"] == pytest.approx(metrics.recalls(labels, predicted), abs=1e-6)
    assert (found["images"], found["available"]) == (35, 35)
    assert document["weights"]["sha256"] == artifacts.hash_file(weights)
    assert document["space"]["splits"]["D^e"]["accuracy"] == found["accuracy"]
    sure = metrics.softmax(logits).max(axis=1)
    assert [one["probability"] for one in document["confused"]] == pytest.approx(
        sorted(sure[labels != predicted].tolist(), reverse=True), abs=1e-5
    )


def test_the_surest_errors_come_first_and_at_most_three_of_a_pair(plain: Any) -> None:
    document, page = plain
    found = document["confused"]
    pairs = [(one["target"], one["predicted"]) for one in found]
    assert len(found) > 7
    assert all(target != answer for target, answer in pairs)
    assert max(map(pairs.count, pairs)) <= 3
    assert [one["probability"] for one in found] == sorted((one["probability"] for one in found), reverse=True)
    first = found[0]
    assert f"{LABELS[first['target']]} &gt; <b class=worse>{LABELS[first['predicted']]}</b>" in page


def test_purity_is_what_scikit_learn_finds(drawn: Any) -> None:
    from sklearn.neighbors import NearestNeighbors

    document, _, root = drawn
    weights = artifacts.bundled("C8")
    assert weights is not None
    samples = open_dataset(root).test
    logits, features = explain_model.outputs(checkpoint.load(weights), read_pixels(samples, InputSpec()))
    places = NearestNeighbors(n_neighbors=10).fit(features.astype(np.float64)).kneighbors(return_distance=False)
    labels = labels_of(samples)
    split = document["space"]["splits"]["D^e"]
    assert split["purity"] == pytest.approx((labels[places] == labels[:, None]).mean(), abs=1e-6)
    assert split["purity_by_chance"] == pytest.approx(4 / 34, abs=1e-6)  # 5 images a class
    assert [point[2:] for point in split["points"]] == [
        [label, answer] for label, answer in zip(labels.tolist(), metrics.predictions(logits).tolist())
    ]
    assert features.shape == (35, 160)


def test_purity_of_points_apart_and_of_points_mixed() -> None:
    labels = np.repeat([0, 1], 30)
    apart = np.random.default_rng(0).normal(0, 1, (60, 2)) + 100 * labels[:, None]
    assert explain_space.purity(apart, labels) == 1
    mixed = explain_space.purity(apart - 100 * labels[:, None], labels)
    assert mixed == pytest.approx(explain_space.chance(labels), abs=0.1)


def test_equal_runs_write_equal_bytes(plain: Any, small: Any) -> None:
    first, second = plain, small()
    assert hashlib.sha256(first[1].encode()).digest() == hashlib.sha256(second[1].encode()).digest()
    assert first[0] == second[0]


def test_the_limit_holds_for_each_split(small: Any) -> None:
    document, page = small("--limit", "20")
    assert [split["answered"] for split in document["space"]["splits"].values()] == [20, 20, 20]
    assert [split["available"] for split in document["space"]["splits"].values()] == [336, 84, 21]
    assert sum(map(sum, document["confusion"]["counts"])) == 20
    assert "20 of the 21 images of D<sup>e</sup>" in page


def test_a_choice_of_images_is_even_and_the_same() -> None:
    assert spread(5, 9) == [0, 1, 2, 3, 4]
    assert spread(1400, 200) == spread(1400, 200)
    assert np.bincount(np.array(spread(1400, 200)) % 7).min() > 15  # a step through the classes would miss some


def test_procedural_faces_have_boxes_and_shares(drawn: Any) -> None:
    document, page, root = drawn
    heat = document["heat"]
    assert document["data"]["procedural"] is True
    assert heat["maps"] + heat["without_heat"] == len(heat["images"]) == 35
    one = next(each for each in heat["images"] if each["parts"] is not None)
    face = synthetic.face_of(root / one["image"])
    assert face.expression == one["target"]
    cells = np.array(heat["centres"])
    wanted = explain_maps.shares(explain_maps.enlarge(np.array(one["grid"]), cells, 100), regions(face))
    assert one["parts"]["mouth"] == pytest.approx(wanted["mouth"], abs=1e-4)
    mean = np.mean([each["parts"]["together"][0] for each in heat["images"] if each["parts"] is not None])
    assert heat["parts"]["together"]["heat"] == pytest.approx(mean, abs=1e-5)
    shown = sum(each["shown"] for each in heat["images"])
    assert shown == 35
    assert page.count("<svg class=boxes") == shown + 7  # and on the seven that were covered
    assert "Grad-CAM: " in page
    assert "nothing here says how the network does on photographs" in page


# -- beside another model ---------------------------------------------------------------------------------------------


def test_the_other_model_is_compared(beside: Any, small_weights: Path, small_faces: Path) -> None:
    document, page, model = beside
    found = document["beside"]
    samples = open_dataset(small_faces).test
    batch = np.ascontiguousarray(read_pixels(samples, InputSpec(size=32)).transpose(0, 3, 1, 2), dtype=np.float32)
    logits = []
    for path in (small_weights, model):
        with open_session(path) as session:
            logits.append(session.run(batch))
    first, second = map(metrics.predictions, logits)
    changed = np.flatnonzero(first != second)
    assert 0 < len(changed) == found["changed"] == len(found["images"])
    assert {one["image"] for one in found["images"]} == {
        str(samples[place].path.relative_to(small_faces)) for place in changed
    }
    assert found["agreement"] == round(metrics.agreement(first, second), 6)
    assert found["sqnr_db"] == pytest.approx(metrics.sqnr_db(*logits), abs=1e-3)
    assert found["max_abs"] == pytest.approx(metrics.max_abs(*logits), abs=1e-4)
    assert found["confusion"]["counts"] == metrics.confusion(labels_of(samples), second).tolist()
    assert found["mean_by_class"] == pytest.approx((logits[1] - logits[0]).mean(axis=0), abs=1e-4)
    assert [one["lead"] for one in found["images"]] == sorted((one["lead"] for one in found["images"]), reverse=True)
    assert sum(lead[1] < 0 for lead in found["leads"]) == len(changed)
    assert "<h2>Beside noisy.safetensors</h2>" in page
    assert "Grad-CAM needs gradients, and an exported model has none." in page
    assert page.count("<figure class=two") == len(found["occlusion"]["images"]) == 1


def test_an_occlusion_map_is_of_the_networks_answer(beside: Any, small_weights: Path, small_faces: Path) -> None:
    document, _, model = beside
    one = document["beside"]["occlusion"]["images"][0]
    spec = InputSpec(size=32)
    image = spec.apply(read_image(small_faces / one["image"]))
    assert one["answer"] != one["other_answer"]
    for path, side in ((small_weights, "network"), (model, "other")):
        with open_session(path) as session:
            drops = explain_maps.occlusion(session.run, image, one["answer"])
        np.testing.assert_allclose(one[side], drops, atol=1e-4)


def test_an_equal_model_has_no_noise(small: Any, small_weights: Path, tmp_path: Path) -> None:
    document, page = small("--beside", str(small_weights))
    assert (document["beside"]["changed"], document["beside"]["agreement"]) == (0, 1.0)
    assert document["beside"]["max_abs"] < 1e-4
    assert "Every answer is the network's." in page


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_holds_the_four_pictures_and_loads_nothing(beside: Any) -> None:
    document, page, _ = beside
    for title in ("What is taken for what", "The surest errors", "Where the features lie", "Where it looks"):
        assert f"<h2>{title}</h2>" in page
    assert "://" not in page
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert page.count("<svg role=") == 2  # t-SNE and the leads: photographs have no boxes
    assert "is measured on procedural faces only" in page
    for count in document["confusion"]["counts"][0]:
        assert f"<b>{count}</b>" in page


def test_pictures_are_left_out_unless_asked_for(plain: Any, beside: Any) -> None:
    _, page = plain
    assert "The pictures are left out: RAF-DB's terms do not let them be passed on." in page
    assert "data:image/jpeg" not in page
    assert 'class="stack bare"' in page
    assert "data:image/jpeg" in beside[1]
    assert "left out" not in beside[1]


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here to open the page in")
def test_a_browser_shows_it(beside: Any, tmp_path: Path) -> None:
    file, picture = tmp_path / "page.html", tmp_path / "page.png"
    widest = "<script>document.title = document.documentElement.scrollWidth;</script>"
    file.write_text(beside[1].replace("</body>", f"{widest}</body>"))
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path / 'user'}",
        "--enable-logging=stderr",
        "--window-size=500,900",
    ]
    assert CHROMIUM is not None
    done = subprocess.run([CHROMIUM, *options, "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=90)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    title = re.search(r"<title>(\d+)</title>", done.stdout)
    assert title is not None
    assert int(title[1]) <= 500  # wide parts scroll by themselves
    subprocess.run(
        [CHROMIUM, *options, f"--screenshot={picture}", file.as_uri()], capture_output=True, timeout=90, check=True
    )
    assert picture.stat().st_size > 20_000

"""The static folder: what is in it, and that a browser answers as Python does, with and without a network."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from film import TOKEN, Film
from lc2fer.export.formats import onnxruntime_web, web
from lc2fer.export.pipeline import Pipeline
from PIL import Image

from lc2fer import open_session, self_test
from lc2fer.artifact import Artifact
from lc2fer.errors import TargetUnavailable
from lc2fer.kernels import build, webassembly


@pytest.fixture(scope="module")
def made(exported: Callable[[str], Artifact]) -> Artifact:
    try:
        return exported("web-int8")
    except TargetUnavailable as unavailable:
        pytest.skip(str(unavailable))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def film() -> Film:
    """What the page of a program shows beside the viewer's own pictures."""
    return Film()


@pytest.fixture
def served(made: Artifact) -> Iterator[Any]:
    """Any file server: Python's own."""
    handler = functools.partial(Quiet, directory=str(made.path.with_suffix("")))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def has_kernels(made: Artifact) -> bool:
    return bool(json.loads((made.path.with_suffix("") / "parts.json").read_text())["kernels"])


def test_the_folder_has_all_that_it_needs(made: Artifact, exported: Callable[[str], Artifact]) -> None:
    folder = made.path.with_suffix("")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    listed = (folder / "files.js").read_text()
    files = json.loads(listed.partition("self.FILES = ")[2].rstrip(";\n"))
    assert set(files) == {"./", *names} - {"files.js", "worker.js"}
    assert {"ort/LICENSE", "ort/ThirdPartyNotices.txt", "face_finder.md", "index.html", "view.js"} <= names
    assert (folder / "model.onnx").read_bytes() == made.path.read_bytes()
    assert ({"kernels.wasm", "model.lc2", "model.lc2.json"} <= names) == has_kernels(made)
    assert web.deliver(made, exported("native-int8") if has_kernels(made) else None) == folder
    assert (folder / "files.js").read_text() == listed
    page = (folder / "index.html").read_text()
    assert "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self';" in page
    sources = [path.read_text() for path in folder.glob("*.js")]
    assert not [text for text in sources if "http://" in text or "https://" in text.replace("https, and", "")]


ANSWERS = """(async () => {
  const { Engine } = await import("./engine.js");
  const { Kernels } = await import("./kernels.js");
  const bytes = Uint8Array.from(atob("PICTURES"), (one) => one.charCodeAt(0));
  const answers = {};
  const judge = async (name, its, each) => {
    answers[name] = [];
    for (let at = 0; at < bytes.length; at += each)
      answers[name].push(Array.from(await its.logits(bytes.subarray(at, at + each))));
  };
  for (const kernels of [true, false]) {
    const engine = await Engine.open({ kernels });
    await judge(engine.name, engine, engine.spec.size ** 2 * 3);
    for (const instructions of engine.network.able ?? []) {
      const [code, file] = await Promise.all(
        ["kernels.wasm", "model.lc2"].map(async (name) => (await fetch(name)).arrayBuffer()),
      );
      await judge(instructions, await Kernels.open(code, file, instructions), engine.spec.size ** 2 * 3);
    }
  }
  return answers;
})()"""


def test_a_browser_answers_as_python_does(
    made: Artifact, exported: Callable[[str], Artifact], served: Any, tmp_path: Path
) -> None:
    """By the kernels bit for bit, with all instructions that they have there; by ONNX Runtime the same classes.

    Offline the page opens again.
    """
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here to open the page in")
    pictures = self_test.images(made.input_spec.size)
    batch = np.concatenate([np.clip(pictures + shift, 0, 255) for shift in range(0, 48, 4)]).astype(np.float32)
    with open_session(made, threads=1) as session:
        expected = session.run(batch)
    packed = base64.b64encode(batch.transpose(0, 2, 3, 1).astype(np.uint8).tobytes()).decode()
    page = Browser(tmp_path / "user", 360, 800, "dark")
    try:
        page.send("Page.navigate", url=f"http://127.0.0.1:{served.server_address[1]}/")
        page.until("document.getElementById('chip-text')?.textContent === 'ready'", 60)
        answers = page.value(ANSWERS.replace("PICTURES", packed))
        found = answers.pop("ONNX Runtime")
        assert np.array_equal(np.argmax(found, 1), expected.argmax(1))
        # Floats round otherwise there, and now and then an int8 with them.
        assert np.abs(np.array(found) - expected).max() < 1e-2 * np.abs(expected).max()
        by = "ONNX Runtime"
        if has_kernels(made):
            with open_session(exported("native-int8"), threads=1) as session:
                exact = session.run(batch)
            assert {"wasm"} < set(answers)
            by = next(name for name in answers if name.startswith("LC2FER (wasm"))
            for name, logits in answers.items():
                assert np.array_equal(np.array(logits, np.float32), exact), name
        assert page.value("document.getElementById('judge').textContent") == f"Judged by {by}."
        assert page.value("document.documentElement.scrollWidth") == 360
        Image.fromarray(np.full((90, 120, 3), 128, np.uint8)).save(tmp_path / "grey.png")
        page.give("#file", tmp_path / "grey.png")
        page.until("document.getElementById('own-text').textContent.startsWith('No face in view. Judged in ')", 30)
        page.until("!document.getElementById('offline').hidden", 60)
        served.shutdown()
        served.server_close()
        page.send("Page.reload")
        page.until("document.getElementById('chip-text')?.textContent === 'ready'", 60)
        assert page.complaints == []
    finally:
        page.close()


def test_a_viewers_browser_judges_for_the_program(
    made: Artifact, film: Film, photograph: Callable[[str], Path], tmp_path: Path
) -> None:
    """The page of lc2fer-deploy run sends nothing where it was given the folder, until the viewer wants it to."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here to open the page in")
    pages = pytest.importorskip("lc2fer.deploy.camera.web")
    text = "document.getElementById('own-text').textContent"
    with pages.serve(film, ("127.0.0.1", 0), TOKEN, made.path.with_suffix("")) as server:
        page = Browser(tmp_path / "user", 1280, 900)
        try:
            page.send("Page.navigate", url=server.link)
            page.until("document.getElementById('here')?.checked", 30)
            page.value("document.getElementById('tab-own').click()")
            page.give("#file", photograph("astronaut"))
            page.until(f"/^One face: [a-z]+. Judged in /.test({text})", 60)
            assert film.judged == []
            stays = page.value("document.getElementById('own-goes').textContent")
            by = "LC2FER (wasm" if has_kernels(made) else "ONNX Runtime."
            assert stays.startswith(f"It stays in this browser, which judges it by {by}")
            page.value("document.getElementById('own-text').textContent = ''")
            page.value("document.getElementById('here').click()")
            page.give("#file", photograph("astronaut"))
            page.until(f"{text}.startsWith('One face: happiness. Judged in ')", 30)
            assert film.judged == [(512, 512)]
            assert page.complaints == []
        finally:
            page.close()


def test_without_a_compiler_the_page_has_no_kernels(made: Artifact, pipeline: Pipeline, monkeypatch: Any) -> None:
    def lacking() -> None:
        raise build.Lacking("there is no ziglang. One was expected. Install it")

    monkeypatch.setattr(webassembly, "module", lacking)
    said: list[str] = []
    monkeypatch.setattr(pipeline, "say", said.append)
    assert pipeline._beside(web) is None
    assert said == [
        "The page will run by ONNX Runtime alone. The kernels cannot be had for browsers here: there is no ziglang. "
        "One was expected. Install it, and export again, or use the folder without them."
    ]


def test_without_npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetUnavailable) as refused:
        onnxruntime_web.folder()
    assert str(refused.value) == (
        "The browser's engine cannot be had here: there is no npm. npm was expected. Try: apt-get install npm; or "
        "export ort-int8."
    )


def test_another_file_than_the_pinned_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\necho x > onnxruntime-web-{onnxruntime_web.VERSION}.tgz\n")
    npm.chmod(0o755)
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(TargetUnavailable, match=r"what npm fetched is another file than onnxruntime-web 1"):
        onnxruntime_web.folder()
    assert [path.name for path in (tmp_path / "cache" / "web").iterdir()] == []

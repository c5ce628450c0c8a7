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
from lc2fer.export.formats import onnxruntime_web, web
from PIL import Image

from lc2fer import open_session, self_test
from lc2fer.artifact import Artifact
from lc2fer.errors import TargetUnavailable


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
def served(made: Artifact) -> Iterator[Any]:
    """Any file server: Python's own."""
    handler = functools.partial(Quiet, directory=str(made.path.with_suffix("")))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_the_folder_has_all_that_it_needs(made: Artifact) -> None:
    folder = made.path.with_suffix("")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    listed = (folder / "files.js").read_text()
    files = json.loads(listed.partition("self.FILES = ")[2].rstrip(";\n"))
    assert set(files) == {"./", *names} - {"files.js", "worker.js"}
    assert {"ort/LICENSE", "ort/ThirdPartyNotices.txt", "face_finder.md", "index.html", "view.js"} <= names
    assert (folder / "model.onnx").read_bytes() == made.path.read_bytes()
    assert web.deliver(made) == folder
    assert (folder / "files.js").read_text() == listed
    page = (folder / "index.html").read_text()
    assert "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self';" in page
    sources = [path.read_text() for path in folder.glob("*.js")]
    assert not [text for text in sources if "http://" in text or "https://" in text.replace("https, and", "")]


def test_a_browser_answers_as_python_does(made: Artifact, served: Any, tmp_path: Path) -> None:
    """The same class on all, and offline the page opens again."""
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
        found = page.value(
            f"""(async () => {{
  const {{ Engine }} = await import("./engine.js");
  const engine = await Engine.open();
  const bytes = Uint8Array.from(atob("{packed}"), (one) => one.charCodeAt(0));
  const each = engine.spec.size ** 2 * 3;
  const answers = [];
  for (let at = 0; at < bytes.length; at += each)
    answers.push(Array.from(await engine.logits(bytes.subarray(at, at + each))));
  return answers;
}})()"""
        )
        assert np.array_equal(np.argmax(found, 1), expected.argmax(1))
        # Floats round otherwise there, and now and then an int8 with them.
        assert np.abs(np.array(found) - expected).max() < 1e-2 * np.abs(expected).max()
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

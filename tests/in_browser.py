"""How the page of web-int8 does in a headless Chromium: python tests/in_browser.py out/C6-web-int8 FACES

FACES is a data set of faces. 200 of its test images are judged in the page by ONNX Runtime and by each variant of the
kernels that runs there, and in Python by web-int8 and native-int8, whose artifacts lie beside the folder; then all are
timed in turns. With --photograph, that moves as the webcam's film in front of the page, for pictures a second. Ends
with 1 where the kernels' logits have other bits than native-int8's.
"""

from __future__ import annotations

import argparse
import base64
import functools
import http.server
import io
import json
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).with_name("fakes")))
from browser import Browser

from lc2fer import artifact, open_session
from lc2fer.data import open_dataset, read_pixels

COUNT, ROUNDS, EACH = 200, 10, 20
JUDGE = """(async () => {
  const [{ Engine }, { Kernels }] = [await import("./engine.js"), await import("./kernels.js")];
  const bytes = Uint8Array.from(atob("PICTURES"), (one) => one.charCodeAt(0));
  const [engines, answers, times] = [{}, {}, {}];
  for (const kernels of [true, false]) {
    const engine = await Engine.open({ kernels });
    engines[engine.name] = engine;
  }
  const got = async (name) => (await fetch(name)).arrayBuffer();
  for (const lesser of Object.values(engines)[0].network.able?.slice(1) ?? []) {
    const its = await Kernels.open(await got("kernels.wasm"), await got("model.lc2"), lesser);
    engines[its.name] = its;
  }
  const each = Object.values(engines)[0].spec.size ** 2 * 3;
  const face = (at) => bytes.subarray((at % COUNT) * each, ((at % COUNT) + 1) * each);
  for (const name in engines) {
    [answers[name], times[name]] = [[], []];
    for (let at = 0; at < COUNT; at++) answers[name].push(Array.from(await engines[name].logits(face(at))));
  }
  for (let round = 0; round < ROUNDS; round++)
    for (const name in engines)
      for (let at = 0; at < EACH; at++) {
        const begun = performance.now();
        await engines[name].logits(face(round * EACH + at));
        times[name].push(performance.now() - begun);
      }
  return { answers, times };
})()"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Any file server: Python's own."""

    def log_message(self, *_: object) -> None:
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("faces", metavar="FACES")
    parser.add_argument("--photograph", type=Path, metavar="FILE", help="that moves as the webcam's film")
    parser.add_argument("--screenshots", type=Path, metavar="DIR", help="of the page with the film, both themes")
    given = parser.parse_args()
    handler = functools.partial(Quiet, directory=str(given.folder))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        tempfile.TemporaryDirectory(
            ignore_cleanup_errors=True  # a browser that was ended may still write
        ) as work,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        same = judged(given, address, Path(work))
        if given.photograph is not None:
            print(json.dumps({"webcam": filmed(given, address, Path(work))}))
        server.shutdown()
    return 0 if same else 1


def judged(given: argparse.Namespace, address: str, work: Path) -> bool:
    """Prints what both engines answer and take; whether the kernels' answers are native-int8's."""
    variant = given.folder.name.partition("-")[0]
    made = {
        "native-int8": artifact.load(given.folder.with_name(f"{variant}-native-int8.lc2")),
        "web-int8": artifact.load(given.folder.with_suffix(".onnx")),
    }
    samples = open_dataset(given.faces).test
    pixels = read_pixels(samples[:: len(samples) // COUNT][:COUNT], made["web-int8"].input_spec)
    batch = pixels.transpose(0, 3, 1, 2).astype(np.float32)
    python: dict[str, Any] = {}
    for name, its in made.items():
        with open_session(its, threads=1) as session:
            python[name] = np.concatenate([session.run(batch[at : at + 1]) for at in range(COUNT)])
    packed = base64.b64encode(pixels.tobytes()).decode()
    page = Browser(work / "judging", 1280, 900)
    try:
        page.send("Page.navigate", url=address)
        page.until("document.getElementById('chip-text')?.textContent === 'ready'", 60)
        program = JUDGE.replace("PICTURES", packed).replace("COUNT", str(COUNT))
        found = page.value(program.replace("ROUNDS", str(ROUNDS)).replace("EACH", str(EACH)))
    finally:
        page.close()
    same = []
    for name, rows in found["answers"].items():
        parent = "web-int8" if name == "ONNX Runtime" else "native-int8"
        logits = np.array(rows, np.float32)
        if parent == "native-int8":
            same.append(np.array_equal(logits, python[parent]))
        least, median, most = np.percentile(found["times"][name], [0, 50, 90])
        told = {
            "engine": name,
            "python": parent,
            "same bits": int((logits == python[parent]).all(1).sum()),
            "same class": int((logits.argmax(1) == python[parent].argmax(1)).sum()),
            "of": COUNT,
            "farthest": float(np.abs(logits - python[parent]).max()),
            "largest": float(np.abs(python[parent]).max()),
            "ms least, p50, p90": [round(value, 2) for value in (least, median, most)],
        }
        print(json.dumps(told), flush=True)
    return bool(same) and all(same)


def filmed(given: argparse.Namespace, address: str, work: Path) -> dict[str, str]:
    """What the page says of the webcam after some seconds, on a desktop and a phone."""
    photograph = Image.open(given.photograph).convert("RGB")
    photograph = photograph.resize((800, round(800 * photograph.height / photograph.width)))
    film = work / "film.mjpeg"
    with film.open("wb") as file:
        for at in range(60):
            left = 80 + 60 * np.sin(at / 60 * 2 * np.pi)
            frame = io.BytesIO()
            photograph.crop((int(left), 0, int(left) + 640, 480)).save(frame, "JPEG", quality=90)
            file.write(frame.getvalue())
    said = {}
    for name, width, height, scheme in (
        ("desktop", 1280, 900, "light"),
        ("desktop-dark", 1280, 900, "dark"),
        ("phone", 360, 800, "light"),
        ("phone-dark", 360, 800, "dark"),
    ):
        page = Browser(work / name, width, height, scheme, film)
        try:
            page.send("Page.navigate", url=address)
            page.until("document.getElementById('chip-text')?.textContent === 'ready'", 60)
            page.value("document.getElementById('camera').click()")
            page.until("document.getElementById('own-text').textContent.includes('pictures a second')", 30)
            page.value("new Promise((resolve) => setTimeout(resolve, 6000))")
            said[name] = page.value("document.getElementById('own-text').textContent")
            if given.screenshots is not None:
                page.screenshot(given.screenshots / f"{name}.png")
            assert page.complaints == [], page.complaints
        finally:
            page.close()
    return said


if __name__ == "__main__":
    sys.exit(main())

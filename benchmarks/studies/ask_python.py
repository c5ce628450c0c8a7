"""Asks one package for the expression of each face, in that package's own environment: `python ask_python.py JOB`.

JOB is JSON: `package`, a name of ADAPTERS; `model`, a file, where it is ours; `pixels`, a file of uint8
[count,size,size,3] in RGB; `count`, `size`; `timed`, how many of them are asked for their time alone (0: all are, for
their answers). The last line of standard output is JSON: `answers`, a name or null each, `errors`, reasons with their
counts, and `ms`, each call's time from decoded pixels to the name. Nothing of this project is imported but for our own.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ask = Callable[[NDArray[np.uint8]], "str | None"]  # a face, RGB [H,W,3], which is the whole picture
WARM_UP = 20  # calls whose time is not kept


def _best(scores: Mapping[str, Any]) -> str:
    return max(scores, key=lambda name: float(scores[name]))


def _grey(face: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey: NDArray[np.uint8] = importlib.import_module("cv2").cvtColor(face, 7)  # COLOR_RGB2GRAY
    return grey


def fer(job: Mapping[str, Any]) -> Ask:
    """`FER().detect_emotions(picture, face_rectangles)`, the rectangle being the picture, with no margin around it."""
    detector = importlib.import_module("fer.fer").FER(offsets=(0, 0))

    def ask(face: NDArray[np.uint8]) -> str | None:
        height, width = face.shape[:2]
        found = detector.detect_emotions(np.ascontiguousarray(face[:, :, ::-1]), [(0, 0, width, height)])
        return _best(found[0]["emotions"]) if found else None

    return ask


def facex(job: Mapping[str, Any]) -> Ask:
    """`EmotionClassifier.detect_emotion(grey face)`, as its own `predict` calls it."""
    classifier = importlib.import_module("facex").PoolManager(1).get_classifier()
    return lambda face: _best(classifier.detect_emotion(_grey(face)))


def pyemotion(job: Mapping[str, Any]) -> Ask:
    """`DetectFace._predict(grey face)`: what `predict_emotion` does with each face that it found."""
    detector = importlib.import_module("PyEmotion").DetectFace(device="cpu")
    return lambda face: str(detector._predict(_grey(face)))


def lc2fer(job: Mapping[str, Any]) -> Ask:
    """A model of ours: `session.run(spec.apply(picture))`."""
    session = importlib.import_module("lc2fer").open_session(Path(job["model"]))
    spec = session.artifact.input_spec
    return lambda face: str(spec.labels[int(session.run(spec.apply(face)[None]).argmax())])


ADAPTERS: Mapping[str, Callable[[Mapping[str, Any]], Ask]] = {
    "fer": fer,
    "facex": facex,
    "PyEmotion": pyemotion,
    "lc2fer": lc2fer,
}


def asked(ask: Ask, faces: NDArray[np.uint8]) -> dict[str, Any]:
    """What it answers to each face, and how long each took."""
    for face in faces[:WARM_UP]:
        with suppress(Exception):  # told below
            ask(face)
    answers: list[str | None] = []
    errors: Counter[str] = Counter()
    ms = []
    for face in faces:
        start = time.perf_counter()
        try:
            answer = ask(face)
        except Exception as error:  # of any class: a face that a package cannot judge is one it got wrong
            answer = None
            errors[f"{type(error).__name__}: {error}"[:200]] += 1
        ms.append(round(1000 * (time.perf_counter() - start), 4))
        answers.append(answer)
    return {"answers": answers, "errors": dict(errors), "ms": ms}


def main(path: Path) -> None:
    job = json.loads(path.read_text(encoding="utf-8"))
    count, size = job["count"], job["size"]
    faces = np.fromfile(job["pixels"], np.uint8).reshape(count, size, size, 3)
    if job["timed"]:
        faces = faces[:: max(1, count // job["timed"])][: job["timed"]]
    found = asked(ADAPTERS[job["package"]](job), faces)
    print("\n" + json.dumps(found), flush=True)


if __name__ == "__main__":
    del sys.path[0]  # this folder, whose modules are not the packages'
    main(Path(sys.argv[1]))

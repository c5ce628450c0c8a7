"""What lc2fer-predict says: a table or lines of JSON, a CSV file, copies of pictures with boxes, and the last line."""

from __future__ import annotations

import csv
import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tabulate import tabulate  # type: ignore[import-untyped]

from lc2fer import artifact as artifacts
from lc2fer import pictures
from lc2fer.predicting import boxes
from lc2fer.predicting.judging import Answer
from lc2fer.predicting.sources import Item
from lc2fer.storage import fitting
from lc2fer.text import print_json, printable

MOST_PREDICTIONS = 1000  # of the last line, and of one table: memory stays flat however many pictures there are
_QUALITY = 90
_JPEG = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Line:
    """One picture and its answers."""

    item: Item
    time_s: float | None  # of a film's picture
    width: int  # pixels
    height: int
    answers: tuple[Answer, ...]


class Output:
    """Where answers go, as they come; a context manager, which ends the table and closes the files.

    The CSV file is there at the end, whole; where something goes wrong, what was there before stays.
    """

    def __init__(
        self, labels: tuple[str, ...], min_confidence: float, lines: bool, table: Path | None, copies: Path | None
    ) -> None:
        self._labels = labels
        self._min_confidence = min_confidence
        self._lines = lines
        self._copies = copies
        self._rows: list[list[str]] = []
        self._predictions: list[dict[str, Any]] = []
        self._counts = {"pictures": 0, "faces": 0, "without_face": 0, "unsure": 0}
        self._file: IO[str] | None = None
        self._open = ExitStack()
        if table is not None:
            if table.is_file() or not table.exists():  # else a pipe or a terminal
                table = self._open.enter_context(artifacts.whole(table))
            # A name that is no UTF-8 is written as the bytes that it is.
            self._file = table.open("w", newline="", encoding="utf-8", errors="surrogateescape")
            self._writer = csv.writer(self._file)
            self._writer.writerow(
                ["picture", "time_s", "face", "left", "top", "width", "height", "expression", "confidence", *labels]
            )

    def add(self, line: Line, image: NDArray[np.uint8] | None) -> None:
        """Take in one picture's answers; `image` is the picture, RGB uint8 [H,W,3], which only copies need."""
        self._counts["pictures"] += 1
        self._counts["without_face"] += not line.answers
        found = [self._prediction(line, number, answer) for number, answer in enumerate(line.answers, 1)]
        for prediction in found:
            self._counts["faces"] += 1
            self._counts["unsure"] += prediction["expression"] is None
            if self._lines:
                print_json(json.dumps(prediction, separators=(",", ":")))
            elif len(self._predictions) < MOST_PREDICTIONS:
                self._predictions.append(prediction)
            if self._file is not None:
                self._writer.writerow(self._row(prediction))
        if not self._lines:
            self._show(line, found)
        if self._copies is not None and image is not None:
            self._draw(line, found, image)

    def document(self) -> dict[str, Any]:
        """The last line's part: the counts and, unless they were printed already, the first 1,000 predictions."""
        return {**self._counts, **({} if self._lines else {"predictions": self._predictions})}

    def _prediction(self, line: Line, number: int, answer: Answer) -> dict[str, Any]:
        label, confidence = answer.best(self._labels)
        face = answer.face
        box = (0, 0, line.width, line.height) if face is None else (face.left, face.top, face.width, face.height)
        return {
            "picture": str(line.item.path),
            **({} if line.time_s is None else {"time_s": round(line.time_s, 3)}),
            "face": number,
            "box": [round(side) for side in box],
            "found": face is not None,
            "expression": label if confidence >= self._min_confidence else None,
            "confidence": round(confidence, 6),
            "probabilities": {name: round(float(share), 6) for name, share in zip(self._labels, answer.probabilities)},
        }

    def _row(self, prediction: dict[str, Any]) -> list[Any]:
        shares = prediction["probabilities"].values()
        start = [prediction["picture"], prediction.get("time_s", ""), prediction["face"], *prediction["box"]]
        return [*start, prediction["expression"] or "unsure", prediction["confidence"], *shares]

    def _show(self, line: Line, found: list[dict[str, Any]]) -> None:
        name = printable(line.item.name) + ("" if line.time_s is None else f" {line.time_s:.1f} s")
        for prediction in found:
            one = name if len(found) == 1 else f"{name} {prediction['face']}"
            shares = (f"{share:.1%}" for share in prediction["probabilities"].values())
            self._rows.append([one, prediction["expression"] or "unsure", *shares])
        if not found:
            self._rows.append([name, "no face", *[""] * len(self._labels)])
        if len(self._rows) >= MOST_PREDICTIONS:
            self._end_table()

    def _end_table(self) -> None:
        if self._rows:
            header = ["picture", "expression", *self._labels]
            print(tabulate(self._rows, header, stralign="right", disable_numparse=True), flush=True)
            self._rows.clear()

    def _draw(self, line: Line, found: list[dict[str, Any]], image: NDArray[np.uint8]) -> None:
        assert self._copies is not None
        picture = Image.fromarray(image)
        said = (f"{one['expression'] or 'unsure'} {one['confidence']:.0%}" for one in found)
        boxes.draw(picture, zip((one["box"] for one in found), said))
        name = line.item.name
        stem, ending = (name.stem, name.suffix) if name.suffix.lower() in _JPEG else (name.name, ".jpg")
        if line.time_s is not None:
            stem, ending = name.name, f"-{line.time_s:08.2f}s.jpg"
        target, number = self._copies / name.with_name(fitting(stem, ending)), 1
        while target.exists():  # files of two folders may have one name
            number += 1
            target = target.with_name(fitting(stem, f"-{number}{ending}"))
        target.parent.mkdir(parents=True, exist_ok=True)
        with artifacts.whole(target) as temporary:
            temporary.write_bytes(pictures.encoded(picture, "JPEG", quality=_QUALITY))

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:  # which moves the file to its place, or removes it
            if self._file is not None:
                with self._file:
                    self._end_table()
            else:
                self._end_table()
            if error is not None:
                raise error

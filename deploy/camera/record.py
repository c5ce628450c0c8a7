"""Recordings, which are made only where somebody asks: a row a face (.csv), or the pictures with their boxes (.mp4).

A recording that cannot go on, because the disk is full, is said once; the pictures go on. Nothing is overwritten.
"""

from __future__ import annotations

import csv
import queue
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lc2fer.errors import UsageError
from lc2fer.predicting import boxes
from lc2fer.predicting.films import name_of

from .capture import Capture
from .scene import Scene

KINDS = (".csv", ".mp4")
_WAITING = 16  # pictures of a film; what waits behind them is left out, and the one before stays for its time
_LONGEST_S = 60.0  # that one picture stays in a film, where a camera was away for longer
_LEAST_BYTES = 64_000_000  # of a disk: less, and the film ends while it can still be closed
_LOOK_EVERY = 100  # pictures between two looks at the disk

Picture = NDArray[np.uint8]  # BGR [H,W,3]


class Recording(Protocol):
    """One file."""

    path: Path

    def add(self, scene: Scene, picture: Picture) -> None: ...

    def close(self) -> None:
        """End the file; what could not be recorded is said."""
        ...

    def to_json(self) -> dict[str, Any]: ...


def open_all(
    paths: Sequence[Path], captures: Sequence[Capture], labels: Sequence[str], every: bool, say: Callable[[str], None]
) -> list[Recording]:
    """A recording for each path; of several sources a film each, named after it.

    Raises UsageError for another kind of file, a folder that is not there, and a film of what is none, DataError for a
    film's name that OpenCV does not take.
    """
    films = [path for path in paths if path.suffix.lower() == ".mp4"]
    for path in paths:  # all of them before the first file is made
        if path.suffix.lower() not in KINDS:
            raise UsageError(
                f"--record is {path}. Expected a file that ends in .csv (a row a face) or .mp4 (the pictures with "
                "their boxes). Name one."
            )
        if not path.parent.is_dir():
            raise UsageError(f"--record is {path}. Its folder was expected to be there. Make it, or name another.")
        if path in films:
            name_of(path)
    single = next((capture.source for capture in captures if capture.source.alone), None)
    if films and single is not None:
        raise UsageError(
            f"--record is {films[0]}, and {single} holds single pictures. A camera, a stream or a film was expected. "
            "Record a .csv, or run lc2fer-predict with --draw."
        )
    made: list[Recording] = []
    try:
        made += (_Table(_free(path), labels, say) for path in paths if path not in films)
        for path in films:
            for capture in captures:
                own = re.sub(r"[^\w.-]+", "_", capture.source.name).strip("_.")
                named = path if len(captures) == 1 else path.with_name(f"{path.stem}-{own}{path.suffix}")
                made.append(_Film(_free(named), capture, every and capture.source.kind == "file", say))
    except OSError:
        for recording in made:  # nothing is in them yet
            recording.close()
            recording.path.unlink(missing_ok=True)
        raise
    return made


def _free(path: Path) -> Path:
    """A new empty file of that name, or of the next free one: a.mp4, a-2.mp4, ... Raises OSError."""
    number, found = 1, path
    while True:
        try:
            found.open("xb").close()
            return found
        except FileExistsError:
            number += 1
            found = path.with_name(f"{path.stem}-{number}{path.suffix}")


class _Table:
    """A row for each face of each picture."""

    def __init__(self, path: Path, labels: Sequence[str], say: Callable[[str], None]) -> None:
        self.path = path
        self._rows = 0
        self._say = say
        self._failed = False
        # A name that is no UTF-8 is written as the bytes that it is; a line at a time, for who follows it.
        self._file = path.open("w", newline="", encoding="utf-8", errors="surrogateescape", buffering=1)
        self._writer = csv.writer(self._file)
        where = ["source", "number", "captured_at", "picture", "face", "left", "top", "width", "height"]
        self._write([[*where, "expression", "confidence", *labels]])

    def add(self, scene: Scene, picture: Picture) -> None:
        rows = []
        for face in scene.faces:
            box = face.box
            where = [scene.source, scene.number, f"{scene.captured_at:.3f}", scene.name or "", face.track]
            said = [face.expression or "unsure", round(max(face.probabilities), 4)]
            shares = [round(share, 4) for share in face.probabilities]
            rows.append([*where, box.left, box.top, box.width, box.height, *said, *shares])
        if not self._failed and self._write(rows):
            self._rows += len(rows)

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            self._fail(error)

    def to_json(self) -> dict[str, Any]:
        return {"file": str(self.path), "rows": self._rows, "whole": not self._failed}

    def _write(self, rows: list[list[Any]]) -> bool:
        try:
            self._writer.writerows(rows)
        except OSError as error:
            self._fail(error)
        return not self._failed

    def _fail(self, error: OSError) -> None:
        if not self._failed:
            self._say(f"{self.path} takes no more rows ({error.strerror}). It ends here; pictures go on.")
        self._failed = True


class _Film:
    """Pictures at the source's own pace, written in a thread; a picture stays until the next one's time.

    `every`: each picture is one of the film's, and is waited for.
    """

    def __init__(self, path: Path, capture: Capture, every: bool, say: Callable[[str], None]) -> None:
        self.path = path
        self._name = capture.source.name
        self._capture = capture
        self._every = every
        self._say = say
        self._failed = False
        self._pictures = 0  # of the source
        self._written = 0  # of the film
        self._start: float | None = None
        self._writer: Any = None
        self._size = (0, 0)
        self._last: Picture | None = None
        self._queue: queue.Queue[tuple[Scene, Picture] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name=f"film of {self._name}", daemon=True)
        self._thread.start()

    def add(self, scene: Scene, picture: Picture) -> None:
        if scene.source != self._name or self._failed:
            return
        if self._every:
            self._hand((scene, picture))
            return
        with suppress(queue.Full):  # then the picture before stays for longer
            self._queue.put_nowait((scene, picture))

    def close(self) -> None:
        self._hand(None)
        self._thread.join()
        if self._writer is not None:
            self._writer.release()
        if not self._written:
            self.path.unlink(missing_ok=True)  # an empty file is no film
        elif self.path.is_file() and not _is_whole(self.path):  # it may have been moved away by now
            self._fail("not all of it could be written, and it plays nowhere")

    def to_json(self) -> dict[str, Any]:
        return {"file": str(self.path), "pictures": self._pictures, "whole": not self._failed}

    def _hand(self, one: tuple[Scene, Picture] | None) -> None:
        while self._thread.is_alive():  # one that died tells why (deaths.Deaths)
            with suppress(queue.Full):
                self._queue.put(one, timeout=0.2)
                return

    def _run(self) -> None:
        while (one := self._queue.get()) is not None:
            if not self._failed:
                self._take(*one)

    def _take(self, scene: Scene, picture: Picture) -> None:
        if self._writer is None:
            self._open(picture)
        if self._pictures % _LOOK_EVERY == 0:
            self._look()
        if self._failed:
            return
        self._pictures += 1
        drawn = self._drawn(scene, picture)
        if self._every or self._start is None:
            self._start = scene.captured_at
            self._write(drawn)
        else:
            place = round((scene.captured_at - self._start) * self._fps)
            # The clock was set, forwards or back, or it was long away.
            if not self._written - 1 <= place <= self._written + _LONGEST_S * self._fps:
                self._start = scene.captured_at - self._written / self._fps
                place = self._written
            while self._last is not None and self._written < place:
                self._write(self._last)
            if self._written == place:
                self._write(drawn)
        self._last = drawn

    def _look(self) -> None:
        try:
            if shutil.disk_usage(self.path.parent).free < _LEAST_BYTES:
                self._fail(f"less than {_LEAST_BYTES // 1_000_000} MB are free")
        except OSError as error:  # its disk was pulled out, or its folder removed
            self._fail(f"{self.path.parent}: {error.strerror}")

    def _open(self, picture: Picture) -> None:
        self._size = picture.shape[1], picture.shape[0]
        self._fps = self._capture.fps or 30.0
        self._writer = cv2.VideoWriter(name_of(self.path), cv2.VideoWriter.fourcc(*"mp4v"), self._fps, self._size)
        if not self._writer.isOpened():
            self._fail("this OpenCV writes no MP4")

    def _write(self, drawn: Picture) -> None:
        self._writer.write(drawn)
        self._written += 1

    def _drawn(self, scene: Scene, picture: Picture) -> Picture:
        image = Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1]))
        found = (
            ((face.box.left, face.box.top, face.box.width, face.box.height), _text(face.expression, face.probabilities))
            for face in scene.faces
        )
        boxes.draw(image, found)
        drawn = np.ascontiguousarray(np.asarray(image)[:, :, ::-1])
        if self._size != (drawn.shape[1], drawn.shape[0]):  # a camera that came back with another size
            drawn = np.asarray(cv2.resize(drawn, self._size, interpolation=cv2.INTER_AREA), np.uint8)
        return drawn

    def _fail(self, reason: str) -> None:
        if not self._failed:
            self._say(f"{self.path} takes no more pictures ({reason}). It ends here; those of the source go on.")
        self._failed = True


def _is_whole(film: Path) -> bool:
    """Whether an MP4 has the index that is written last; OpenCV does not tell of a disk that took no more."""
    size = film.stat().st_size
    with film.open("rb") as file:
        while len(head := file.read(16)) >= 8:
            length = int.from_bytes(head[8:] if head[:4] == b"\0\0\0\1" else head[:4], "big")
            end = file.tell() - len(head) + length
            if head[4:8] == b"moov" or length < 8:
                return head[4:8] == b"moov" and end <= size
            file.seek(end)
    return False


def _text(expression: str | None, probabilities: Sequence[float]) -> str:
    return f"{expression or 'unsure'} {max(probabilities):.0%}"

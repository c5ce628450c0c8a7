"""One source on its way through the pipeline: its pictures, its faces, its newest scene and its figures."""

from __future__ import annotations

import threading
from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from .capture import Capture, Frame
from .scene import Scene, Status
from .tracks import Track, Tracker

STAGES = ("wait", "detect", "crop", "infer")
_LATELY = 9000  # pictures that the summary's percentiles are of: five minutes at 30 a second
_RATE_S = 2.0  # over which the frame rate is counted
_VIEW_SIDE = 640  # pixels of the longer side of the pictures that the page gets
_JPEG_QUALITY = 80


class Feed:
    """What belongs to one source. The pipeline's thread adds scenes, any thread may look at the newest."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.name = capture.source.name
        self.tracker = Tracker()
        self.scenes = 0
        self.ages_ms: deque[float] = deque(maxlen=_LATELY)
        self.stages_ms: dict[str, deque[float]] = {stage: deque(maxlen=_LATELY) for stage in STAGES}
        self._ends: deque[float] = deque()
        self._encoding = threading.Lock()
        self._changed = threading.Condition()
        self._newest: tuple[Scene, NDArray[np.uint8]] | None = None
        self._jpeg: tuple[int, bytes] = (0, b"")

    def scene(self, frame: Frame, held: list[Track], clock: list[float], said: tuple[tuple[str, ...], float]) -> Scene:
        """The scene of a picture whose stages ended at these monotonic seconds; `said`: labels and least confidence."""
        faces = [track.face(*said) for track in held if track.judged is not None]
        self._ends.append(clock[-1])
        while self._ends[0] < clock[-1] - _RATE_S:
            self._ends.popleft()
        scene = Scene(
            source=self.name,
            number=frame.number,
            captured_at=frame.captured_at,
            width=frame.picture.shape[1],
            height=frame.picture.shape[0],
            faces=tuple(sorted(faces, key=lambda face: -face.box.width * face.box.height)),
            age_ms=(clock[-1] - frame.taken) * 1e3,
            stages_ms={stage: (end - start) * 1e3 for stage, start, end in zip(STAGES, [frame.taken, *clock], clock)},
            fps=(len(self._ends) - 1) / max(clock[-1] - self._ends[0], 1e-9),
            dropped=self.capture.mailbox.dropped,
            name=frame.name,
        )
        self.scenes += 1
        self.ages_ms.append(scene.age_ms)
        for stage, value in scene.stages_ms.items():
            self.stages_ms[stage].append(value)
        with self._changed:
            self._newest = (scene, frame.picture)
            self._changed.notify_all()
        return scene

    def picture(self, after: int, timeout_s: float) -> tuple[Scene, bytes] | None:
        """As scene.Viewable's."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None and self._newest[0].number > after, timeout_s)
            newest = self._newest
        if newest is None or newest[0].number <= after:
            return None
        scene, picture = newest
        with self._encoding:
            if self._jpeg[0] != scene.number:
                self._jpeg = scene.number, _encoded(picture)
            return scene, self._jpeg[1]

    def status(self) -> Status:
        return self.capture.status()


def _encoded(picture: NDArray[np.uint8]) -> bytes:
    """A BGR picture as JPEG, its longer side at most 640 pixels."""
    factor = _VIEW_SIDE / max(picture.shape[:2])
    if factor < 1:
        size = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1])

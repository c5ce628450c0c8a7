"""The pipeline: pictures from the camera's thread, faces, crops, the model, and what it says, steadied over time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lc2fer.errors import DataError
from lc2fer.metrics import softmax
from lc2fer.session import Session

from ..device import jetson
from .capture import Capture, Frame
from .faces import Detector
from .scene import Box, Face, Scene, Status
from .tracks import Tracker, prepare

MOST_FACES = 8  # of one picture that are judged, the largest; each costs one run of the model
_POLL_S = 0.2  # how soon an end is noticed while no pictures come
_LATELY = 9000  # pictures that the summary's percentiles are of: five minutes at 30 a second
_RATE_S = 2.0  # over which the frame rate is counted
_VIEW_SIDE = 640  # pixels of the longer side of the pictures that the page gets
_JPEG_QUALITY = 80
_POWER_S = 1.0  # between two readings of the rails
STAGES = ("wait", "detect", "crop", "infer")


@dataclass(frozen=True)
class Manner:
    """How faces are judged."""

    min_confidence: float = 0.5  # below it no expression is said
    smoothing_s: float = 0.4  # time constant of the mean over pictures; 0: each picture by itself


class Live:
    """A session and a detector at work; also what the page looks at (scene.Viewable)."""

    def __init__(
        self,
        session: Session,
        detector: Callable[[], Detector],
        capture: Capture | None,
        manner: Manner,
        facts: Mapping[str, Any],
    ) -> None:
        self._session = session
        self._detector = detector()
        self._judge_detector = detector()  # for the page's threads; a detector serves one thread at a time
        self._capture = capture
        self._manner = manner
        self._facts = {**facts, "detector": self._detector.name}
        self._tracker = Tracker()
        self._busy = threading.Lock()  # a session runs one batch at a time
        self._judging = threading.Lock()
        self._encoding = threading.Lock()
        self._changed = threading.Condition()
        self._newest: tuple[Scene, NDArray[np.uint8]] | None = None
        self._jpeg: tuple[int, bytes] = (0, b"")
        self._ends: deque[float] = deque()
        self._watts: tuple[float, float | None] = (-_POWER_S, None)
        self.ages_ms: deque[float] = deque(maxlen=_LATELY)
        self.stages_ms: dict[str, deque[float]] = {stage: deque(maxlen=_LATELY) for stage in STAGES}
        self.scenes = 0

    @property
    def labels(self) -> tuple[str, ...]:
        return self._session.artifact.input_spec.labels

    def warm_up(self) -> None:
        """Find and judge in an empty picture, so that the first real one takes no longer than the others."""
        self._detector.find(np.zeros((240, 320, 3), np.uint8))
        for _ in range(3):
            self._session.run(np.zeros((1, *self._session.artifact.input_spec.shape), np.float32))

    def run(self, stop: threading.Event, on_scene: Callable[[Scene], None], on_idle: Callable[[], None]) -> None:
        """Look at pictures until `stop` is set or the source has ended; `on_idle` is called now and then besides."""
        if self._capture is None:
            while not stop.wait(_POLL_S):
                on_idle()
            return
        while not stop.is_set():
            ended = self._capture.status().state == "ended"  # asked first: its last picture may still wait
            frame = self._capture.mailbox.take(_POLL_S)
            if frame is not None:
                on_scene(self._look(frame))
            elif ended:
                return
            on_idle()

    def _look(self, frame: Frame) -> Scene:
        clock = [time.monotonic()]
        picture = frame.picture
        boxes = self._detector.find(picture)[:MOST_FACES]
        clock.append(time.monotonic())
        alone = frame.name is not None  # pictures of a folder have nothing to do with each other
        tracks = (Tracker() if alone else self._tracker).update(boxes, frame.taken)
        spec = self._session.artifact.input_spec
        batch = [prepare(picture, track, spec, bgr=True) for track in tracks]
        clock.append(time.monotonic())
        if batch:
            for track, shares in zip(tracks, self._probabilities(np.stack(batch))):
                track.judge(shares, frame.taken, self._manner.smoothing_s)
        clock.append(time.monotonic())
        self._ends.append(clock[-1])
        while self._ends[0] < clock[-1] - _RATE_S:
            self._ends.popleft()
        held = tracks if alone else self._tracker.tracks
        faces = [track.face(self.labels, self._manner.min_confidence) for track in held if track.judged is not None]
        assert self._capture is not None
        scene = Scene(
            number=frame.number,
            captured_at=frame.captured_at,
            width=picture.shape[1],
            height=picture.shape[0],
            faces=tuple(sorted(faces, key=lambda face: -face.box.width * face.box.height)),
            age_ms=(clock[-1] - frame.taken) * 1e3,
            stages_ms={stage: (end - start) * 1e3 for stage, start, end in zip(STAGES, [frame.taken, *clock], clock)},
            fps=(len(self._ends) - 1) / max(clock[-1] - self._ends[0], 1e-9),
            dropped=self._capture.mailbox.dropped,
            name=frame.name,
        )
        self._keep(scene, picture)
        return scene

    def _keep(self, scene: Scene, picture: NDArray[np.uint8]) -> None:
        self.scenes += 1
        self.ages_ms.append(scene.age_ms)
        for stage, value in scene.stages_ms.items():
            self.stages_ms[stage].append(value)
        with self._changed:
            self._newest = (scene, picture)
            self._changed.notify_all()

    def _probabilities(self, batch: NDArray[np.float32]) -> NDArray[np.float64]:
        with self._busy:
            logits = self._session.run(batch)
        return softmax(logits).astype(np.float64)

    # -- for the page ---------------------------------------------------------------------------------------------

    def picture(self, after: int, timeout_s: float) -> tuple[Scene, bytes] | None:
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
        if self._capture is None:
            return Status("none", "There is no camera here. Give a picture, or use the browser's own camera.")
        return self._capture.status()

    def facts(self) -> Mapping[str, Any]:
        now = time.monotonic()
        if now - self._watts[0] >= _POWER_S:
            self._watts = now, jetson.watts()
        return {**self._facts, "watts": self._watts[1]}

    def judge(self, image: Image.Image) -> tuple[Face, ...]:
        if min(image.size) < 16:
            raise DataError(
                f"The picture has {image.width}x{image.height} pixels. At least 16x16 are needed to see a face. "
                "Give a larger one."
            )
        rgb = np.asarray(image.convert("RGB"))
        with self._judging:
            boxes = self._judge_detector.find(np.ascontiguousarray(rgb[:, :, ::-1]))[:MOST_FACES]
        boxes = boxes or [Box(0, 0, image.width, image.height)]
        tracks = Tracker().update(boxes, 0.0)
        spec = self._session.artifact.input_spec
        crops = [prepare(rgb, track, spec) for track in tracks]
        for track, shares in zip(tracks, self._probabilities(np.stack(crops))):
            track.judge(shares, 0.0, 0.0)
        return tuple(track.face(self.labels, self._manner.min_confidence) for track in tracks)


def _encoded(picture: NDArray[np.uint8]) -> bytes:
    """A BGR picture as JPEG, its longer side at most 640 pixels."""
    factor = _VIEW_SIDE / max(picture.shape[:2])
    if factor < 1:
        size = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1])

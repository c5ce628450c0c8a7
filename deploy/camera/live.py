"""The pipeline: pictures of all sources, faces, crops, the model, and what it says, steadied over time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lc2fer.errors import DataError
from lc2fer.metrics import softmax
from lc2fer.session import Session

from ..device import jetson
from .capture import Capture, Frame
from .faces import Detector
from .feed import Feed
from .scene import Box, Face, Scene, Status
from .tracks import Tracker, prepare

MOST_FACES = 8  # of one picture that are judged, the largest; each costs one run of the model
_POLL_S = 0.2  # how soon an end is noticed while no pictures come
_POWER_S = 1.0  # between two readings of the rails
_WORST_FIRST = ("lost", "stalled", "starting", "live", "ended")


@dataclass(frozen=True)
class Manner:
    """How faces are judged."""

    min_confidence: float = 0.5  # below it no expression is said
    smoothing_s: float = 0.4  # time constant of the mean over pictures; 0: each picture by itself


class Live:
    """A session and a detector that all sources share; also what the page looks at (scene.Viewable)."""

    def __init__(
        self,
        session: Session,
        detector: Callable[[], Detector],
        captures: Sequence[Capture],
        manner: Manner,
        facts: Mapping[str, Any],
        *,
        arrived: threading.Event | None = None,
    ) -> None:
        """`arrived` is the captures' event; without it a picture may wait for 0.2 s."""
        self.feeds = {capture.source.name: Feed(capture) for capture in captures}
        self._session = session
        self._detector = detector()
        self._judge_detector = detector()  # for the page's threads; a detector serves one thread at a time
        self._manner = manner
        self._facts = {**facts, "detector": self._detector.name}
        self._arrived = arrived or threading.Event()
        self._busy = threading.Lock()  # a session runs one batch at a time
        self._judging = threading.Lock()
        self._watts: tuple[float, float | None] = (-_POWER_S, None)

    @property
    def labels(self) -> tuple[str, ...]:
        return self._session.artifact.input_spec.labels

    def warm_up(self) -> None:
        """Find and judge in an empty picture, so that the first real one takes no longer than the others."""
        self._detector.find(np.zeros((240, 320, 3), np.uint8))
        for _ in range(3):
            self._session.run(np.zeros((1, *self._session.artifact.input_spec.shape), np.float32))

    def run(
        self,
        stop: threading.Event,
        on_scene: Callable[[Scene, NDArray[np.uint8]], None],
        on_idle: Callable[[], None],
    ) -> None:
        """Look at pictures until `stop` is set or every source has ended; `on_idle` is called now and then besides.

        The sources take turns, a picture each, so that a fast one does not keep the others waiting.
        """
        while not stop.is_set():
            # Asked first: the last picture of a source that has ended may still wait.
            ended = self.feeds and all(feed.status().state == "ended" for feed in self.feeds.values())
            self._arrived.clear()
            looked = False
            for feed in self.feeds.values():
                frame = feed.capture.mailbox.take(0.0)
                if frame is not None:
                    looked = True
                    on_scene(self._look(feed, frame), frame.picture)
                    on_idle()
            if looked:
                continue
            if ended:
                return
            self._arrived.wait(_POLL_S)
            on_idle()

    def _look(self, feed: Feed, frame: Frame) -> Scene:
        clock = [time.monotonic()]
        boxes = self._detector.find(frame.picture)[:MOST_FACES]
        clock.append(time.monotonic())
        alone = frame.name is not None  # pictures of a folder have nothing to do with each other
        now = frame.taken if frame.film_s is None else frame.film_s  # a film may be read faster than it is seen
        tracks = (Tracker() if alone else feed.tracker).update(boxes, now)
        spec = self._session.artifact.input_spec
        batch = [prepare(frame.picture, track, spec, bgr=True) for track in tracks]
        clock.append(time.monotonic())
        if batch:
            for track, shares in zip(tracks, self._probabilities(np.stack(batch))):
                track.judge(shares, now, self._manner.smoothing_s)
        clock.append(time.monotonic())
        held = tracks if alone else feed.tracker.tracks
        return feed.scene(frame, held, clock, (self.labels, self._manner.min_confidence))

    def _probabilities(self, batch: NDArray[np.float32]) -> NDArray[np.float64]:
        with self._busy:
            logits = self._session.run(batch)
        return softmax(logits).astype(np.float64)

    # -- for the page ---------------------------------------------------------------------------------------------

    def sources(self) -> Mapping[str, Status]:
        return {name: feed.status() for name, feed in self.feeds.items()}

    def picture(self, source: str, after: int, timeout_s: float) -> tuple[Scene, bytes] | None:
        return self.feeds[source].picture(after, timeout_s)

    def status(self) -> Status:
        if not self.feeds:
            return Status("none", "There is no camera here. Give a picture, or use the browser's own camera.")
        return min(self.sources().values(), key=lambda status: _WORST_FIRST.index(status.state))

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

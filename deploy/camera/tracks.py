"""Faces from picture to picture: which is which, and what each shows, steadied over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lc2fer.finder import Face as Found
from lc2fer.finder import Point
from lc2fer.inputs import InputSpec

from .scene import Box, Face

HOLD_S = 0.4  # a face that the detector misses stays for so long: finders blink
_OVERLAP = 0.3  # intersection over union from which two boxes are one face
_BOX_S = 0.08  # time constant of the box: without it the crop trembles, and the answers with it


@dataclass
class Track:
    """One face in view."""

    number: int
    box: NDArray[np.float64]  # left, top, width, height; smoothed
    seen: float  # monotonic seconds
    found: Found | None = None  # what the finder says of it, smoothed like the box
    judged: float | None = None
    probabilities: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def judge(self, probabilities: NDArray[np.float64], now: float, smoothing_s: float) -> None:
        """Take in the probabilities [7] of the picture at `now`: an exponential mean with that time constant."""
        share = 1.0 if self.judged is None else _share(now - self.judged, smoothing_s)
        mean = probabilities if self.judged is None else self.probabilities
        self.probabilities = share * probabilities + (1 - share) * mean
        self.judged = now

    def face(self, labels: Sequence[str], min_confidence: float) -> Face:
        """What is said of it: an expression only where one is probable enough."""
        best = int(self.probabilities.argmax())
        sure = self.probabilities[best] >= min_confidence
        box = Box(*(round(float(side)) for side in self.box))
        return Face(self.number, box, labels[best] if sure else None, tuple(map(float, self.probabilities)))


class Tracker:
    """The faces in view; numbers are never used again."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self._next = 1

    def update(self, boxes: Sequence[Box], now: float) -> list[Track]:
        """The tracks of these boxes, in their order; faces not seen for 0.4 s are forgotten.

        Pairs are made greedily, those that overlap most first.
        """
        self.tracks = [track for track in self.tracks if now - track.seen <= HOLD_S]
        found = [np.array([box.left, box.top, box.width, box.height], np.float64) for box in boxes]
        pairs = sorted(
            (
                (_overlap(track.box, box), index, place)
                for index, track in enumerate(self.tracks)
                for place, box in enumerate(found)
            ),
            reverse=True,
        )
        taken: dict[int, Track] = {}
        for overlap, index, place in pairs:
            track = self.tracks[index]
            if overlap >= _OVERLAP and place not in taken and track not in taken.values():
                share = _share(now - track.seen, _BOX_S)
                track.box = share * found[place] + (1 - share) * track.box
                track.seen = now
                track.found = _steadied(track.found, _found(boxes[place]), share)
                taken[place] = track
        for place, box in enumerate(found):
            if place not in taken:
                taken[place] = Track(self._next, box, now, _found(boxes[place]))
                self.tracks.append(taken[place])
                self._next += 1
        return [taken[place] for place in range(len(found))]


def crop(picture: NDArray[np.uint8], box: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The square around a face, a view of [H,W,3]: moved into the picture where it would stick out of it."""
    height, width = picture.shape[:2]
    side = max(1, min(round(float(max(box[2], box[3]))), height, width))
    left = round(float(box[0] + box[2] / 2) - side / 2)
    top = round(float(box[1] + box[3] / 2) - side / 2)
    left, top = min(max(left, 0), width - side), min(max(top, 0), height - side)
    return picture[top : top + side, left : left + side]


def prepare(picture: NDArray[np.uint8], track: Track, spec: InputSpec, *, bgr: bool = False) -> NDArray[np.float32]:
    """What the model gets of a face in a picture [H,W,3], float32 [3,size,size], RGB; aligned, where it wants that."""
    if spec.alignment != "none" and track.found is not None:
        prepared = spec.apply_face(picture, track.found)
        return np.ascontiguousarray(prepared[::-1]) if bgr else prepared
    square = crop(picture, track.box)
    return spec.apply(Image.fromarray(np.ascontiguousarray(square[:, :, ::-1] if bgr else square)))


def _found(box: Box) -> Found | None:
    face: Found | None = getattr(box, "face", None)
    return face


def _steadied(old: Found | None, new: Found | None, share: float) -> Found | None:
    """A face whose places are the mean of two, `share` of it the new one's."""
    if old is None or new is None:
        return new

    def mean(before: float, after: float) -> float:
        return share * after + (1 - share) * before

    def place(before: Point, after: Point) -> Point:
        return mean(before[0], after[0]), mean(before[1], after[1])

    return replace(
        new,
        left=mean(old.left, new.left),
        top=mean(old.top, new.top),
        width=mean(old.width, new.width),
        height=mean(old.height, new.height),
        eyes=(place(old.eyes[0], new.eyes[0]), place(old.eyes[1], new.eyes[1])),
        mouth=place(old.mouth, new.mouth),
    )


def _share(elapsed_s: float, constant_s: float) -> float:
    """Weight of the newest value in an exponential mean with that time constant; 1 for no smoothing."""
    return 1.0 if constant_s <= 0 else 1 - math.exp(-max(elapsed_s, 0.0) / constant_s)


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Intersection over union of two boxes (left, top, width, height)."""
    low = np.maximum(one[:2], other[:2])
    high = np.minimum(one[:2] + one[2:], other[:2] + other[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    return shared / float(np.prod(one[2:]) + np.prod(other[2:]) - shared)

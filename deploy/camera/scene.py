"""What was seen in one picture, and what the rest of the program may ask of the pipeline that sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from PIL.Image import Image

# starting: the camera is being opened; live: pictures come; stalled: none for a while; lost: it ended unasked and is
# opened again; ended: the file or folder is at its end; none: there is no camera.
STATES = ("starting", "live", "stalled", "lost", "ended", "none")


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the picture that it was found in."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Face:
    """One face: who it is stays unknown, `track` only tells it from the others while it is in view."""

    track: int
    box: Box
    expression: str | None  # None: no label is probable enough
    probabilities: tuple[float, ...]  # in the order of the labels, smoothed over time

    def to_json(self) -> dict[str, Any]:
        """The form of JSON lines and of the page."""
        return {
            "track": self.track,
            "box": [self.box.left, self.box.top, self.box.width, self.box.height],
            "expression": self.expression,
            "probabilities": [round(share, 4) for share in self.probabilities],
        }


@dataclass(frozen=True)
class Scene:
    """The faces of one picture and how long it took to find and judge them."""

    source: str  # its name
    number: int  # of the picture since the start, from 1; gaps are pictures that were dropped
    captured_at: float  # seconds since 1970
    width: int  # pixels
    height: int
    faces: tuple[Face, ...]  # the largest first
    age_ms: float  # from the picture's capture until its faces were judged
    stages_ms: Mapping[str, float]  # wait, detect, crop, infer
    fps: float  # pictures judged a second, lately
    dropped: int  # pictures that a newer one replaced before they were looked at, since the start
    name: str | None = None  # of the picture's file, where the source is a folder

    def to_json(self) -> dict[str, Any]:
        """The form of JSON lines and of the page."""
        named = {} if self.name is None else {"name": self.name}
        return {
            "source": self.source,
            "number": self.number,
            **named,
            "captured_at": round(self.captured_at, 3),
            "size": [self.width, self.height],
            "faces": [face.to_json() for face in self.faces],
            "age_ms": round(self.age_ms, 2),
            "stages_ms": {stage: round(value, 2) for stage, value in self.stages_ms.items()},
            "fps": round(self.fps, 1),
            "dropped": self.dropped,
        }


@dataclass(frozen=True)
class Status:
    """How the source of pictures is."""

    state: str  # one of STATES
    text: str  # a sentence for people

    def to_json(self) -> dict[str, Any]:
        """The form of JSON lines and of the page."""
        return {"state": self.state, "text": self.text}


class Viewable(Protocol):
    """What the page needs of a running pipeline; every method may be called from any thread."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    def sources(self) -> Mapping[str, Status]:
        """How each source is, by its name, in the order in which they were given; none where there is no camera."""
        ...

    def picture(self, source: str, after: int, timeout_s: float) -> tuple[Scene, bytes] | None:
        """A source's newest scene with a number above `after` and its picture as JPEG, or None if none came in time.

        The picture is encoded once, however many ask for it.
        """
        ...

    def status(self) -> Status:
        """How the one source is, or of several the one that is worst off."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """What does not change from picture to picture: model, engine, detector, sources, recordings, and `watts`."""
        ...

    def judge(self, image: Image) -> tuple[Face, ...]:
        """The faces of a picture that somebody gave, without smoothing; a picture without a found face is taken as
        one face. Raises DataError for a picture that cannot be judged."""
        ...

"""Where the faces are in a picture: OpenCV's Haar cascade, which is always there, or YuNet where its file is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from lc2fer.artifact import hash_file
from lc2fer.errors import ArtifactError, TargetUnavailable

from .scene import Box

_SIDE = 320  # pixels; pictures are made this small to be searched, so that a search takes milliseconds
_SMALLEST = 1 / 10  # of the picture's longer side: a face that is smaller is not worth judging at 100 pixels
_CASCADE = "haarcascade_frontalface_default.xml"
_DEBIAN = Path("/usr/share/opencv4/haarcascades")  # of the package opencv-data; JetPack's OpenCV brings none itself

# S. Wu et al., YuNet: A Tiny Millisecond-level Face Detector, 2023; the file face_detection_yunet_2023mar.onnx of
# OpenCV's model zoo, 232,589 bytes, MIT licence.
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
_YUNET_SCORE = 0.7


class Detector(Protocol):
    """Finds faces; not to be called from two threads at once."""

    @property
    def name(self) -> str: ...

    def find(self, picture: NDArray[np.uint8]) -> list[Box]:
        """The faces of a BGR picture uint8 [H,W,3], the largest first."""
        ...


def open_detector(model: Path | None = None) -> Detector:
    """YuNet of that file, or the Haar cascade.

    Raises ArtifactError for another file than YuNet's, TargetUnavailable where OpenCV has no cascade.
    """
    return _Haar() if model is None else _YuNet(model)


class _Haar:
    """For upright, frontal faces: P. Viola and M. Jones, Rapid Object Detection using a Boosted Cascade, 2001."""

    name = "Haar cascade"

    def __init__(self) -> None:
        own = Path(cv2.data.haarcascades, _CASCADE) if hasattr(cv2, "data") else _DEBIAN / _CASCADE
        path = own if own.is_file() else _DEBIAN / _CASCADE
        if not hasattr(cv2, "CascadeClassifier") or not path.is_file():
            raise TargetUnavailable(
                f"OpenCV {cv2.__version__} has no Haar cascade here. One that finds faces was expected, of OpenCV 4. "
                "Run: sudo apt install opencv-data, or pass --face-model FILE for YuNet."
            )
        self._cascade: Any = cv2.CascadeClassifier(str(path))

    def find(self, picture: NDArray[np.uint8]) -> list[Box]:
        small, factor = _smaller(picture)
        grey = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))
        least = int(_SMALLEST * max(grey.shape))
        found = self._cascade.detectMultiScale(grey, scaleFactor=1.15, minNeighbors=5, minSize=(least, least))
        return _largest_first([[side * factor for side in rectangle] for rectangle in found])


class _YuNet:
    name = "YuNet"

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ArtifactError(
                f"{path} is missing. Expected YuNet's file, face_detection_yunet_2023mar.onnx. "
                "Get it from OpenCV's model zoo, or leave --face-model out."
            )
        sha256 = hash_file(path)
        if sha256 != YUNET_SHA256:
            raise ArtifactError(
                f"{path} has the sha256 {sha256[:12]}.... Expected YuNet's of March 2023, {YUNET_SHA256[:12]}.... "
                "Get face_detection_yunet_2023mar.onnx from OpenCV's model zoo, or leave --face-model out."
            )
        self._network: Any = cv2.FaceDetectorYN.create(str(path), "", (_SIDE, _SIDE), score_threshold=_YUNET_SCORE)

    def find(self, picture: NDArray[np.uint8]) -> list[Box]:
        small, factor = _smaller(picture)
        self._network.setInputSize((small.shape[1], small.shape[0]))
        found = self._network.detect(small)[1]
        return _largest_first([] if found is None else [[side * factor for side in face[:4]] for face in found])


def _smaller(picture: NDArray[np.uint8]) -> tuple[Any, float]:
    """The picture with a longer side of at most 320, and by how much it was larger."""
    factor = max(1.0, max(picture.shape[:2]) / _SIDE)
    if factor == 1:
        return picture, factor
    size = max(1, round(picture.shape[1] / factor)), max(1, round(picture.shape[0] / factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA), factor


def _largest_first(rectangles: list[list[float]]) -> list[Box]:
    boxes = [Box(*(round(float(side)) for side in rectangle)) for rectangle in rectangles]
    return sorted(boxes, key=lambda box: box.width * box.height, reverse=True)

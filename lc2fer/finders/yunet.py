"""YuNet, for who has its file: W. Wu et al., YuNet: A Tiny Millisecond-level Face Detector, 2023 (MIT licence).

OpenCV's model zoo has had two that are read here: face_detection_yunet_2023mar.onnx (232,589 bytes, for pictures of
640x640) and face_detection_yunet_2026may.onnx (229,738 bytes, for any size). Another file with their outputs is taken
too, and is not called by their names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lc2fer.artifact import hash_file
from lc2fer.errors import ArtifactError
from lc2fer.finder import Face, Point, shrink
from lc2fer.finders.boxes import check_image, largest_first, suppress
from lc2fer.finders.engine import open_engine
from lc2fer.header import refuse_other

PUBLISHED = {  # sha256 -> what it is called
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4": "YuNet 2023mar",
    "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0": "YuNet 2026may",
}
_SIDE = 320  # pixels of the picture's longer side, where the file takes any
_STRIDES = (8, 16, 32)  # pixels between two places where a face may be
_SCORE = 0.7
_MARGIN, _RAISED = 1.0, 0.01  # its boxes are as high as FER2013's pictures
_OUTPUTS = frozenset(f"{what}_{stride}" for what in ("cls", "obj", "bbox", "kps") for stride in _STRIDES)


class YuNet:
    """Finds boxes, eyes, nose and the corners of the mouth."""

    def __init__(self, path: Path, threads: int) -> None:
        if not path.is_file():
            raise ArtifactError(
                f"{path} is missing. Expected YuNet's file, such as face_detection_yunet_2023mar.onnx. "
                "Get it from OpenCV's model zoo, or leave --face-model out."
            )
        refuse_other(path, "YuNet's file")
        self.name = PUBLISHED.get(hash_file(path), "YuNet, of a file that nobody published")
        self._engine = open_engine(path, threads)
        if not self._engine.outputs >= _OUTPUTS:
            raise ArtifactError(
                f"{path} has the outputs {', '.join(sorted(self._engine.outputs)[:6])}. Expected those of YuNet, "
                "cls_8 to kps_32. Get face_detection_yunet_2023mar.onnx from OpenCV's model zoo, or leave --face-model "
                "out."
            )

    def find(self, image: NDArray[np.uint8], *, bgr: bool = False) -> tuple[Face, ...]:
        check_image(image)
        small, scale = shrink(image, min(self._engine.size or (_SIDE,)))
        height, width = self._engine.size or tuple(-(-size // _STRIDES[-1]) * _STRIDES[-1] for size in small.shape[:2])
        pixels = np.zeros((1, 3, height, width), np.float32)
        pixels[0, :, : small.shape[0], : small.shape[1]] = (small if bgr else small[:, :, ::-1]).transpose(
            2, 0, 1
        )  # BGR
        outputs = self._engine.run(pixels)
        rows, scores = [], []
        for stride in _STRIDES:
            sure = np.clip(outputs[f"cls_{stride}"][0, :, 0], 0, 1) * np.clip(outputs[f"obj_{stride}"][0, :, 0], 0, 1)
            score = np.sqrt(sure.astype(np.float64))
            likely = np.flatnonzero(score > _SCORE)
            columns = width // stride
            place = np.stack([likely % columns, likely // columns], axis=1).astype(np.float64)  # x, y
            box = outputs[f"bbox_{stride}"][0, likely].astype(np.float64)
            middle, half = (place + box[:, :2]) * stride, np.exp(box[:, 2:]) * stride / 2
            points = outputs[f"kps_{stride}"][0, likely].astype(np.float64).reshape(-1, 5, 2)
            points = (points + place[:, np.newaxis]) * stride
            rows.append(np.concatenate([middle - half, middle + half, points.reshape(-1, 10)], axis=1) * scale)
            scores.append(score[likely])
        found = suppress(np.concatenate(rows), np.concatenate(scores))
        return largest_first(_face(row, score) for row, score in found)


def _face(row: NDArray[np.float64], score: float) -> Face:
    left, top, right, bottom = row[:4].tolist()
    points: list[Point] = [(x, y) for x, y in row[4:].reshape(5, 2).tolist()]
    mouth = (points[3][0] + points[4][0]) / 2, (points[3][1] + points[4][1]) / 2
    eyes = points[0], points[1]
    return Face(left, top, right - left, bottom - top, score, eyes, points[2], mouth, margin=_MARGIN, raised=_RAISED)

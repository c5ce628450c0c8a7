"""A video that stands for a camera: a drawn face that moves over a background, 640x480, 30 pictures a second.

python tests/fakes/video.py face.mp4 [SECONDS]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from lc2fer.deploy.camera.faces import open_detector

from lc2fer.data.drawing import draw
from lc2fer.data.synthetic import sample

FPS = 30
WIDTH, HEIGHT, SIDE = 640, 480, 200

Picture = np.ndarray[Any, Any]  # BGR uint8 [480,640,3]


def face(label: int) -> Picture:
    """A drawn face of that class that is found, BGR uint8 [200,200,3]."""
    for number in range(200):
        drawn = draw(sample(label, np.random.default_rng(1000 * label + number)), SIDE)
        pixels = np.asarray(drawn.convert("RGB"))[:, :, ::-1]
        if len(open_detector().find(placed(pixels, 220, 140))) == 1:
            return pixels
    raise AssertionError("no drawn face is found")


def placed(pixels: Picture, left: int, top: int) -> Picture:
    """A grey picture with that face in it."""
    picture = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    picture[top : top + SIDE, left : left + SIDE] = pixels
    return picture


def moving(pixels: Picture, count: int) -> Iterator[Picture]:
    """That face on a slow way through the picture and back, over a background of soft blocks."""
    rng = np.random.default_rng(5)
    ground = cv2.resize(rng.integers(60, 180, (6, 8, 3), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for number in range(count):
        way = 2 * np.pi * number / (10 * FPS)
        left, top = round(220 + 200 * np.sin(way)), round(140 + 100 * np.sin(2 * way))
        picture = ground.copy()
        picture[top : top + SIDE, left : left + SIDE] = pixels
        yield picture


def write(path: Path, pictures: Iterator[Picture]) -> Path:
    """Write an MP4 (MPEG-4, which every OpenCV reads)."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


if __name__ == "__main__":
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    print(write(Path(sys.argv[1]), moving(face(3), round(seconds * FPS))))

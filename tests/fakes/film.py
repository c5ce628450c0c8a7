"""Two drawn people who move, in the place of a running pipeline: what the page shows without a camera or a model."""

import io
import math
import threading
import time

from lc2fer.deploy.camera.scene import Box, Face, Scene, Status
from PIL import Image, ImageDraw

from lc2fer.errors import DataError
from lc2fer.inputs import LABELS

TOKEN = "correct-horse-battery"  # of the page that shows it
SKIN = ("#e8b796", "#8d5a3c")


class Film:
    """Two drawn people who move; pictures are made when somebody asks, and each only once."""

    labels = LABELS

    def __init__(self, fps=20.0, people=2, watts=7.42, names=("film",)):
        self.fps, self.people, self.watts = fps, people, watts
        self.began = time.monotonic()
        self.state = Status("live", "Pictures come from a drawn film.")
        self.encoded = 0
        self.waiting = 0
        self.most_waiting = 0
        self.judged = []
        self.names = names
        self.recorded = []
        self._lock = threading.Lock()
        self._last = {}

    def number(self):
        return int((time.monotonic() - self.began) * self.fps) + 1 if self.state.state == "live" else 0

    def sources(self):
        return {} if self.state.state == "none" else dict.fromkeys(self.names, self.state)

    def picture(self, source, after, timeout_s):
        with self._lock:
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            ends = time.monotonic() + timeout_s
            while (number := self.number()) <= after:
                if time.monotonic() >= ends:
                    return None
                time.sleep(0.003)
            with self._lock:
                if source not in self._last or self._last[source][0].number != number:
                    self._last[source] = self._made(source, number)
                return self._last[source]
        finally:
            with self._lock:
                self.waiting -= 1

    def _made(self, source, number):
        self.encoded += 1
        people = self.people if source == self.names[0] else 1  # one sees that it is another camera
        faces = tuple(self._face(person, number / self.fps) for person in range(people))
        canvas = Image.new("RGB", (640, 480), "#32414f")
        draw = ImageDraw.Draw(canvas)
        for line in range(0, 480, 8):
            draw.rectangle((0, line, 640, line + 8), fill=(50 + line // 12, 65 + line // 14, 79 + line // 16))
        for person, face in enumerate(faces):
            paint(draw, face.box, SKIN[person % 2], self.labels[max(range(7), key=face.probabilities.__getitem__)])
        file = io.BytesIO()
        canvas.save(file, "JPEG", quality=85)
        stages = {"wait": 6.1, "detect": 11.7 + math.sin(number), "crop": 0.42, "infer": 4.9}
        scene = Scene(source, number, time.time(), 640, 480, faces, 23.4, stages, self.fps, number // 40, "fä.jpg")
        return scene, file.getvalue()

    def _face(self, person, second):
        mood = int(second / 3.0 + 2 * person) % 8  # the eighth is unsure
        shares = [0.02 + 0.015 * math.sin(second * 3 + place) ** 2 for place in range(7)]
        if mood < 7:
            shares[mood] += 0.75 + 0.1 * math.sin(second * 2)
        else:
            shares = [0.13 + 0.02 * math.sin(second + place) for place in range(7)]
        total = sum(shares)
        side = (230, 150)[person % 2]
        left = int((120, 430)[person % 2] + 40 * math.sin(second * 0.9 + person))
        box = Box(left, (110, 170)[person % 2], side, side)
        return Face(person + 1, box, LABELS[mood] if mood < 7 else None, tuple(share / total for share in shares))

    def status(self):
        return self.state

    def facts(self):
        return {
            "model": "C6 onnx-int8",
            "engine": "ONNX Runtime",
            "detector": "YuNet",
            "source": "a drawn film",
            "threshold": 0.4,
            "recorded": self.recorded,
            "watts": self.watts,
        }

    def judge(self, image):
        if image.width < 8:
            raise DataError("The picture has 4x4 pixels. Expected a face. Give a larger one.")
        self.judged.append(image.size)
        side = image.width // 2
        shares = (0.02, 0.02, 0.02, 0.88, 0.02, 0.02, 0.02)
        return (Face(1, Box(image.width // 4, image.height // 4, side, image.height // 2), "happiness", shares),)


def paint(draw, box, skin, mood):
    """A face in that box, with the mouth and brows of the expression."""
    left, top, side = box.left, box.top, box.width
    at = lambda across, down: (left + across * side, top + down * side)  # noqa: E731
    draw.ellipse((*at(0.02, -0.12), *at(0.98, 0.9)), fill="#2b1d16")
    draw.ellipse((*at(0.08, 0.0), *at(0.92, 1.0)), fill=skin)
    wide = 0.085 if mood in ("surprise", "fear") else 0.06
    tilt = {"anger": 0.06, "disgust": 0.03, "sadness": -0.05, "fear": -0.04}.get(mood, 0.0)
    lift = 0.05 if mood in ("surprise", "fear") else 0.0
    for middle, way in ((0.33, 1), (0.67, -1)):
        draw.ellipse((*at(middle - wide, 0.43 - wide), *at(middle + wide, 0.43 + wide)), fill="#fff")
        draw.ellipse((*at(middle - 0.03, 0.40), *at(middle + 0.03, 0.46)), fill="#1b1b1b")
        brow = (*at(middle - 0.1, 0.3 - lift - way * tilt), *at(middle + 0.1, 0.3 - lift + way * tilt))
        draw.line(brow, fill="#2b1d16", width=max(3, side // 32))
    thick = max(3, side // 36)
    if mood in ("surprise", "fear"):
        draw.ellipse((*at(0.42, 0.66), *at(0.58, 0.86)), fill="#571d1d")
    elif mood == "happiness":
        draw.chord((*at(0.28, 0.5), *at(0.72, 0.86)), 10, 170, fill="#7a1f1f")
    elif mood in ("sadness", "anger", "disgust"):
        draw.arc((*at(0.32, 0.72), *at(0.68, 0.96)), 200, 340, fill="#571d1d", width=thick)
    else:
        draw.line((*at(0.36, 0.76), *at(0.64, 0.76)), fill="#571d1d", width=thick)

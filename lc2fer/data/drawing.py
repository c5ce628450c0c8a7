"""The drawing of a face from its parameters: shapes, light and camera."""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from lc2fer.data.face import SPAN, Color, Face, Points, landmarks, project

_OVERSAMPLING = 2
_LIGHT = [max(0, 4 * (grey - 128)) for grey in range(256)]
_DARK = [max(0, 4 * (128 - grey)) for grey in range(256)]


def draw(face: Face, size: int = 100) -> Image.Image:
    """The face as an RGB picture of `size` pixels a side."""
    side = size * _OVERSAMPLING
    mosaic = Image.new("RGB", (3, 3))
    mosaic.putdata(face.light.background)
    canvas = _enlarge(mosaic.resize((size, size), Image.Resampling.BICUBIC), side)
    pen = _Pen(canvas, face, landmarks(face, side), side)
    for part in (_hair_behind, _head, _relief, _wrinkles, _beard, _nose, _mouth, _eyes, _brows, _hair_front):
        part(pen)
    _glasses(pen)
    _occlude(pen)
    return _photograph(canvas.reduce(_OVERSAMPLING), face)


def _enlarge(picture: Image.Image, side: int) -> Image.Image:
    """The picture on the canvas' scale, each pixel repeated: smooth parts need no oversampling."""
    return picture.resize((side, side), Image.Resampling.NEAREST)


class _Pen:
    """Draws the landmarks of one face on one canvas."""

    def __init__(self, canvas: Image.Image, face: Face, marks: dict[str, Points], side: int) -> None:
        self.canvas, self.face, self.marks, self.side = canvas, face, marks, side
        self.unit = face.pose.scale * side  # pixels a face unit
        self.paint = ImageDraw.Draw(canvas, "RGBA")
        frame = project(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.full(3, math.nan), face.pose, side)
        self.origin, self.right, self.down = frame[0], frame[1] - frame[0], frame[2] - frame[0]

    def path(self, points: Points) -> list[tuple[float, float]]:
        return list(map(tuple, points.tolist()))

    def fill(self, points: Points, color: Color, alpha: float = 1.0) -> None:
        self.paint.polygon(self.path(points), fill=(*color, _byte(255 * alpha)))

    def line(self, points: Points, color: Color, width: float, alpha: float = 1.0) -> None:
        """`width` is in face units."""
        self.paint.line(self.path(points), fill=(*color, _byte(255 * alpha)), width=max(1, round(width * self.unit)))

    def disc(self, centre: Points, radius: float, color: Color, alpha: float = 1.0, squash: float = 1.0) -> None:
        """`radius` is in face units; `squash` is the height over the width."""
        (x, y), rx = centre.tolist(), radius * self.unit
        ry = rx * squash
        self.paint.ellipse((x - rx, y - ry, x + rx, y + ry), fill=(*color, _byte(255 * alpha)))

    def below(self, points: Points, distance: float) -> Points:
        """The points moved down by a distance in face units."""
        moved: Points = points + np.array((0.0, distance * self.unit))
        return moved

    def at(self, x: float, y: float) -> Points:
        """A point of the head's plane (face units) in pixels."""
        point: Points = self.origin + x * self.right + y * self.down
        return point

    def plane(self, points: Points) -> Points:
        """Points of the head's plane (face units) in pixels."""
        placed: Points = self.origin + points[:, :1] * self.right + points[:, 1:] * self.down
        return placed


def _byte(value: float) -> int:
    return 0 if value < 0 else 255 if value > 255 else int(value + 0.5)


def _shade(color: Color, factor: float) -> Color:
    return (_byte(color[0] * factor), _byte(color[1] * factor), _byte(color[2] * factor))


def _blend(a: Color, b: Color, part: float) -> Color:
    red, green, blue = (_byte(x + (y - x) * part) for x, y in zip(a, b, strict=True))
    return (red, green, blue)


def _hair_behind(pen: _Pen) -> None:
    who = pen.face.identity
    grow = {"bald": 0.0, "short": 1.06, "fringe": 1.10, "parted": 1.10, "long": 1.22, "curly": 1.22}.get(
        who.hair_style, 0.0
    )
    head, centre = pen.marks["head"], pen.at(0.0, -0.15)
    if who.hair_style == "headscarf":
        pen.fill((head - centre) * 1.20 + centre, _shade(who.cloth, 0.9))
        pen.fill(pen.plane(np.array([[-1.04, 0.2], [1.04, 0.2], [1.5, 2.4], [-1.5, 2.4]])), _shade(who.cloth, 0.75))
    elif grow:
        pen.fill((head - centre) * grow + centre, _shade(who.hair, 0.8))
    if who.hair_style == "long":
        pen.fill(pen.plane(np.array([[-1.06, -0.1], [1.06, -0.1], [1.22, 2.0], [-1.22, 2.0]])), _shade(who.hair, 0.7))


def _head(pen: _Pen) -> None:
    who, dark = pen.face.identity, _shade(pen.face.identity.skin, 0.62)
    if who.hair_style != "headscarf":
        pen.fill(pen.marks["neck"], _shade(who.skin, 0.68))
        pen.fill(pen.plane(np.array([[-1.6, 2.4], [-1.1, 1.62], [0.0, 1.72], [1.1, 1.62], [1.6, 2.4]])), who.cloth)
        for name in ("left_ear", "right_ear"):
            pen.disc(pen.marks[name][0], 0.15, _shade(who.skin, 0.86), squash=1.7)
            pen.disc(pen.marks[name][0], 0.08, dark, 0.35, squash=1.7)
    pen.fill(pen.marks["head"], who.skin)
    pen.line(np.concatenate([pen.marks["head"], pen.marks["head"][:1]]), dark, 0.02, 0.5)


def _relief(pen: _Pen) -> None:
    """Soft light and shade of sockets, cheeks, nose and chin, blurred into the skin."""
    face, marks = pen.face, pen.marks
    who, quarter = face.identity, max(1, pen.side // 4)
    small = Image.new("L", (quarter, quarter), 128)
    paint = ImageDraw.Draw(small)
    shrink, unit = quarter / pen.side, face.pose.scale * quarter

    def spot(centre: Points, rx: float, ry: float, grey: int) -> None:
        x, y = (centre * shrink).tolist()
        paint.ellipse((x - rx * unit, y - ry * unit, x + rx * unit, y + ry * unit), fill=grey)

    for name in ("left", "right"):
        spot(pen.below(marks[f"{name}_eye"].mean(axis=0), -0.08), 0.30, 0.22, 106)
        spot(pen.below(marks[f"{name}_cheek"][0], 0.30), 0.20, 0.16, 116)
        spot(marks[f"{name}_cheek"][0], 0.23, 0.15, 138 + round(14 * face.level(6, 12)))
    spot(pen.below(marks["nose_base"].mean(axis=0), 0.05), 0.17, 0.06, 92)
    spot(pen.below(marks["nose_tip"][0], -0.22), 0.06, 0.30, 146)
    spot(marks["nose_tip"][0], 0.10, 0.08, 150)
    spot(pen.below(marks["mouth"].mean(axis=0), 0.24), 0.20, 0.06, 104)
    spot(pen.below(marks["chin"][0], -0.17), 0.16, 0.09, 140)
    half = pen.side // _OVERSAMPLING
    soft = small.filter(ImageFilter.GaussianBlur(0.055 * unit)).resize((half, half), Image.Resampling.BILINEAR)
    pen.canvas.paste(_blend(who.skin, (255, 240, 225), 0.55), mask=_enlarge(soft.point(_LIGHT), pen.side))
    pen.canvas.paste(_shade(who.skin, 0.45), mask=_enlarge(soft.point(_DARK), pen.side))


def _wrinkles(pen: _Pen) -> None:
    face, marks = pen.face, pen.marks
    color, age = _shade(face.identity.skin, 0.48), face.identity.age
    frown = face.level(4, 9)
    strengths = {
        "fold": 0.10 + 0.45 * age + 0.65 * face.level(6, 9, 10, 12),
        "foot": 0.40 * age + 0.60 * face.level(6),
        "forehead": 0.45 * age + 0.65 * min(face.level(1), 0.4 + face.level(2)),
        "frown": 0.25 * age + 0.75 * frown,
        "bunny": 0.85 * face.level(9),
        "chin_dent": 0.15 * age + 0.6 * face.level(15, 17),
    }
    shown = {kind: strength for kind, strength in strengths.items() if strength > 0.05}
    for name, points in marks.items():
        for kind, strength in shown.items():
            if kind in name:
                pen.line(points, color, 0.028, min(0.9, strength))


def _beard(pen: _Pen) -> None:
    who, mouth = pen.face.identity, pen.marks["mouth"]
    if who.beard == "none":
        return
    dark = _shade(who.hair, 0.9)
    if who.beard in ("stubble", "full"):
        cheek = pen.plane(
            np.array([[-0.90, 0.15], [-0.55, 0.42], [0.0, 0.40], [0.55, 0.42], [0.90, 0.15]]) * (who.width, 1)
        )
        jaw = pen.marks["jaw"]
        pen.fill(np.concatenate([jaw, cheek]), dark, 0.30 if who.beard == "stubble" else 0.88)
    if who.beard == "goatee":
        pen.disc(pen.below(pen.marks["chin"][0], -0.12), 0.24, dark, 0.85, squash=0.9)
    if who.beard in ("moustache", "full", "goatee"):
        lip, nose = mouth[: len(SPAN)], pen.marks["nose_base"].mean(axis=0)
        pen.fill(np.concatenate([pen.below(lip, 0.03), (0.45 * lip + 0.55 * nose)[::-1]]), dark, 0.85)


def _nose(pen: _Pen) -> None:
    who, light = pen.face.identity, pen.face.light.direction[0]
    dark = _shade(who.skin, 0.45)
    pen.line(pen.marks["left_ridge" if light > 0 else "right_ridge"], dark, 0.03, 0.28 + 0.25 * abs(light))
    for name in ("left", "right"):
        pen.line(pen.marks[f"{name}_wing"], dark, 0.03, 0.75)
        pen.disc(pen.marks[f"{name}_nostril"][0], 0.042 * who.nose_width, _shade(who.skin, 0.25), 0.9, squash=0.62)
    pen.line(pen.marks["nose_base"], dark, 0.025, 0.5)


def _mouth(pen: _Pen) -> None:
    who, marks = pen.face.identity, pen.marks
    half = len(SPAN)
    pen.fill(marks["mouth"], who.lips)
    upper = np.concatenate([marks["mouth"][:half], marks["mouth_inside"][:half][::-1]])
    pen.fill(upper, _shade(who.lips, 0.82))
    inside = marks["mouth_inside"]
    gap = float(inside[half + half // 2, 1] - inside[half // 2, 1]) / pen.unit
    if gap > 0.02:
        pen.fill(inside, (48, 16, 20))
        if gap > 0.16:
            pen.fill(marks["tongue"], (168, 76, 84))
        pen.fill(marks["teeth"], (236, 230, 218))
    pen.line(marks["mouth_line"], _shade(who.lips, 0.42), 0.026 if gap > 0.02 else 0.036, 0.95)


def _eyes(pen: _Pen) -> None:
    who, marks, half = pen.face.identity, pen.marks, len(SPAN)
    for name in ("left", "right"):
        eye, lid, rim = marks[f"{name}_eye"], marks[f"{name}_lid"], marks[f"{name}_rim"]
        pen.fill(eye, (232, 230, 226))
        iris = marks[f"{name}_iris"][0]
        pen.disc(iris, 0.088 * who.eye_size, who.iris)
        pen.disc(iris, 0.044 * who.eye_size, (14, 12, 14))
        pen.disc(iris + np.array([0.025, -0.03]) * pen.unit, 0.018, (250, 250, 250))
        pen.fill(np.concatenate([marks[f"{name}_crease"], lid[::-1]]), _shade(who.skin, 0.80))
        pen.fill(np.concatenate([rim, marks[f"{name}_pouch"][::-1]]), _shade(who.skin, 0.93))
        pen.line(marks[f"{name}_crease"][2 : half - 2], _shade(who.skin, 0.5), 0.022, 0.6)
        pen.line(marks[f"{name}_pouch"][3 : half - 3], _shade(who.skin, 0.55), 0.02, 0.2 + 0.5 * who.age)
        pen.line(lid, (30, 22, 22), 0.04, 0.9)
        pen.line(rim, _shade(who.skin, 0.4), 0.02, 0.7)


def _brows(pen: _Pen) -> None:
    color = _blend(_shade(pen.face.identity.hair, 0.75), (40, 28, 22), 0.35)
    for name in ("left_brow", "right_brow"):
        pen.fill(pen.marks[name], color, 0.88)


def _hair_front(pen: _Pen) -> None:
    who, marks = pen.face.identity, pen.marks
    centre = pen.at(0.0, -0.35)
    cap = np.concatenate([(marks["crown"] - centre) * 1.09 + centre, marks["hairline"]])
    if who.hair_style in ("short", "long", "curly"):
        pen.fill(cap, who.hair)
    if who.hair_style == "curly":
        for centre in marks["crown"][::2]:
            pen.disc(centre, 0.22, _shade(who.hair, 0.9))
    if who.hair_style == "fringe":
        pen.fill(cap, who.hair)
        edge = [[x, -0.66 + 0.07 * (index % 2)] for index, x in enumerate(np.linspace(-0.78, 0.78, 9).tolist())]
        pen.fill(pen.plane(np.array([[-0.55, -1.0], *edge, [0.55, -1.0]])), who.hair)
    if who.hair_style == "parted":
        pen.fill(cap, who.hair)
        pen.fill(
            pen.plane(np.array([[-0.90, -0.35], [-0.74, -0.58], [0.45, -0.98], [0.3, -1.2], [-0.6, -1.0]])), who.hair
        )
    if who.hair_style in ("headscarf", "cap"):
        pen.fill(cap, who.cloth)
        pen.line(marks["hairline"], _shade(who.cloth, 0.7), 0.06)
    if who.hair_style == "cap":
        pen.fill(
            pen.plane(np.array([[-1.05, -0.85], [0.0, -0.98], [1.05, -0.85], [1.2, -0.66], [0, -0.78], [-1.2, -0.66]])),
            _shade(who.cloth, 0.6),
        )
    if who.hair_style not in ("bald", "headscarf", "cap"):
        for tone, shift in ((1.35, -0.16), (0.7, -0.08)):
            pen.line(pen.below(marks["hairline"][2:-2], shift), _shade(who.hair, tone), 0.03, 0.5)


def _glasses(pen: _Pen) -> None:
    shaded = pen.face.occlusion.kind == "sunglasses"
    if not (pen.face.identity.glasses or shaded):
        return
    centres = [pen.marks[f"{name}_eye"].mean(axis=0) for name in ("left", "right")]
    frame, width, height = (36, 32, 34), 0.29 * pen.unit, 0.22 * pen.unit
    for centre in centres:
        x, y = centre.tolist()
        box = (x - width, y - height, x + width, y + height)
        lens = (24, 24, 30, 225) if shaded else (200, 215, 230, 26)
        self_width = max(1, round(0.035 * pen.unit))
        pen.paint.rounded_rectangle(box, radius=0.12 * pen.unit, fill=lens, outline=(*frame, 255), width=self_width)
    pen.line(np.array([centres[0] + (width, 0), centres[1] - (width, 0)]), frame, 0.04)


def _occlude(pen: _Pen) -> None:
    what, who = pen.face.occlusion, pen.face.identity
    centre, extent = pen.at(what.x, what.y), what.extent
    if what.kind == "scarf":
        edge = [
            [-1.3, what.y + 0.1],
            [-0.5, what.y - 0.02],
            [0.4, what.y + 0.03],
            [1.3, what.y - 0.05],
            [1.5, 2.4],
            [-1.5, 2.4],
        ]
        pen.fill(pen.plane(np.array(edge)), what.color)
        for drop in (0.15, 0.33, 0.52):
            pen.line(
                pen.plane(np.array([[-1.3, what.y + drop], [0.0, what.y + drop + 0.08], [1.3, what.y + drop]])),
                _shade(what.color, 0.75),
                0.04,
            )
    elif what.kind == "hand":
        skin = _shade(who.skin, 0.93)
        for finger in range(4):
            start = centre + np.array([(finger - 1.5) * 0.17, -0.05 * (finger % 3)]) * pen.unit
            finger_line = np.stack([start, start + np.array([0.25 * what.x, 1.6]) * pen.unit])
            pen.line(finger_line, _shade(who.skin, 0.6), 0.18)
            pen.line(finger_line, skin, 0.145)
            pen.disc(start, 0.075, skin)
    elif what.kind == "hair":
        side = 1.0 if what.x > 0 else -1.0
        fringe = what.extent * 0.5
        edge = [[0.75 - fringe, -0.25], [0.35 - fringe, -0.80]]
        lock = np.array([[0.0, -1.26], [0.5, -1.18], [0.9, -0.75], [1.05, 0.0], [1.0, 0.5], *edge])
        pen.fill(pen.plane(lock * (side, 1)), who.hair)
    elif what.kind == "patch":
        corners = np.array([[-1, -0.8], [1, -0.9], [0.9, 0.8], [-1, 0.9]]) * extent * pen.unit + centre
        pen.fill(corners, what.color)


# ---------------------------------------------------------------- light and camera


def _photograph(picture: Image.Image, face: Face) -> Image.Image:
    """Light, blur, exposure, noise and compression."""
    size, light, camera = picture.width, face.light, face.camera
    if camera.blur > 0.05:
        picture = picture.filter(ImageFilter.GaussianBlur(camera.blur * size / 100))
    pixels = np.asarray(picture, dtype=np.float32) * _lambert(face, size)[:, :, None]
    if camera.noise > 0:
        grain = np.random.Generator(np.random.PCG64(camera.seed)).standard_normal((size, size, 1), dtype=np.float32)
        pixels += grain * np.float32(camera.noise)
    curve = [255 * (((level / 255) ** light.gamma - 0.5) * light.contrast + 0.5) for level in range(256)]
    tints = (1 + 0.12 * light.warmth, 1.0, 1 - 0.14 * light.warmth)
    tables = np.rint(np.clip(np.outer(tints, curve), 0, 255)).astype(np.uint8)
    levels = np.clip(pixels, 0, 255).astype(np.uint8)
    picture = Image.fromarray(np.stack([table[levels[:, :, band]] for band, table in enumerate(tables)], axis=2))
    if camera.quality:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=camera.quality)
        picture = Image.open(buffer).convert("RGB")
    return picture


def _lambert(face: Face, size: int) -> NDArray[np.float32]:
    """(size, size) brightness factors of an ellipsoid head under the light."""
    pose, light = face.pose, face.light
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size) - np.float32(0.5)
    x = ((axis - np.float32(pose.x)) / np.float32(1.15 * pose.scale))[None, :]
    y = ((axis - np.float32(pose.y)) / np.float32(1.45 * pose.scale))[:, None]
    z = np.sqrt(np.maximum(np.float32(0.02), 1 - x * x - y * y))
    lx, ly, lz = (np.float32(value) for value in light.direction)
    facing = np.clip(x * lx + y * ly + z * lz, 0, 1)
    exposure = np.float32(1 + 0.40 * light.strength)
    return np.asarray(exposure * (1 - np.float32(light.strength) * (1 - facing)), dtype=np.float32)

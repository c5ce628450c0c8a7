"""A face given by parameters, and where its parts lie in a picture.

A `Face` holds everything that a picture shows: how far each facial action unit is contracted, who the person is, how
the head is turned, the light, what hides a part of it and how good the camera was. `ACTIONS` says which points of the
face an action unit moves and where to, after the Facial Action Coding System (P. Ekman and W. V. Friesen, *Facial
Action Coding System*, 1978; P. Ekman, W. V. Friesen and J. C. Hager, second edition, 2002).

Lengths are in face units: 1 is half the width of an average head, x grows to the right of the picture, y downwards, and
(0, 0) is the bridge of the nose, halfway between crown and chin. "Left" is the left of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]
Box = tuple[float, float, float, float]
Points = NDArray[np.float64]
Shift = dict[str, tuple[float, float]]  # point -> (outwards, downwards), face units
Shapes = dict[str, tuple[Points, float]]  # name -> (points, lift out of the head), face units

# Action unit -> point -> (outwards, downwards) shift in face units at full contraction. "lid_upper" and "lid_lower" are
# the middles of the lids; "lips" is no point: its second number changes the thickness of the lips, relatively.
ACTIONS: dict[int, dict[str, tuple[float, float]]] = {
    1: {"brow_inner": (0.0, -0.17), "brow_middle": (0.0, -0.07), "lid_upper": (0.0, -0.01)},
    2: {"brow_outer": (0.0, -0.15), "brow_middle": (0.0, -0.13)},
    4: {
        "brow_inner": (-0.07, 0.12),
        "brow_middle": (-0.04, 0.08),
        "brow_outer": (-0.01, 0.02),
        "lid_upper": (0.0, 0.01),
    },
    5: {"lid_upper": (0.0, -0.075), "lid_lower": (0.0, 0.01)},
    6: {"lid_lower": (0.0, -0.045), "lid_upper": (0.0, 0.01), "brow_outer": (0.0, 0.02)},
    7: {"lid_lower": (0.0, -0.035), "lid_upper": (0.0, 0.025)},
    9: {
        "nostril": (0.04, -0.07),
        "brow_inner": (-0.05, 0.09),
        "brow_middle": (0.0, 0.05),
        "lid_lower": (0.0, -0.04),
        "lid_upper": (0.0, 0.03),
        "lip_upper": (0.0, -0.05),
    },
    10: {"lip_upper": (0.0, -0.10), "nostril": (0.02, -0.02)},
    12: {"corner": (0.13, -0.17), "lip_upper": (0.0, -0.01), "lip_lower": (0.0, 0.02)},
    15: {"corner": (0.0, 0.16), "lip_lower": (0.0, -0.01)},
    16: {"lip_lower": (0.0, 0.10)},
    17: {"lip_lower": (0.0, -0.04), "lip_upper": (0.0, -0.04), "chin": (0.0, -0.04)},
    20: {"corner": (0.15, 0.03), "lips": (0.0, -0.25)},
    23: {"corner": (-0.09, 0.0), "lips": (0.0, -0.70)},
    25: {"lip_upper": (0.0, -0.03), "lip_lower": (0.0, 0.07)},
    26: {"lip_lower": (0.0, 0.36), "corner": (-0.06, 0.08), "chin": (0.0, 0.17)},
}

HAIR_STYLES = ("bald", "short", "fringe", "parted", "long", "curly", "headscarf", "cap")
BEARDS = ("none", "stubble", "moustache", "full", "goatee")
OCCLUSIONS = ("none", "sunglasses", "scarf", "hand", "hair", "patch")

_STEPS = np.linspace(0.0, 1.0, 11)
_PARABOLA = np.stack([(2 * _STEPS - 1) * (_STEPS - 1), 4 * _STEPS * (1 - _STEPS), _STEPS * (2 * _STEPS - 1)], axis=1)
SPAN = np.linspace(-1.0, 1.0, 15)


@dataclass(frozen=True)
class Identity:
    """Who is drawn: proportions as factors about 1 unless a unit is given, colours as RGB 0..255."""

    width: float
    chin: float  # y of the chin, face units
    jaw: float  # 0 pointed .. 1 square
    skin: Color
    hair: Color
    hair_style: str
    hairline: float  # y of the hairline, face units
    beard: str
    glasses: bool
    cloth: Color
    iris: Color
    lips: Color
    eye_size: float
    eye_openness: float
    eye_spacing: float
    eye_tilt: float  # y of the outer corner above the inner one, face units
    brow_height: float  # added to y, face units
    brow_arch: float  # face units
    brow_thickness: float
    nose_width: float
    nose_length: float
    mouth_width: float
    mouth_height: float  # added to y, face units
    mouth_rest: float  # y of the corners at rest, face units: some mouths hang, some smile
    lip_fullness: float
    age: float  # 0 smooth .. 1 lined


@dataclass(frozen=True)
class Pose:
    """How the head is turned (radians) and where it lies (fractions of the picture)."""

    yaw: float
    pitch: float
    roll: float
    scale: float  # picture widths a face unit
    x: float
    y: float


@dataclass(frozen=True)
class Light:
    """Directional light on an ellipsoid head, then exposure; `direction` points to the lamp, in picture axes."""

    direction: tuple[float, float, float]
    strength: float  # 0 flat .. 1 hard
    gamma: float
    warmth: float  # -1 blue .. 1 yellow
    contrast: float
    background: tuple[Color, ...]  # a 3x3 mosaic, row by row


@dataclass(frozen=True)
class Occlusion:
    """What hides a part of the face; `x`, `y`, `extent` are in face units."""

    kind: str
    color: Color
    x: float
    y: float
    extent: float


@dataclass(frozen=True)
class Camera:
    """Blur radius in hundredths of the picture's width, noise in grey levels, JPEG quality (0: not compressed)."""

    blur: float
    noise: float
    quality: int
    seed: int


@dataclass(frozen=True)
class Face:
    """All parameters of one face."""

    expression: int  # 0..6, in RAF-DB's order: surprise, fear, disgust, happiness, sadness, anger, neutral
    intensity: float  # 0..1
    action_units: Mapping[int, float]  # contraction 0..1 of each action unit
    asymmetry: float  # the right side contracts 1 + asymmetry times as far, the left 1 - asymmetry
    gaze: tuple[float, float]  # face units
    identity: Identity
    pose: Pose
    light: Light
    occlusion: Occlusion
    camera: Camera

    def level(self, *units: int) -> float:
        """The strongest contraction among these action units, 0..1."""
        return max((self.action_units.get(unit, 0.0) for unit in units), default=0.0)


def landmarks(face: Face, size: int = 100) -> dict[str, Points]:
    """Outlines of the drawn parts: name -> (n, 2) pixels (x, y) in a picture of `size` pixels a side."""
    shapes = _shapes(face)
    lengths = [len(points) for points, _ in shapes.values()]
    flat = np.concatenate([points for points, _ in shapes.values()])
    lift = np.repeat(np.array([lift for _, lift in shapes.values()]), lengths)
    placed = project(flat, lift, face.pose, size)
    ends = list(accumulate(lengths))
    return {name: placed[end - length : end] for name, length, end in zip(shapes, lengths, ends)}


def regions(face: Face, size: int = 100) -> dict[str, Box]:
    """Boxes (x0, y0, x1, y1) in pixels, inside the picture, of the mouth, the eyes and the brows as drawn."""
    marks = landmarks(face, size)
    margin = 0.02 * size
    boxes = {}
    for name in ("mouth", "left_eye", "right_eye", "left_brow", "right_brow"):
        low = np.clip(marks[name].min(axis=0) - margin, 0.0, float(size))
        high = np.clip(marks[name].max(axis=0) + margin, 0.0, float(size))
        boxes[name] = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    return boxes


def _shifts(face: Face, side: int) -> Shift:
    """The sum of what the action units do to each point of one side (-1 left, 1 right)."""
    total: Shift = {}
    for unit, level in face.action_units.items():
        amount = level * (1.0 + side * face.asymmetry)
        for point, (out, down) in ACTIONS[unit].items():
            before = total.get(point, (0.0, 0.0))
            total[point] = (before[0] + amount * out, before[1] + amount * down)
    return total


def _shapes(face: Face) -> Shapes:
    """Name -> (points in face units, how far they stand out of the head towards the viewer)."""
    shapes: Shapes = {}
    left, right = _shifts(face, -1), _shifts(face, 1)
    for name, side, shift in (("left", -1, left), ("right", 1, right)):
        shapes |= _brow_shapes(face.identity, name, side, shift)
        shapes |= _eye_shapes(face, name, side, shift)
        shapes |= _side_lines(face, name, side, shift)
    shapes |= _mouth_shapes(face.identity, left, right)
    shapes |= _nose_shapes(face.identity, left, right)
    shapes |= _head_shapes(face.identity, left)
    shapes |= _middle_lines(face)
    return shapes


def _through(a: Sequence[float], b: Sequence[float], c: Sequence[float]) -> Points:
    """A parabola through three points, 11 points long."""
    curve: Points = _PARABOLA @ np.array((a, b, c))
    return curve


def _brow_shapes(who: Identity, name: str, side: int, shift: Shift) -> Shapes:
    rest = {
        "brow_inner": (0.17, -0.53),
        "brow_middle": (0.42 * who.eye_spacing, -0.58 - who.brow_arch),
        "brow_outer": (0.70 * who.eye_spacing, -0.50),
    }
    knots = []
    for point, (x, y) in rest.items():
        out, down = shift.get(point, (0.0, 0.0))
        knots.append((side * (x + out), y + who.brow_height + down))
    spine = _through(*knots)
    half = 0.045 * who.brow_thickness * (1.0 - 0.75 * _STEPS**2)
    offset = np.stack([np.zeros_like(half), half], axis=1)
    return {f"{name}_brow": (np.concatenate([spine - offset, (spine + offset)[::-1]]), 0.06)}


def _eye_shapes(face: Face, name: str, side: int, shift: Shift) -> Shapes:
    who = face.identity
    x, y, half = side * 0.42 * who.eye_spacing, -0.27, 0.185 * who.eye_size
    upper = max(0.012, 0.095 * who.eye_openness * who.eye_size - shift.get("lid_upper", (0.0, 0.0))[1])
    lower = max(-0.02, 0.060 * who.eye_size + shift.get("lid_lower", (0.0, 0.0))[1])
    bow = np.sqrt(np.maximum(0.0, 1.0 - SPAN**2)) * (1.0 - 0.12 * SPAN * side)
    xs, base = x + half * SPAN, y - side * who.eye_tilt * SPAN
    top, bottom = base - upper * bow, base + np.maximum(lower, 0.015 - upper) * bow
    lid = np.stack([xs, top], axis=1)
    rim = np.stack([xs, bottom], axis=1)
    wide = np.array([1.12, 1.0])
    centre = np.array([x, y])
    crease = (lid - centre) * wide + centre - np.array([0.0, 0.045 + 0.02 * who.eye_size])
    pouch = (rim - centre) * wide + centre + np.array([0.0, 0.06])
    iris = np.array([[x + face.gaze[0], y - 0.02 + face.gaze[1]]])
    return {
        f"{name}_eye": (np.concatenate([lid, rim[::-1]]), 0.0),
        f"{name}_lid": (lid, 0.0),
        f"{name}_rim": (rim, 0.0),
        f"{name}_crease": (crease, 0.0),
        f"{name}_pouch": (pouch, 0.0),
        f"{name}_iris": (iris, 0.0),
    }


def _mouth_shapes(who: Identity, left: Shift, right: Shift) -> Shapes:
    y, half = 0.61 + who.mouth_height, 0.33 * who.mouth_width
    nothing = (0.0, 0.0)
    middle = {
        key: (left.get(key, nothing)[1] + right.get(key, nothing)[1]) / 2 for key in ("lip_upper", "lip_lower", "lips")
    }
    (left_out, left_down), (right_out, right_down) = left.get("corner", nothing), right.get("corner", nothing)
    weight = (SPAN + 1) / 2
    xs = -(half + left_out) * (1 - weight) + (half + right_out) * weight
    ends = y + who.mouth_rest + left_down * (1 - weight) + right_down * weight
    hang = np.abs(SPAN) ** 1.8
    upper, lower = y + middle["lip_upper"], y + middle["lip_lower"]
    lower = max(lower, upper + 0.004)
    roof = upper * (1 - hang) + ends * hang
    floor = lower * (1 - hang**1.3) + ends * hang**1.3
    full = who.lip_fullness * max(0.18, 1.0 + middle["lips"])
    arch = np.sqrt(np.maximum(0.0, 1 - SPAN**2))
    bow = arch * (1 - 0.30 * np.exp(-((SPAN / 0.16) ** 2)))
    top, bottom = roof - 0.075 * full * bow, np.maximum(floor, roof) + 0.10 * full * arch

    def path(high: Points, low: Points) -> Points:
        return np.concatenate([np.stack([xs, high], axis=1), np.stack([xs, low], axis=1)[::-1]])

    teeth = np.minimum(floor, roof + 0.10 * (1 - 0.5 * hang))
    tongue = np.maximum(roof, floor - 0.09 * (1 - hang))
    return {
        "mouth": (path(top, bottom), 0.08),
        "mouth_inside": (path(roof, floor), 0.06),
        "teeth": (path(roof, teeth), 0.06),
        "tongue": (path(tongue, floor), 0.06),
        "mouth_line": (np.stack([xs, roof], axis=1), 0.08),
    }


def _nose_shapes(who: Identity, left: Shift, right: Shift) -> Shapes:
    tip = 0.20 * who.nose_length
    shapes: Shapes = {}
    for name, side, shift in (("left", -1, left), ("right", 1, right)):
        out, down = shift.get("nostril", (0.0, 0.0))
        x, y = side * (0.155 * who.nose_width + out), tip + 0.05 + down
        wing = _through((x * 0.80, y - 0.10), (x * 1.12, y - 0.01), (x * 0.62, y + 0.05))
        shapes[f"{name}_wing"] = (wing, 0.18)
        shapes[f"{name}_nostril"] = (np.array([[x * 0.58, y + 0.035]]), 0.22)
        ridge = _through((side * 0.11, -0.36), (side * 0.075, -0.12), (side * 0.10 * who.nose_width, tip - 0.04))
        shapes[f"{name}_ridge"] = (ridge, 0.14)
    shapes["nose_tip"] = (np.array([[0.0, tip]]), 0.32)
    shapes["nose_base"] = (_through((-0.08, tip + 0.09), (0.0, tip + 0.12), (0.08, tip + 0.09)), 0.24)
    return shapes


def _head_shapes(who: Identity, shift: Shift) -> Shapes:
    chin = who.chin + shift.get("chin", (0.0, 0.0))[1]
    angle = np.linspace(0.0, 2 * math.pi, 49)[:-1]
    cos, sin = np.cos(angle), np.sin(angle)
    power = 1.0 - 0.35 * who.jaw
    low = np.sign(cos) * np.abs(cos) ** power
    x = who.width * np.where(sin > 0, low * (1.0 - 0.10 * (1 - who.jaw) * sin**2), cos)
    y = np.where(sin > 0, sin * chin, sin * 1.28)
    outline = np.stack([x, y], axis=1)
    ears = {
        f"{name}_ear": (np.array([[side * who.width, -0.12]]), -0.25) for name, side in (("left", -1), ("right", 1))
    }
    line = who.hairline
    return {
        "head": (outline, math.nan),
        "chin": (np.array([[0.0, chin]]), 0.0),
        "jaw": (outline[(y > 0.15)], math.nan),
        "crown": (outline[(y <= -0.30)], math.nan),
        "neck": (np.array([[-0.55, 0.5], [0.55, 0.5], [0.62, 2.4], [-0.62, 2.4]]), math.nan),
        "hairline": (_through((who.width, -0.35), (0.0, line - 0.08), (-who.width, -0.35)), math.nan),
        **ears,
    }


def _side_lines(face: Face, name: str, side: int, shift: Shift) -> Shapes:
    """The nasolabial fold, crow's feet and the bulge of the cheek of one side."""
    who = face.identity
    out, down = shift.get("corner", (0.0, 0.0))
    x = 0.33 * who.mouth_width + out
    y = 0.61 + who.mouth_height + down
    fold = _through(
        (side * 0.19 * who.nose_width, 0.16),
        (side * (0.26 + 0.6 * x) * 0.78, 0.34 + 0.5 * down),
        (side * (x + 0.07), y),
    )
    eye = 0.42 * who.eye_spacing + 0.20 * who.eye_size
    feet = {
        f"{name}_foot_{number}": (np.array([[side * (eye + 0.03), -0.25], [side * (eye + 0.15), -0.25 + drop]]), 0.0)
        for number, drop in enumerate((-0.08, 0.0, 0.08))
    }
    return {
        f"{name}_fold": (fold, 0.04),
        f"{name}_cheek": (np.array([[side * 0.52, 0.17 - 0.05 * face.level(6)]]), 0.1),
        **feet,
    }


def _middle_lines(face: Face) -> Shapes:
    """Lines of the forehead, of the frown, of the wrinkled nose and of the chin."""
    who, lines = face.identity, {}
    lift = -0.05 * face.level(1, 2)
    for number, y in enumerate((-0.78, -0.90, -1.02)):
        level = y + who.brow_height + lift
        lines[f"forehead_{number}"] = (_through((-0.45, level + 0.03), (0.0, level), (0.45, level + 0.03)), 0.0)
    for number, side in enumerate((-1, 1)):
        lines[f"frown_{number}"] = (
            np.array([[side * 0.07, who.brow_height - 0.64], [side * 0.055, who.brow_height - 0.44]]),
            0.0,
        )
        lines[f"bunny_{number}"] = (np.array([[side * 0.03, -0.20], [side * 0.17, -0.26]]), 0.1)
        lines[f"bunny_{number + 2}"] = (np.array([[side * 0.04, -0.10], [side * 0.19, -0.17]]), 0.1)
    lines["chin_dent"] = (_through((-0.14, 0.86), (0.0, 0.81), (0.14, 0.86)), 0.05)
    return lines


def project(points: Points, lift: NDArray[np.float64], pose: Pose, size: int) -> Points:
    """Turn points of an ellipsoid head and place them in the picture; a NaN lift marks the outline of the head."""
    x, y = points[:, 0], points[:, 1]
    dome = 0.85 * np.sqrt(np.maximum(0.0, 1.0 - 0.8 * x * x - 0.4 * y * y))
    z = np.where(np.isnan(lift), 0.10, dome + lift) - 0.60
    sin, cos = math.sin(pose.yaw), math.cos(pose.yaw)
    x, z = x * cos + z * sin, z * cos - x * sin
    y = y * math.cos(pose.pitch) - z * math.sin(pose.pitch)
    sin, cos = math.sin(pose.roll), math.cos(pose.roll)
    x, y = x * cos - y * sin, x * sin + y * cos
    return np.stack([(0.5 + pose.x + pose.scale * x) * size, (0.5 + pose.y + pose.scale * y) * size], axis=1)

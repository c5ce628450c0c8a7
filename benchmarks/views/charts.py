"""The page's pictures as inline SVG: nothing to load, nothing to run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from ..judging.figures import Figures
from ..report.document import Row

ENGINES = ("torch", "onnx", "ort", "openvino", "trt", "rtx", "native", "stock")

_WIDTH, _HEIGHT = 900, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 20, 50
_LEGEND = 24  # height of the line above a plot that says which colour is which engine
_LARGEST = 26.0  # radius of the largest model's circle
_SPAN = 5.1  # least quotient of a logarithmic axis' ends: two of 1, 2, 5, 10 lie within
_LINE, _LETTER = 15.0, 6.6  # height of a label, and width of a letter of it


@dataclass(frozen=True)
class Circle:
    """One of a picture: its area is in proportion to `area`, whatever that is."""

    label: str
    title: str
    x: float
    y: float
    area: float
    style: str  # class of the style sheet


def pareto(rows: Sequence[tuple[Row, Figures]]) -> str:
    """Accuracy against latency, the area of a circle its model's size: the paper's figure, with the front drawn in.

    Nothing for no rows.
    """
    if not rows:
        return ""
    several = len({row.variant for row, _ in rows}) > 1
    circles = [
        Circle(
            f"{row.variant} {row.target}" if several else row.target,
            f"{row.variant} {row.target}: {100 * found.accuracy:.2f} %, {found.p50_ms.value:.3f} ms, "
            f"{row.size_bytes / 1e6:.2f} MB",
            found.p50_ms.value,
            100 * found.accuracy,
            row.size_bytes,
            f"e{engine(row.target)}",
        )
        for row, found in rows
    ]
    front = sorted((found.p50_ms.value, 100 * found.accuracy) for _, found in _front(rows))
    engines = {ENGINES[place]: f"e{place}" for place in sorted({engine(row.target) for row, _ in rows})}
    return scatter(
        circles,
        "median round trip, ms",
        "accuracy on the test images, %",
        "Accuracy against latency",
        front=front,
        above=legend(engines),
    )


def scatter(
    circles: Sequence[Circle],
    across: str,
    up: str,
    title: str,
    *,
    front: Sequence[tuple[float, float]] = (),
    above: Sequence[str] = (),
) -> str:
    """Circles over a logarithmic x and a linear y, large ones behind; a line through `front`; what stands `above`."""
    xs, ys = [one.x for one in circles], [one.y for one in circles]
    margin = max(0.5, 0.1 * (max(ys) - min(ys)))
    scale_x = _times(min(xs), max(xs), 1.2, _LEFT)
    scale_y = _Scale(min(ys) - margin, max(ys) + margin, _HEIGHT - _BOTTOM, _TOP + _LEGEND)
    parts = [*_axis_x(scale_x, _HEIGHT, across, _TOP + _LEGEND), *_axis_y(scale_y, up)]
    if front:
        points = " ".join(f"{scale_x(x):.1f},{scale_y(y):.1f}" for x, y in front)
        parts.append(f'<polyline class="front" points="{points}"/>')
    largest = max(1, *(one.area for one in circles))
    taken: list[_Box] = []
    for one in sorted(circles, key=lambda one: -one.area):
        x, y = scale_x(one.x), scale_y(one.y)
        radius = max(3.0, _LARGEST * math.sqrt(one.area / largest))
        label = _beside(x, y, radius, one.label, taken)
        taken.append(label)
        parts.append(
            f'<circle class="row {one.style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
            f"<title>{escape(one.title)}</title></circle>"
            f'<text x="{label.left:.1f}" y="{label.top + _LINE - 3:.1f}">{escape(one.label)}</text>'
        )
    return _svg(_HEIGHT, title, [*parts, *above])


@dataclass(frozen=True)
class _Box:
    """Where a label lies, in pixels."""

    left: float
    top: float
    width: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.left + other.width
            and other.left < self.left + self.width
            and abs(self.top - other.top) < _LINE
        )


def _beside(x: float, y: float, radius: float, label: str, taken: Sequence[_Box]) -> _Box:
    """The place nearest above or below a circle where its label meets no other one and stays in the picture."""
    width = _LETTER * len(label)
    left = min(max(_LEFT, x - width / 2), _WIDTH - _RIGHT - width)
    steps = range(math.ceil(_HEIGHT / _LINE))
    tops = [top for step in steps for top in (y - radius - _LINE * (step + 1), y + radius + _LINE * step)]
    boxes = [_Box(left, top, width) for top in tops if _TOP + _LEGEND <= top <= _HEIGHT - _BOTTOM - _LINE]
    free = (box for box in boxes if not any(box.meets(other) for other in taken))
    return next(free, boxes[0])


def distributions(rows: Sequence[Row]) -> str:
    """Every row's round trips: a line from 1st to 99th percentile, a box of the middle half, the launches' medians."""
    if not rows:
        return ""
    samples = [np.concatenate([launch.samples_ns for launch in row.launches]) / 1e6 for row in rows]
    ends = [np.percentile(one, [1, 25, 75, 99]) for one in samples]
    left, pitch = 190, 24
    height = _TOP + pitch * len(rows) + _BOTTOM
    scale = _times(min(e[0] for e in ends), max(e[3] for e in ends), 1.1, left)
    parts = _axis_x(scale, height, "round trip, ms: 1 % to 99 %, middle half, and the median of each launch")
    for number, (row, end) in enumerate(zip(rows, ends)):
        y = _TOP + pitch * number + pitch / 2
        first, quarter, three, last = (scale(float(value)) for value in end)
        name = f"e{engine(row.target)}"
        parts.append(
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(f"{row.variant} {row.target}")}</text>'
            f'<line class="{name}" x1="{first:.1f}" x2="{last:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<rect class="{name}" fill-opacity=".35" x="{quarter:.1f}" width="{max(1.0, three - quarter):.1f}" '
            f'y="{y - 6:.1f}" height="12"/>'
        )
        for launch in row.launches:
            x = scale(float(np.median(launch.samples_ns)) / 1e6)
            parts.append(f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    return _svg(height, "Distributions of latency", parts)


def engine(target: str) -> int:
    """The place of a target's engine in ENGINES."""
    return next((place for place, name in enumerate(ENGINES) if target.startswith(name)), len(ENGINES) - 1)


class _Scale:
    """From values to pixels."""

    def __init__(self, low: float, high: float, start: float, end: float, *, logarithmic: bool = False) -> None:
        self.low, self.high, self._start, self._end = low, high, start, end
        self._map = math.log if logarithmic else float
        self._logarithmic = logarithmic

    def __call__(self, value: float) -> float:
        low, high = self._map(self.low), self._map(self.high)
        return self._start + (self._map(value) - low) / (high - low) * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Round values within the scale: 1, 2, 5 of each decade, or about six even steps."""
        if self._logarithmic:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            values = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
            return [value for value in values if self.low <= value <= self.high]
        rough = (self.high - self.low) / 6
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough)
        count = math.floor(self.high / step) - math.ceil(self.low / step) + 1
        return [(math.ceil(self.low / step) + place) * step for place in range(count)]


def _times(least: float, most: float, margin: float, start: float) -> _Scale:
    """A logarithmic x axis, with a factor `margin` beyond both ends, or as much as two numbers on it want."""
    spread = max(margin, math.sqrt(_SPAN * least / most))
    return _Scale(least / spread, most * spread, start, _WIDTH - _RIGHT, logarithmic=True)


def _front(rows: Sequence[tuple[Row, Figures]]) -> list[tuple[Row, Figures]]:
    def beaten(found: Figures) -> bool:
        return any(
            (other.p50_ms.value, -other.accuracy) != (found.p50_ms.value, -found.accuracy)
            and other.p50_ms.value <= found.p50_ms.value
            and other.accuracy >= found.accuracy
            for _, other in rows
        )

    return [(row, found) for row, found in rows if not beaten(found)]


def _axis_x(scale: _Scale, height: float, name: str, top: float = _TOP) -> list[str]:
    base = height - _BOTTOM
    parts = [
        f'<line class="axis" x1="{scale(tick):.1f}" x2="{scale(tick):.1f}" y1="{top}" y2="{base}"/>'
        f'<text x="{scale(tick):.1f}" y="{base + 16}" text-anchor="middle">{tick:g}</text>'
        for tick in scale.ticks()
    ]
    return [
        *parts,
        f'<text class="quiet" x="{_WIDTH / 2}" y="{height - 12}" text-anchor="middle">{escape(name)}</text>',
    ]


def _axis_y(scale: _Scale, name: str) -> list[str]:
    parts = [
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{scale(tick):.1f}" y2="{scale(tick):.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{scale(tick) + 4:.1f}" text-anchor="end">{tick:.4g}</text>'
        for tick in scale.ticks()
    ]
    middle = (_TOP + _LEGEND + _HEIGHT - _BOTTOM) / 2
    turned = f'transform="rotate(-90 14 {middle})"'
    return [*parts, f'<text class="quiet" x="14" y="{middle}" text-anchor="middle" {turned}>{escape(name)}</text>']


def legend(styles: Mapping[str, str]) -> list[str]:
    """A line above a plot: name -> class of the style sheet."""
    parts = []
    for number, (name, style) in enumerate(styles.items()):
        x = _LEFT + 10 + 95 * number
        parts.append(
            f'<circle class="{style}" cx="{x}" cy="{_TOP - 6}" r="5"/>'
            f'<text x="{x + 10}" y="{_TOP - 2}">{escape(name)}</text>'
        )
    return parts


def standing_alone(picture: str, style: str) -> str:
    """A picture of this module as a file of its own, with the page's style sheet; picture: as `pareto` gives it."""
    inside = picture.removeprefix('<div class="scroll">').removesuffix("</div>")
    size = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}"'
    ground = f'<style>{style}</style><rect width="100%" height="100%" fill="var(--paper)"/>'
    return inside.replace("<svg", size, 1).replace(">", f">{ground}", 1) + "\n"


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<div class="scroll"><svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg></div>"
    )

"""A report's plots as inline SVG and its heat as PNG: the same bytes for the same numbers."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer.explain.maps import Grid

# One colour a class, RAF-DB's seven first; each is readable on white and on black. Beyond twelve they come again.
COLORS = (
    *("#e8862b", "#8e63ce", "#4c9a52", "#c9a50c", "#3c7fdc", "#d3423a", "#7f8a94"),
    *("#d0609f", "#1fa3a0", "#9a6b3f", "#7a9a2e", "#5c6bc0"),
)
_RAISED = {"D^u": "D\u1d58", "D^v": "D\u1d5b", "D^e": "D\u1d49"}
_LINE = "#8a929a"
_DOTS = {"svg.hashsalt": "lc2fer", "svg.fonttype": "none", "font.size": 9.5, "axes.linewidth": 0.7}


def clouds(splits: Mapping[str, Mapping[str, Any]], labels: Sequence[str]) -> str:
    """t-SNE: one panel a split, a dot an image in its class's colour; a cross where the answer is wrong."""
    with _style():
        figure, panels = _figure(len(splits), 11.4, 4.1)
        points = np.array([point[:2] for split in splits.values() for point in split["points"]])
        low, high = points.min(axis=0), points.max(axis=0)
        margin = 0.04 * (high - low)
        for panel, (name, split) in zip(panels, splits.items()):
            places = np.array([point[:2] for point in split["points"]])
            target, found = (np.array([point[column] for point in split["points"]]) for column in (2, 3))
            for label in range(len(labels)):
                color = COLORS[label % len(COLORS)]
                right, wrong = (target == label) & (found == label), (target == label) & (found != label)
                panel.plot(*places[right].T, "o", ms=3.4, mew=0, alpha=0.8, color=color)
                panel.plot(*places[wrong].T, "x", ms=4.4, mew=1.2, color=color)
            panel.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
            panel.set(xticks=[], yticks=[], title=f"{_RAISED[name]}: {len(places):,} images")
        return _svg(figure, "t-SNE of the features of " + ", ".join(splits))


def attention(gradient: Mapping[str, Mapping[str, float]], covering: Mapping[str, Mapping[str, float]]) -> str:
    """Share of Grad-CAM's and of occlusion's heat in each part of the face, against chance and another face's part."""
    with _style():
        figure, (panel,) = _figure(1, 7.2, 0.85 * len(gradient) + 0.8)
        rows = np.arange(len(gradient))[::-1]
        for found, shift, color, dark in (
            (gradient, 0.2, "#e8862b", "#b3541e"),
            (covering, -0.2, "#4c9a52", "#2c6b34"),
        ):
            for row, one in zip((rows + shift).tolist(), found.values()):
                panel.barh(row, 100 * one["heat"], height=0.36, color=color, alpha=0.6, lw=0)
                panel.plot([100 * one["low"], 100 * one["high"]], [row, row], color=dark, lw=2, solid_capstyle="butt")
                panel.plot(100 * one["chance"], row, "|", ms=16, mew=2.4, color=_LINE)
                panel.plot(100 * one["another_face"], row, "D", ms=4.6, mew=1.3, mfc="none", color="#3c7fdc")
        panel.set(yticks=rows, yticklabels=list(gradient), xlabel="share of the heat, %")
        panel.set(ylim=(-0.55, len(rows) - 0.45))
        panel.set_xlim(0, None)
        panel.grid(axis="x", lw=0.5, alpha=0.4)
        panel.set_axisbelow(True)
        return _svg(figure, "Share of the heat in each part of the face")


def margins(leads: NDArray[np.float64], name: str) -> str:
    """Lead of the network's answer over the next class, in logits, in the network and in the other model: [N, 2]."""
    with _style():
        before, after = leads.T
        figure, (panel,) = _figure(1, 7.2, 3.9)
        kept = after > 0
        panel.axhline(0, color=_LINE, lw=1)
        top = float(before.max())
        panel.plot([0, top], [0, top], color=_LINE, lw=0.8, ls=(0, (4, 4)))
        panel.plot(before[kept], after[kept], "o", ms=3, mew=0, alpha=0.5, color="#3c7fdc")
        panel.plot(before[~kept], after[~kept], "o", ms=5, mew=0, alpha=0.95, color="#d3423a")
        panel.set(xlabel="lead in the trained network, logits", ylabel=f"lead in {name}, logits")
        panel.grid(lw=0.5, alpha=0.4)
        panel.set_axisbelow(True)
        return _svg(figure, f"Lead of the answer in the trained network and in {name}")


def heat_png(heat: Grid, top: float | None = None) -> str:
    """Heat [size, size] as a PNG in base64 to lie over a face: the hotter, the yellower and the less transparent.

    `top` is the heat that gets the last colour; default: the map's own largest.
    """
    from matplotlib import colormaps
    from PIL import Image

    top = float(heat.max()) if top is None else top
    level = np.clip(heat / top, 0, 1) if top > 0 else np.zeros_like(heat)
    colors = colormaps["inferno"](0.18 + 0.80 * level)
    colors[..., 3] = 0.05 + 0.72 * level**0.8
    return _base64(Image.fromarray(np.rint(255 * colors).astype(np.uint8), "RGBA"), "PNG")


def jpeg(pixels: NDArray[np.uint8]) -> str:
    """A picture [size, size, 3] as a JPEG in base64."""
    from PIL import Image

    return _base64(Image.fromarray(pixels), "JPEG")


def _base64(picture: Any, kind: str) -> str:
    file = io.BytesIO()
    picture.save(file, kind, **({"quality": 85} if kind == "JPEG" else {"optimize": True}))
    return base64.b64encode(file.getvalue()).decode("ascii")


def _style() -> Any:
    import matplotlib

    greys = dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), _LINE)
    settings: Any = _DOTS | greys
    return matplotlib.rc_context(settings)


def _figure(panels: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """A figure of so many panels side by side, in inches; no window and no global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    found = [figure.add_subplot(1, panels, place + 1) for place in range(panels)]
    for panel in found:
        panel.patch.set_alpha(0)
        panel.spines[["top", "right"]].set_visible(panels > 1)
    return figure, found


def _svg(figure: Any, title: str) -> str:
    """The figure as an element of a page: without the prolog, the metadata and the addresses in them."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", text)
    text = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)

"""The small parts of the report's page: numbers, pictures in layers, and matrices, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from lc2fer.data.face import Box
from lc2fer.explain.data import Pictures
from lc2fer.explain.plots import COLORS, jpeg

_RIGHT, _WRONG = "26 127 75", "179 38 30"  # red, green, blue


def matrix(names: Sequence[str], found: Mapping[str, Any], *, small: bool = False) -> str:
    tops = "".join(f'<th scope=col title="{escape(one)}">{escape(one[:3] if small else one)}</th>' for one in names)
    lines = []
    for label, (counts, shares) in enumerate(zip(found["counts"], found["shares"])):
        cells = "".join(
            f'<td style="background: rgb({_RIGHT if place == label else _WRONG} / {_tint(share)})"'
            f' title="{escape(names[label])} taken for {escape(names[place])}">'
            f"<b>{count}</b>{'' if small else f'<i>{100 * share:.1f}</i>'}</td>"
            for place, (count, share) in enumerate(zip(counts, shares))
        )
        recall, interval = found["recalls"][label], found["recall_intervals"][label]
        told = "-" if recall is None else share(recall)
        if not small and interval is not None:
            told += f"<i>{100 * interval[0]:.0f} to {100 * interval[1]:.0f}</i>"
        lines.append(
            f"<tr><th scope=row>{dot(label)}{escape(names[label])}</th>{cells}<td class=recall>{told}</td></tr>"
        )
    kind = "matrix small" if small else "matrix"
    return (
        f'<div class=scroll><table class="{kind}"><thead><tr><th></th>{tops}<th scope=col>recall</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _tint(share: float) -> str:
    """Opacity of a cell: few errors are to be seen too."""
    return f"{0 if share == 0 else 0.06 + 0.74 * share:.2f}"


def left_out(document: Mapping[str, Any]) -> str:
    """Why there are no pictures, where there are none."""
    if document["data"]["pictures"]:
        return ""
    return (
        " <em>The pictures are left out: RAF-DB's terms do not let them be passed on. --thumbnails copies them into a "
        "page that stays with you.</em>"
    )


def share(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%"


def points(value: float) -> str:
    return f"{100 * value:.1f} points"


def dot(label: int) -> str:
    return f'<span class=dot style="background: {COLORS[label % len(COLORS)]}"></span>'


def tile(stack: str, title: str, text: str, image: str, kind: str = "") -> str:
    caption = f"{title}<br><span class=quiet>{text}</span>" if text else title
    return f'<figure class="tile {kind}" title="{escape(image)}">{stack}<figcaption>{caption}</figcaption></figure>'


def stack(pictures: Pictures, place: int, *, heat: str | None = None, boxes: bool = False) -> str:
    """A face, its heat and the boxes of its parts, one over the other; nothing where there is nothing to be shown."""
    face = None if pictures.faces is None else jpeg(pictures.faces[place])
    size = 0 if pictures.faces is None else pictures.faces.shape[1]
    found = pictures.boxes.get(place, {}) if boxes else {}
    return layers(face, heat, found.values(), size)


def layers(face: str | None, heat: str | None, boxes: Iterable[Box] = (), size: int = 0) -> str:
    if face is None and heat is None:
        return ""
    parts = []
    if face is not None:
        parts.append(f'<img alt="" src="data:image/jpeg;base64,{face}">')
    if heat is not None:
        parts.append(f'<img alt="" class=heat src="data:image/png;base64,{heat}">')
    lines = "".join(
        f'<rect x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}" rx="2"/>'
        for x0, y0, x1, y1 in boxes
    )
    if lines:
        parts.append(f'<svg class=boxes viewBox="0 0 {size} {size}" aria-hidden="true">{lines}</svg>')
    return f'<div class="stack{"" if face is not None else " bare"}">{"".join(parts)}</div>'

"""The page's section on where the network looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from lc2fer.explain.data import Pictures
from lc2fer.explain.markup import dot, layers, left_out, points, share, stack, tile
from lc2fer.explain.plots import attention, heat_png, jpeg


def heat_section(document: Mapping[str, Any], pictures: Pictures) -> str:
    names, heat = document["labels"], document["heat"]
    rows = [
        f"<div class=row><h3>{dot(label)}{escape(name)}</h3>"
        f"<div class=tiles>{''.join(_class_tiles(document, pictures, label))}</div></div>"
        for label, name in enumerate(names)
    ]
    boxes = " The lines are the generator's boxes of mouth, eyes and brows." if heat["parts"] is not None else ""
    hover = " Point at a face to see it without its heat." if pictures.faces is not None else left_out(document)
    side = heat["occlusion"]["patch"]
    return (
        "<h2>Where it looks</h2>"
        f"<p class=quiet>Grad-CAM of the last stage's output ({heat['grid'][0]} x {heat['grid'][1]} cells) for the "
        f"answer that was given, each map on its own scale; rows are targets.{boxes} On the right a check that needs "
        f"no gradient, on the row's first faces: heat is how far the answer's logit falls when a patch of {side} x "
        f"{side} pixels is covered with the picture's mean colour.{hover}</p>"
        f"{''.join(rows)}{_parts(document)}"
    )


def _class_tiles(document: Mapping[str, Any], pictures: Pictures, label: int) -> list[str]:
    """One row: Grad-CAM of some images of a class, the mean of all of its maps, and occlusion maps."""
    names, heat = document["labels"], document["heat"]
    own = {one["place"]: one for one in heat["images"] if one["target"] == label}
    tiles = [
        tile(
            stack(pictures, place, heat=heat_png(pictures.heats[place]), boxes=True),
            _answer(names, one),
            share(one["probability"]),
            one["image"],
        )
        for place, one in own.items()
        if one["shown"]
    ]
    if label in pictures.mean_heats:
        faces = pictures.faces
        middle = None if faces is None else jpeg(np.rint(faces[list(own)].mean(axis=0)).astype(np.uint8))
        mean = layers(middle, heat_png(pictures.mean_heats[label]))
        tiles.append(tile(mean, f"mean of {len(own)}", "", names[label], "apart"))
    covered = [one for one in heat["occlusion"]["images"] if one["place"] in own and one["shown"]]
    for number, one in enumerate(covered):
        face = stack(pictures, one["place"], heat=heat_png(pictures.occlusions[one["place"]]), boxes=True)
        largest = max(0.0, *(max(line) for line in one["drops"]))
        tiles.append(tile(face, "covered", f"-{largest:.2f} at most", one["image"], "" if number else "apart"))
    return tiles


def _answer(names: Sequence[str], one: Mapping[str, Any]) -> str:
    kind = "better" if one["predicted"] == one["target"] else "worse"
    return f"<b class={kind}>{escape(names[one['predicted']])}</b>"


def _parts(document: Mapping[str, Any]) -> str:
    heat = document["heat"]
    if heat["parts"] is None or heat["occlusion"]["parts"] is None:
        return (
            "<p class=quiet>How much of the heat lies on mouth, eyes and brows is measured on procedural faces only, "
            "whose generator knows where they are.</p>"
        )
    columns = list(heat["parts"])
    head = "".join(f"<th>{escape(one)}</th>" for one in columns)
    rows = []
    for label, found in enumerate(heat["parts_by_class"]):
        cells = "".join(
            "<td>-</td>"
            if found is None
            else f'<td style="background: rgb(232 134 43 / {0.9 * found[one]:.2f})">{share(found[one])}</td>'
            for one in columns
        )
        rows.append(f"<tr><th scope=row>{dot(label)}{escape(document['labels'][label])}</th>{cells}</tr>")
    for title, key in (("all", "heat"), ("by chance", "chance"), ("another face's", "another_face")):
        cells = "".join(f"<td>{share(heat['parts'][one][key])}</td>" for one in columns)
        rows.append(f'<tr class="{"sum" if key == "heat" else "quiet"}"><th scope=row>{title}</th>{cells}</tr>')
    silent = f" {heat['without_heat']} maps were nowhere positive and are left out." if heat["without_heat"] else ""
    return (
        "<h3>Share of the heat on the parts of the face</h3><div class=pair><div class=plot>"
        f"{attention(heat['parts'], heat['occlusion']['parts'])}<p class=quiet>Orange: mean of {heat['maps']} Grad-CAM "
        f"maps. Green: mean of {heat['occlusion']['maps']} occlusion maps. Both with the 95 % interval of a bootstrap "
        "over images. Grey tick: the part's share of the picture, which is what heat without aim would give. Blue "
        f"diamond: the same maps against another face's part.{silent}</p></div>"
        "<div class=scroll><table class=numbers><thead>"
        f"<tr><th>Grad-CAM</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></div>"
        f"<p>{_verdict('Grad-CAM', heat['parts']['together'])} "
        f"{_verdict('Occlusion', heat['occlusion']['parts']['together'])}</p>"
        "<p class=quiet>Where the two disagree, covering is the more direct: a cell of the last stage depends on "
        f"{heat['cell_sees']} x {heat['cell_sees']} pixels around it, so Grad-CAM tells in which cells the evidence "
        "was gathered, and not from where it came.</p>"
    )


def _verdict(method: str, found: Mapping[str, float]) -> str:
    """What a share of heat on all parts together says against chance and against another face."""
    place = (
        "above" if found["low"] > found["chance"] else "below" if found["high"] < found["chance"] else "not told from"
    )
    return (
        f"{method}: {share(found['heat'])} of the heat ({share(found['low'])} to {share(found['high'])}) lies on "
        f"mouth, eyes and brows, {found['heat'] / found['chance']:.2f} times their {share(found['chance'])} of the "
        f"picture and so {place} chance; {points(found['gain'])} of it ({100 * found['gain_low']:.1f} to "
        f"{100 * found['gain_high']:.1f}) would not lie on another face's parts."
    )

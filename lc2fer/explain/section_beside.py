"""The page's section on another model of the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from lc2fer.explain.data import Pictures
from lc2fer.explain.maps import enlarge, patch_centres
from lc2fer.explain.markup import dot, left_out, matrix, share, stack, tile
from lc2fer.explain.plots import heat_png, margins

_CHANGED = 24  # the most changed answers that are shown; the JSON file lists all


def beside_section(document: Mapping[str, Any], pictures: Pictures) -> str:
    names, found = document["labels"], document["beside"]
    first, second = found["accuracy"]
    noise = "no difference at all" if found["sqnr_db"] is None else f"{found['sqnr_db']:.1f} dB"
    facts = [
        ("accuracy", f"{share(first)} the network, {share(second)} {escape(found['name'])}"),
        ("same answers", f"{share(found['agreement'])}; {found['changed']:,} changed"),
        ("logits: signal to noise", noise),
        ("logits: differences", f"{found['rms']:.4f} root mean square, {found['max_abs']:.4f} at most"),
        ("lead of the answers", f"{found['median_lead']:.2f} logits, the median of all"),
    ]
    if found["largest_lead_lost"] is not None:
        facts.insert(2, ("of the changed", f"{found['worse']:,} were right before, {found['better']:,} are right now"))
        facts.append(("lead of the changed ones", f"{found['largest_lead_lost']:.2f} logits at most"))
    table = "".join(f"<tr><th scope=row>{name}</th><td>{value}</td></tr>" for name, value in facts)
    biases = "".join(
        f"<tr><th scope=row>{dot(label)}{escape(name)}</th><td>{found['mean_by_class'][label]:+.4f}</td>"
        f"<td>{found['rms_by_class'][label]:.4f}</td></tr>"
        for label, name in enumerate(names)
    )
    return (
        f"<h2>Beside {escape(found['name'])}</h2><p class=quiet>{escape(found['target'])}, made from the same weights, "
        "on the same images of D<sup>e</sup>.</p>"
        f"<div class=pair><table class=facts><tbody>{table}</tbody></table>"
        "<table class=numbers><thead><tr><th>logit of</th><th>mean difference</th><th>root mean square</th></tr>"
        f"</thead><tbody>{biases}</tbody></table></div>"
        f"<div class=pair><div><h3>the trained network</h3>{matrix(names, document['confusion'], small=True)}</div>"
        f"<div><h3>{escape(found['name'])}</h3>{matrix(names, found['confusion'], small=True)}</div></div>"
        "<h3>How sure the answers are</h3><div class=plot>"
        f"{margins(np.array(found['leads']), found['target'])}"
        "<p class=quiet>Lead of the network's answer over the next class. Below zero, in red: the other model answers "
        "something else.</p></div>"
        f"{_changes(document, pictures)}{_occlusions(document, pictures)}"
    )


def _changes(document: Mapping[str, Any], pictures: Pictures) -> str:
    names, found = document["labels"], document["beside"]["images"]
    if not found:
        return "<h3>Changed answers</h3><p>Every answer is the network's.</p>"
    tiles = []
    for one in found[:_CHANGED]:
        kind = "better" if one["after"] == one["target"] else "worse" if one["before"] == one["target"] else "quiet"
        tiles.append(
            tile(
                stack(pictures, one["place"]),
                f"{escape(names[one['before']])} &rarr; <b class={kind}>{escape(names[one['after']])}</b>",
                f"{share(one['before_probability'])} &rarr; {share(one['after_probability'])}<br>"
                f"target {escape(names[one['target']])}",
                one["image"],
            )
        )
    return (
        f"<h3>Changed answers</h3><p class=quiet>{len(tiles)} of {len(found):,}, the network's surest first: its "
        f"answer &rarr; the other's, with the probability that each gives to its own.{left_out(document)}</p>"
        f'<div class="tiles even">{"".join(tiles)}</div>'
    )


def _occlusions(document: Mapping[str, Any], pictures: Pictures) -> str:
    names, found = document["labels"], document["beside"]["occlusion"]
    cards = []
    for one in found["images"]:
        size = max(found["starts"]) + found["patch"]
        sides = [enlarge(np.maximum(one[side], 0), patch_centres(size), size) for side in ("network", "other")]
        top = max(float(side.max()) for side in sides)
        told = f"r = {one['correlation']:.3f}" if one["correlation"] is not None else "no drop"
        title = f"<b>{escape(names[one['answer']])}</b>"
        if one["other_answer"] != one["answer"]:
            title += f", the other: <b class=worse>{escape(names[one['other_answer']])}</b>"
        pair = "".join(
            f"<div>{stack(pictures, one['place'], heat=heat_png(side, top))}<small>{name}</small></div>"
            for name, side in zip(("network", document["beside"]["target"]), sides)
        )
        cards.append(
            f'<figure class=two title="{escape(one["image"])}"><div>{pair}</div>'
            f"<figcaption>{title}<br><span class=quiet>target {escape(names[one['target']])}, {told}</span>"
            "</figcaption></figure>"
        )
    return (
        "<h3>What each of the two needs to see</h3>"
        f"<p class=quiet>Grad-CAM needs gradients, and an exported model has none. So both are asked in a way that "
        f"answers suffice for: a patch of {found['patch']} x {found['patch']} pixels is covered by the image's mean "
        "colour, and the heat is how far the logit of the network's answer falls. Both maps of a face have one scale; "
        f"r is their correlation.</p><div class=tiles>{''.join(cards)}</div>"
    )

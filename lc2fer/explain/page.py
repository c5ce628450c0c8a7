"""The report as one HTML file that loads nothing and runs nothing: every number in it is the document's."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import Any

from lc2fer.explain.data import Pictures
from lc2fer.explain.markup import dot, left_out, matrix, share, stack, tile
from lc2fer.explain.plots import clouds
from lc2fer.explain.section_beside import beside_section
from lc2fer.explain.section_heat import heat_section


def page(document: Mapping[str, Any], pictures: Pictures) -> str:
    """The whole file."""
    title = f"{document['config']} explained"
    style = (resources.files("lc2fer.explain") / "page.css").read_text(encoding="utf-8")
    parts = [
        f"<h1>{escape(title)}</h1>",
        _heading(document),
        _cards(document),
        _matrix_section(document),
        _confused_section(document, pictures),
        _space_section(document),
        heat_section(document, pictures),
        *([beside_section(document, pictures)] if document["beside"] is not None else []),
        _notes(document),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>LC2FER {escape(title)}</title>'
        f"<style>\n{style}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


# -- the top ----------------------------------------------------------------------------------------------------------


def _heading(document: Mapping[str, Any]) -> str:
    data, weights = document["data"], document["weights"]
    kind = "procedural faces" if data["procedural"] else f"{data['images']} images"
    return (
        f"<p class=quiet>{escape(weights['name'])} ({weights['sha256'][:12]}) on {escape(data['name'])}, {kind}. "
        "D<sup>u</sup> is what the training part is trained on, D<sup>v</sup> what of it is held out to select the "
        "model, D<sup>e</sup> the test part.</p>"
    )


def _cards(document: Mapping[str, Any]) -> str:
    confusion, splits, heat = document["confusion"], document["space"]["splits"], document["heat"]
    low, high = confusion["accuracy_interval"]
    cards = [
        (share(confusion["accuracy"]), f"accuracy on D<sup>e</sup>, {share(low)} to {share(high)}"),
        (share(confusion["mean_class_accuracy"]), "mean of the classes' recalls"),
        (
            share(splits["D^e"]["purity"]),
            f"of an image's {document['space']['neighbours']} neighbours are of its class; by chance "
            f"{share(splits['D^e']['purity_by_chance'])}",
        ),
    ]
    if heat["parts"] is not None:
        both = heat["parts"]["together"]
        cards.append(
            (share(both["heat"]), f"of the heat on mouth, eyes and brows, {share(both['chance'])} of the picture")
        )
    if document["beside"] is not None:
        beside = document["beside"]
        cards.append((share(beside["agreement"]), f"of {escape(beside['target'])}'s answers are the network's"))
    return (
        "<div class=cards>" + "".join(f"<div><b>{big}</b><span>{small}</span></div>" for big, small in cards) + "</div>"
    )


# -- the matrix -------------------------------------------------------------------------------------------------------


def _matrix_section(document: Mapping[str, Any]) -> str:
    found = document["confusion"]
    return (
        "<h2>What is taken for what</h2>"
        f"<p class=quiet>{found['images']:,} of the {found['available']:,} images of D<sup>e</sup>: targets down, "
        "answers across; the colour is the share of the row. Recall is the diagonal's share, with its 95 % interval."
        f"</p><div class=pair>{matrix(document['labels'], found)}{_pairs(document)}</div>"
    )


def _pairs(document: Mapping[str, Any]) -> str:
    names, found = document["labels"], document["confusion"]["pairs"]
    if not found:
        return ""
    rows = "".join(
        f"<tr><td>{dot(one['target'])}{escape(names[one['target']])} &gt; {escape(names[one['predicted']])}</td>"
        f"<td>{one['count']}</td><td>{share(one['share'])}</td></tr>"
        for one in found
    )
    return (
        "<div><table class=numbers><thead><tr><th>target &gt; answer</th><th>images</th><th>share</th></tr>"
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


# -- the surest errors ------------------------------------------------------------------------------------------------


def _confused_section(document: Mapping[str, Any], pictures: Pictures) -> str:
    names, found = document["labels"], document["confused"]
    head = "<h2>The surest errors</h2>"
    if not found:
        return f"{head}<p>There is no wrong answer.</p>"
    tiles = [
        tile(
            stack(pictures, one["place"]),
            f"{escape(names[one['target']])} &gt; <b class=worse>{escape(names[one['predicted']])}</b>",
            f"{share(one['probability'])} / {share(one['target_probability'])}",
            one["image"],
        )
        for one in found
    ]
    return (
        f"{head}<p class=quiet>{len(found)} of {document['confusion']['wrong']:,} errors, at most three of a pair: "
        f"target &gt; answer, and the probabilities that the network gave to the answer and to the target."
        f'{left_out(document)}</p><div class="tiles even">{"".join(tiles)}</div>'
    )


# -- the features -----------------------------------------------------------------------------------------------------


def _space_section(document: Mapping[str, Any]) -> str:
    space = document["space"]
    legend = "".join(f"<span>{dot(label)}{escape(name)}</span>" for label, name in enumerate(document["labels"]))
    rows = "".join(
        f"<tr><th scope=row>{_set(name)}</th><td>{split['answered']:,} of {split['available']:,}</td>"
        f"<td>{share(split['accuracy'])}</td><td>{split['images']:,}</td>"
        + "".join(f"<td>{share(split[key])}</td>" for key in ("purity", "purity_of_picture", "purity_by_chance"))
        + "</tr>"
        for name, split in space["splits"].items()
    )
    return (
        "<h2>Where the features lie</h2>"
        "<p class=quiet>t-SNE of what enters the head's linear layer, made once for all three panels, so that a place "
        "means the same in each. Dots are right answers, crosses wrong ones.</p>"
        f"<p class=legend>{legend}</p><div class=scroll>{clouds(space['splits'], document['labels'])}</div>"
        "<div class=scroll><table class=numbers><thead><tr><th></th><th>images</th><th>accuracy</th>"
        "<th>in the picture</th><th>purity of the features</th><th>purity of the picture</th><th>by chance</th></tr>"
        f"</thead><tbody>{rows}</tbody></table></div>"
        f"<p class=quiet>Purity: how many of an image's {space['neighbours']} nearest images of its split are of its "
        "class. Compare the splits by the purity of the features: t-SNE keeps neighbours together and invents the "
        "gaps, sizes and distances of the clusters.</p>"
    )


def _set(name: str) -> str:
    return f"D<sup>{escape(name[-1])}</sup>"


# -- the end -----------------------------------------------------------------------------------------------------------


def _notes(document: Mapping[str, Any]) -> str:
    tools = ", ".join(f"{name} {version}" for name, version in document["tools"].items())
    lines = [
        "A heat map tells what the answer's logit is sensitive to on the last stage's coarse grid. It does not tell "
        "why, and a map that looks right is no proof that the network is.",
        f"Every number of this page stands in {document['config']}-explain.json beside it.",
        f"Made with {tools}.",
    ]
    if document["data"]["procedural"]:
        lines.insert(1, "The faces are drawn by a program; nothing here says how the network does on photographs.")
    return "<h2>To be known</h2>" + "".join(f"<p class=quiet>{escape(line)}</p>" for line in lines)

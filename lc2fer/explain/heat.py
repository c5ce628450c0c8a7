"""Where a network looks, as a section of the report's document: Grad-CAM, and covering patches to check it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer import metrics
from lc2fer.data.face import Face, regions
from lc2fer.explain.data import Part, Pictures
from lc2fer.explain.maps import PARTS, Grid, Run, attention, enlarge, occlusion, patch_centres, patches, shares
from lc2fer.explain.model import centres, field, grad_cam
from lc2fer.network.model import Network

MEASURED, SHOWN = 30, 5  # Grad-CAM maps a class
OCCLUDED, OCCLUDED_SHOWN = 3, 2  # occlusion maps a class: each costs some 150 answers


def heat(
    network: Network,
    run: Run,
    part: Part,
    names: Sequence[str],
    logits: NDArray[np.float32],
    faces: Sequence[Face] | None,
    pictures: Pictures,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Heat maps of the answers to some images of each class and, where the faces were drawn, its share in their parts.

    `run` is the network as a function of raw pixels; the maps themselves go into `pictures`.
    """
    size = part.pixels.shape[1]
    classes = logits.shape[1]
    places = _first(part, MEASURED, classes)
    predicted, probabilities = metrics.predictions(logits), metrics.softmax(logits)
    if faces is not None:
        pictures.boxes.update((place, regions(faces[place], size)) for place in places)
    say(f"Grad-CAM of {len(places)} images")
    grids = grad_cam(network, part.pixels[places], predicted[places])
    cells = centres(network.variant, size)
    pictures.heats.update((place, enlarge(grid, cells, size)) for place, grid in zip(places, grids))
    shown = set(_first(part, SHOWN, classes))
    listed = [
        {
            "place": place,
            "image": names[place],
            "target": int(part.labels[place]),
            "predicted": int(predicted[place]),
            "probability": float(probabilities[place, predicted[place]]),
            "shown": place in shown,
            "grid": grid.tolist(),
            "parts": _parts(pictures, place),
        }
        for place, grid in zip(places, grids)
    ]
    for label in range(classes):
        own = [pictures.heats[entry["place"]] for entry in listed if entry["target"] == label]
        alike = [each / each.sum() for each in own if each.sum() > 0]
        if alike:
            pictures.mean_heats[label] = np.mean(alike, axis=0)
    return {
        "grid": list(grids.shape[1:]),
        "cell_sees": field(network.variant),
        "centres": cells.tolist(),
        "images": listed,
        **_attention(pictures.heats, pictures),
        "parts_by_class": None if faces is None else _by_class(listed, classes),
        "occlusion": _occlusion(run, part, names, predicted, classes, pictures, say),
    }


def _first(part: Part, count: int, classes: int) -> list[int]:
    """Places of the first images of each class, in order."""
    return sorted(place for label in range(classes) for place in np.flatnonzero(part.labels == label)[:count].tolist())


def _parts(pictures: Pictures, place: int) -> dict[str, list[float]] | None:
    """Share of the heat and of the area in each part of a drawn face; None where there is no heat, or no such face."""
    found = pictures.heats[place]
    if place not in pictures.boxes or not found.sum() > 0:
        return None
    return {name: list(pair) for name, pair in shares(found, pictures.boxes[place]).items()}


def _attention(heats: dict[int, Grid], pictures: Pictures) -> dict[str, Any]:
    """How many maps have any heat, and its share in the parts of the face; a map that is nowhere positive has none."""
    alive = [place for place, found in heats.items() if found.sum() > 0]
    measured = alive if pictures.boxes else []
    return {
        "maps": len(alive),
        "without_heat": len(heats) - len(alive),
        "parts": attention([heats[place] for place in measured], [pictures.boxes[place] for place in measured])
        if measured
        else None,
    }


def _by_class(listed: Sequence[dict[str, Any]], classes: int) -> list[dict[str, float] | None]:
    """For each class of target: part -> mean share of the heat."""
    found: list[dict[str, float] | None] = []
    for label in range(classes):
        own = [entry["parts"] for entry in listed if entry["target"] == label and entry["parts"] is not None]
        found.append({part: float(np.mean([one[part][0] for one in own])) for part in PARTS} if own else None)
    return found


def _occlusion(
    run: Run,
    part: Part,
    names: Sequence[str],
    predicted: NDArray[np.int64],
    classes: int,
    pictures: Pictures,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """How far the answer's logit falls where a patch is covered, for fewer images."""
    size = part.pixels.shape[1]
    places, shown = _first(part, OCCLUDED, classes), set(_first(part, OCCLUDED_SHOWN, classes))
    say(f"occlusion of {len(places)} images")
    listed = []
    for place in places:
        drops = occlusion(run, part.batch([place])[0], int(predicted[place]))
        pictures.occlusions[place] = enlarge(np.maximum(drops, 0), patch_centres(size), size)
        listed.append({"place": place, "image": names[place], "shown": place in shown, "drops": drops.tolist()})
    side, starts = patches(size)
    return {"patch": side, "starts": starts, "images": listed, **_attention(pictures.occlusions, pictures)}

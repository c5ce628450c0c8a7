"""A trained network and a model made from it, on the same images: answers, logits and what each looks at."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer import artifact as artifacts
from lc2fer import metrics
from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError
from lc2fer.explain.data import Part
from lc2fer.explain.findings import confusion
from lc2fer.explain.maps import Run, correlation, occlusion, patches
from lc2fer.inputs import InputSpec
from lc2fer.session import Session, open_session

CHANGED_MAPS, SAME_MAPS = 3, 5  # images with occlusion maps: with a changed answer, and with the same one
_CHUNK = 64  # images at once

Say = Callable[[str], None]


def beside(
    artifact: Artifact, network: Run, part: Part, names: Sequence[str], logits: NDArray[np.float32], say: Say
) -> dict[str, Any]:
    """The comparison of the network, as a function of raw pixels and by its logits, with that artifact."""
    with open_session(artifact) as session:
        say(f"answers of {artifact.name}")
        others = answers(session, part)
        say("occlusion of both")
        occluded = maps(part, chosen(part, logits, others), names, network, session.run)
    answered = metrics.predictions(logits)
    return {
        "name": artifact.path.name,
        "target": artifact.target,
        "sha256": artifact.sha256,
        **compare(part.labels, logits, others),
        "confusion": confusion(part, others),
        "images": changed(part, names, logits, others),
        "leads": [list(pair) for pair in zip(leads(logits, answered).tolist(), leads(others, answered).tolist())],
        "occlusion": occluded,
    }


def check(path: Path, config: str, spec: InputSpec, sha256: str) -> Artifact:
    """The artifact beside which the network is put; raises ArtifactError where it was made from other weights."""
    artifact = artifacts.load(path)
    if artifact.variant != config:
        raise ArtifactError(
            f"{path} is a {artifact.variant}. A model made from the {config} that is explained was expected. "
            f"Pass --config {artifact.variant}, or another --beside."
        )
    proof = artifact.proof or {}
    own = artifact.sha256 if artifact.kind == "checkpoint" else None
    known = [one for one in (artifact.parent_sha256, proof.get("reference_sha256"), own) if one]
    if sha256 not in known:
        made = f"made from the weights {known[0][:12]}..." if known else "of unknown weights"
        raise ArtifactError(
            f"{path} is {made}. A model made from the explained weights, {sha256[:12]}..., was expected. "
            "Export it again from these weights, or pass its own as --weights."
        )
    if artifact.input_spec != spec:
        raise ArtifactError(
            f"{path} takes images of {artifact.input_spec.size} pixels with {len(artifact.input_spec.labels)} labels. "
            f"The weights' {spec.size} pixels and {len(spec.labels)} labels were expected. Export it again."
        )
    return artifact


def answers(session: Session, part: Part) -> NDArray[np.float32]:
    """Logits [N, classes] of a split's images."""
    starts = range(0, len(part.labels), _CHUNK)
    return np.concatenate([session.run(part.batch(slice(start, start + _CHUNK))) for start in starts])


def compare(labels: NDArray[np.int64], before: NDArray[np.float32], after: NDArray[np.float32]) -> dict[str, Any]:
    """How far the logits `after` are from `before`, and what that does to the answers."""
    first, second = metrics.predictions(before), metrics.predictions(after)
    flips = metrics.flips(labels, first, second)
    difference = after.astype(np.float64) - before.astype(np.float64)
    noise = metrics.sqnr_db(before, after)
    changed = first != second
    lead = leads(before, first)
    return {
        "accuracy": [metrics.accuracy(labels, first), metrics.accuracy(labels, second)],
        "agreement": metrics.agreement(first, second),
        "better": flips.better,
        "worse": flips.worse,
        "changed": int(changed.sum()),
        "sqnr_db": noise if math.isfinite(noise) else None,
        "max_abs": metrics.max_abs(before, after),
        "rms": float(np.sqrt((difference**2).mean())),
        "mean_by_class": difference.mean(axis=0).tolist(),
        "rms_by_class": np.sqrt((difference**2).mean(axis=0)).tolist(),
        "median_lead": float(np.median(lead)),
        "largest_lead_lost": float(lead[changed].max()) if changed.any() else None,
    }


def leads(logits: NDArray[np.float32], answered: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far each image's answer lies above the best other class, in logits [N]; negative where it is not above."""
    values = logits.astype(np.float64)
    places = np.arange(len(values))
    own = values[places, answered]
    values[places, answered] = -np.inf
    return np.asarray(own - values.max(axis=1), np.float64)


def changed(
    part: Part, names: Sequence[str], before: NDArray[np.float32], after: NDArray[np.float32]
) -> list[dict[str, Any]]:
    """The images whose answer changed, those that the network was surest of first."""
    first, second = metrics.predictions(before), metrics.predictions(after)
    p_first, p_second = metrics.softmax(before), metrics.softmax(after)
    lead = leads(before, first)
    places = sorted(np.flatnonzero(first != second).tolist(), key=lambda place: (-lead[place], place))
    return [
        {
            "place": place,
            "image": names[place],
            "target": int(part.labels[place]),
            "before": int(first[place]),
            "after": int(second[place]),
            "before_probability": float(p_first[place, first[place]]),
            "after_probability": float(p_second[place, second[place]]),
            "lead": float(lead[place]),
        }
        for place in places
    ]


def chosen(part: Part, before: NDArray[np.float32], after: NDArray[np.float32]) -> list[int]:
    """Places of the few images that get occlusion maps: some changed answers, then one a class where none changed."""
    first, second = metrics.predictions(before), metrics.predictions(after)
    places = np.flatnonzero(first != second).tolist()[:CHANGED_MAPS]
    for label in range(before.shape[1]):
        same = np.flatnonzero((first == second) & (first == part.labels) & (part.labels == label))
        if len(same) and len(places) < CHANGED_MAPS + SAME_MAPS:
            places.append(int(same[0]))
    return places


def maps(part: Part, places: list[int], names: Sequence[str], network: Run, other: Run) -> dict[str, Any]:
    """Occlusion maps of both models on those images, of the class that the network answered."""
    found = []
    for place in places:
        image = part.batch([place])[0]
        label = int(metrics.predictions(network(image[None]))[0])
        first, second = occlusion(network, image, label), occlusion(other, image, label)
        found.append(
            {
                "place": place,
                "image": names[place],
                "target": int(part.labels[place]),
                "answer": label,
                "other_answer": int(metrics.predictions(other(image[None]))[0]),
                "network": first.tolist(),
                "other": second.tolist(),
                "correlation": correlation(first, second),
            }
        )
    side, starts = patches(part.pixels.shape[1])
    return {"patch": side, "starts": starts, "images": found}

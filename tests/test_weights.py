"""The bundled weights are what their cards say: they still read faces."""

from __future__ import annotations

import numpy as np
import pytest

from lc2fer import artifact as artifacts
from lc2fer import metrics, open_session
from lc2fer.data.synthetic import draw, sample
from lc2fer.inputs import InputSpec


@pytest.mark.parametrize(("variant", "limit"), [("C5", 3_500_000), ("C6", 2_000_000), ("C8", 800_000)])
def test_bundled_weights_read_procedural_faces(variant: str, limit: int) -> None:
    bundled = artifacts.bundled(variant)
    assert bundled is not None
    assert bundled.with_suffix(".md").is_file()
    artifact = artifacts.load(bundled)
    assert artifact.variant == variant
    assert artifact.size_bytes < limit
    assert artifact.input_spec == InputSpec()
    labels = [place % 7 for place in range(140)]
    rng = np.random.default_rng(99)  # not the seed of any written data set
    batch = np.stack([artifact.input_spec.apply(draw(sample(label, rng))) for label in labels])
    with open_session(artifact) as session:
        logits = session.run(batch)
    assert metrics.accuracy(labels, logits.argmax(axis=1)) > 0.75
    assert metrics.mean_class_accuracy(labels, logits.argmax(axis=1)) > 0.75

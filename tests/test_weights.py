"""The bundled C6 is what its card says: it still reads faces."""

from __future__ import annotations

import numpy as np

from lc2fer import artifact as artifacts
from lc2fer import metrics, open_session
from lc2fer.data.synthetic import draw, sample
from lc2fer.inputs import InputSpec


def test_bundled_c6_reads_procedural_faces() -> None:
    bundled = artifacts.bundled("C6")
    assert bundled is not None
    artifact = artifacts.load(bundled)
    assert artifact.size_bytes < 2_000_000
    assert artifact.input_spec == InputSpec()
    labels = [place % 7 for place in range(140)]
    rng = np.random.default_rng(99)  # not the seed of any written data set
    batch = np.stack([artifact.input_spec.apply(draw(sample(label, rng))) for label in labels])
    with open_session(artifact) as session:
        logits = session.run(batch)
    assert metrics.accuracy(labels, logits.argmax(axis=1)) > 0.75
    assert metrics.mean_class_accuracy(labels, logits.argmax(axis=1)) > 0.75

"""Golden faces of models of any classes."""

from __future__ import annotations

import numpy as np
from lc2fer.deploy.device import golden

from lc2fer.inputs import LABELS, InputSpec


def test_all_models_get_the_same_faces() -> None:
    seven = golden.faces(InputSpec(size=16))
    assert seven.shape == (golden.COUNT, 16, 16, 3)
    for labels in (("a", "b", "c", "d", "e"), (*LABELS, "contempt")):
        np.testing.assert_array_equal(golden.faces(InputSpec(size=16, labels=labels)), seven)


def test_answers_of_five_classes_are_judged() -> None:
    reference = np.random.default_rng(0).normal(0, 3, (golden.COUNT, 5)).astype(np.float32)
    assert golden.judge("x", reference, reference + 1e-3, 40.0).passed
    assert golden.judge("x", reference, np.roll(reference, 1, axis=1), 40.0).agreement < 0.5

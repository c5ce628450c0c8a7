"""Level 4, accuracy: the files that engines are built from, as written, on labelled faces, by two other engines.

Accuracy that ONNX Runtime and OpenVINO compute says that the file is right, not that TensorRT computes it so.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lc2fer.deploy.sessions import onnxruntime as deploy
from lc2fer.export.pipeline import Pipeline

from lc2fer import metrics, open_session
from lc2fer.data import labels_of, open_dataset, read_pixels

COUNT = 210  # procedural test images, 30 a class
ROUNDING = {"onnx-fp32": 60.0, "onnx-fp16": 40.0, "onnx-int8": 25.0, "onnx-int8-fp16": 25.0}  # dB of logit SQNR


@pytest.mark.every
def test_l4_the_bundled_network_keeps_its_accuracy(tmp_path: Path) -> None:
    pipeline = Pipeline("C6", tmp_path, calibration_images=64)
    spec = pipeline.checkpoint.input_spec
    by_class: dict[int, list] = {}
    for sample in open_dataset("synthetic").test:
        by_class.setdefault(sample.label, []).append(sample)
    samples = [sample for label in sorted(by_class) for sample in by_class[label][: COUNT // len(by_class)]]
    pixels = read_pixels(samples, spec).transpose(0, 3, 1, 2).astype(np.float32)
    labels = labels_of(samples)
    with open_session(pipeline.checkpoint) as session:
        reference = session.run(pixels)
    expected = (reference.argmax(axis=1) == labels).mean()
    assert len(samples) == COUNT
    assert expected > 0.9
    import openvino

    for target, sqnr_db in ROUNDING.items():
        artifact = pipeline.export(target)
        with deploy.load(artifact, threads=1, optimize=False) as session:
            logits = session.run(pixels)
        compiled = openvino.Core().compile_model(str(artifact.path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        others = np.concatenate([compiled(image[None])[0] for image in pixels])
        for found in (logits, others):
            accuracy = (found.argmax(axis=1) == labels).mean()
            assert abs(accuracy - expected) <= 3 / COUNT, (target, accuracy, expected)
            assert metrics.sqnr_db(reference, found) > sqnr_db, target

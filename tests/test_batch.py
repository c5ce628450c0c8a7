"""What a session takes, what it refuses, and what it tells once because it is rarely meant."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lc2fer.artifact import Artifact
from lc2fer.batch import Gate, check
from lc2fer.errors import UsageError
from lc2fer.inputs import InputSpec
from lc2fer.opened import Opened


def artifact(size: int = 100) -> Artifact:
    return Artifact(Path("C6-x.onnx"), "onnx", "x", "C6", InputSpec(size=size))


@pytest.fixture
def gate() -> Gate:
    return Gate(artifact(4))


def pixels(*values: float) -> np.ndarray:
    """A picture of 127 with these values at its start, float32 [1,3,4,4]."""
    made = np.full((1, 3, 4, 4), 127, np.float32)
    made.flat[: len(values)] = values
    return made


def told(gate: Gate, batches: list[np.ndarray]) -> list[str]:
    """What is warned of while these pass."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for batch in batches:
            gate.passed(batch)
    return [str(each.message) for each in found]


@pytest.mark.parametrize(
    ("batch", "given"),
    [
        (np.zeros((1, 3, 100, 100), np.float64), "float64 [1, 3, 100, 100]"),
        (np.zeros((1, 3, 100, 100), np.uint8), "uint8 [1, 3, 100, 100]"),
        (np.zeros((1, 3, 100, 100), ">f4"), ">f4 [1, 3, 100, 100]"),
        (np.zeros((3, 100, 100), np.float32), "float32 [3, 100, 100]"),
        (np.zeros((1, 100, 100, 3), np.float32), "float32 [1, 100, 100, 3]"),
        (np.zeros((2, 3, 48, 48), np.float32), "float32 [2, 3, 48, 48]"),
        (np.zeros((0, 3, 100, 100), np.float32), "float32 [0, 3, 100, 100]"),
        ([[1.0]], "a list"),
        (None, "a NoneType"),
    ],
)
def test_a_wrong_batch_is_refused(batch: Any, given: str) -> None:
    with pytest.raises(UsageError) as refused:
        check(batch, artifact())
    assert str(refused.value) == (
        f"C6-x was given {given}. Expected float32 [N, 3, 100, 100] of raw RGB pixels, 0..255. "
        "Prepare images with session.artifact.input_spec.apply."
    )


@pytest.mark.parametrize(("count", "size"), [(1, 100), (5, 48)])
def test_a_right_batch_passes(count: int, size: int) -> None:
    check(np.zeros((count, 3, size, size), np.float32), artifact(size))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (float("nan"), "values that are not finite (NaN or infinity)"),
        (float("inf"), "values that are not finite (NaN or infinity)"),
        (float("-inf"), "values that are not finite (NaN or infinity)"),
        (-1.0, "values from -1 to 127"),
        (255.001, "values from 127 to 255.001"),
        (65535.0, "values from 127 to 65535"),
    ],
)
def test_values_of_no_picture_are_refused(gate: Gate, value: float, what: str) -> None:
    with pytest.raises(UsageError) as refused:
        gate.passed(pixels(value))
    assert str(refused.value) == (
        f"C6-x was given {what}. Expected raw RGB pixels, 0..255, neither normalized nor of 16 bits. "
        "Prepare images with session.artifact.input_spec.apply."
    )


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-40, 255.0, 254.5])
def test_values_of_pictures_pass_without_a_word(gate: Gate, value: float) -> None:
    assert told(gate, [pixels(value)]) == []


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
def test_a_blank_picture_is_not_taken_for_a_scaled_one(gate: Gate, value: float) -> None:
    assert told(gate, [np.full((1, 3, 4, 4), value, np.float32)]) == []


def test_pixels_of_0_to_1_are_told_once(gate: Gate) -> None:
    scaled = pixels(0, 255) / np.float32(255)
    assert told(gate, [scaled, scaled]) == [
        "What C6-x is given has no value above 1. Pixels of 0..255 were expected. "
        "Multiply them by 255, or use artifact.input_spec.apply."
    ]


def test_channels_in_opencv_order_are_told_once(gate: Gate) -> None:
    skin = np.array([90, 120, 170], np.float32)[None, :, None, None]  # B, G, R
    faces = np.broadcast_to(skin, (40, 3, 4, 4)).copy()
    assert told(gate, [face[None] for face in faces]) == [
        "What C6-x is given is bluer than red in most of its first images. Channels R, G, B were expected. "
        "Turn B, G, R, or use artifact.input_spec.apply."
    ]


def test_some_blue_pictures_are_no_order(gate: Gate) -> None:
    faces = np.broadcast_to(np.array([90, 120, 170], np.float32)[None, :, None, None], (16, 3, 4, 4)).copy()
    faces[:8] = faces[:8, ::-1]
    assert told(gate, [faces]) == []


def test_one_person_in_blue_light_is_no_order(gate: Gate) -> None:
    faces = np.broadcast_to(np.array([125, 142, 149], np.float32)[None, :, None, None], (16, 3, 4, 4)).copy()
    assert told(gate, [faces]) == []


def test_what_is_told_names_the_callers_line(made_session: Opened) -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        made_session.run(pixels(0, 255) / np.float32(255))
        made_session.run(np.broadcast_to(np.array([90, 120, 170], np.float32)[:, None, None], (16, 3, 4, 4)).copy())
    assert [Path(each.filename).name for each in found] == [Path(__file__).name] * 2


@pytest.fixture
def made_session() -> Opened:
    """A session of an engine that answers with zeros."""

    class Zeros(Opened):
        def _logits(self, batch: np.ndarray) -> np.ndarray:
            return np.zeros((len(batch), 7), np.float32)

    return Zeros(artifact(4), "Zeros")


def test_an_array_that_runs_backwards_is_copied(gate: Gate) -> None:
    there = np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4)
    passed = gate.passed(there[:, ::-1])
    assert np.array_equal(passed, there[:, ::-1])
    assert min(passed.strides) > 0
    assert gate.passed(there) is there

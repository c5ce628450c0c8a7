"""An .lc2 file may come from anywhere: what the library refuses, and in which words."""

from __future__ import annotations

import ctypes
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from lc2fer.deploy.sessions import native
from tiny_lc2 import contents, mended

from lc2fer import kernels

Answer = Callable[[bytes], str]
DO_NOT = "Do not use it."


def put(content: bytes, place: int, form: str, *values: object) -> bytes:
    packed = struct.pack(form, *values)
    return content[:place] + packed + content[place + len(packed) :]


def test_a_good_file_is_taken(model: Path, answer: Answer) -> None:
    assert answer(model.read_bytes()) == ""
    assert answer(contents("fp32")) == ""


@pytest.mark.parametrize(
    ("place", "form", "value", "text"),
    [
        (
            0,
            "<B",
            0x50,
            "This is no .lc2 file. What lc2fer-export --target native-int8 or native-fp32 writes was expected. Name "
            "that file; a copy made as text is damaged.",
        ),
        (
            8,
            "<I",
            7,
            "The model has format 7 and operations 3. This library reads format 1 with operations 3. Export the model "
            "again with the lc2fer that this library is of.",
        ),
        (12, "<I", 2, "The model has format 1 and operations 2. This library reads format 1 with operations 3."),
        (24, "<I", 1, "The model claims precision 1, 20 pixels a side, 3 classes, 4 operations and 26 bytes of text."),
        (28, "<I", 3, "The model claims precision 0, 3 pixels a side,"),
        (28, "<I", 4097, "The model claims precision 0, 4097 pixels a side,"),
        (32, "<I", 0, "The model claims precision 0, 20 pixels a side, 0 classes,"),
        (32, "<I", 4_000_000_000, "The model claims precision 0, 20 pixels a side, 4000000000 classes,"),
        (36, "<I", 257, "The model claims precision 0, 20 pixels a side, 3 classes, 257 operations"),
        (40, "<I", 65_537, "4 operations and 65537 bytes of text."),
        (32, "<I", 4, "The model does not name its 4 classes behind an alignment of none, level or eyes."),
        (64, "<5s", b"other", "The model does not name its 3 classes behind an alignment of none, level or eyes."),
        (128, "<I", 1, "Operation 0 of the model is none that this library has, or lacks constants."),
        (128 + 8, "<I", 0, "Operation 0 of the model is none that this library has, or lacks constants."),
        (128 + 12, "<I", 12, "Operation 0 of the model is none that this library has, or lacks constants."),
        (128 + 12, "<I", 520, "Operation 0 of the model is none that this library has, or lacks constants."),
        (128 + 32, "<I", 0, "Operation 1 of the model is none that this library has, or lacks constants."),
        (128 + 32 + 16, "<f", float("nan"), "Operation 1 of the model is none that this library has, or lacks"),
        (128 + 32 + 20, "<I", 2, "Operation 1 of the model is none that this library has, or lacks constants."),
        (128 + 64 + 20, "<I", 1, "Operation 2 of the model is none that this library has, or lacks constants."),
        (128 + 64 + 4, "<I", 0, "Operation 2 of the model is none that this library has, or lacks constants."),
        (128 + 64 + 4, "<I", 4, "Operation 2 of the model is none that this library has, or lacks constants."),
        (128 + 64 + 4, "<I", 2**31 + 2, "Operation 2 of the model is none that this library has, or lacks constants."),
        (128 + 96, "<I", 3, "Operation 3 of the model is none that this library has, or lacks constants."),
        (128 + 64 + 12, "<I", 16, "The model has other constants than its operations need."),
    ],
)
def test_what_cannot_be_is_refused(
    place: int, form: str, value: object, text: str, model: Path, answer: Answer
) -> None:
    content = put(model.read_bytes(), place, form, value)
    found = answer(mended(content) if place else content)
    assert found.startswith(text) or text in found, found
    assert found.count(". ") >= 2


def test_other_constants_are_refused(model: Path, answer: Answer) -> None:
    text = "The model has other constants than its operations need. What lc2fer-export writes was expected. "
    assert answer(mended(model.read_bytes() + bytes(64))) == text + DO_NOT
    assert answer(mended(model.read_bytes()[:-64])) == text + DO_NOT


def test_a_picture_that_takes_too_much_memory_is_refused(model: Path, answer: Answer) -> None:
    """4096 pixels a side at a stride of 1 are 537 MB for the stem's image alone."""
    content = put(put(model.read_bytes(), 28, "<I", 4096), 128 + 8, "<I", 1)
    found = answer(mended(content))
    assert found.startswith("The model needs ")
    assert found.endswith(f" MB for a picture. At most 512 were expected. {DO_NOT}")


def test_damage_is_found(model: Path, answer: Answer) -> None:
    content = model.read_bytes()
    generator = random.Random(3)
    for _ in range(64):
        place = generator.randrange(8, len(content))
        if place not in range(60, 64):  # which nothing is said by
            changed = bytearray(content)
            changed[place] ^= 1 << generator.randrange(8)
            assert answer(bytes(changed)) != "", place
    assert answer(mended(content[:80])).startswith("The model does not name its 3 classes")
    for end in (0, 7, 8, 63, 64, 100, len(content) - 1):
        assert answer(content[:end]) != "", end
    assert answer(content[:-64]) == (
        f"The model is damaged: {len(content) - 64} bytes, {len(content)} were written, checksum "
        + answer(content[:-64]).split("checksum ")[1].split(",")[0]
        + f", {struct.unpack('<I', content[56:60])[0]:08x} was written. The file as it was exported was expected. "
        "Copy it again."
    )


def test_no_cut_and_no_number_does_harm(model: Path, answer: Answer) -> None:
    """A little of what tests/native/fuzz.sh does for longer."""
    content, generator = model.read_bytes(), random.Random(4)
    taken = 0
    for _ in range(400):
        changed = bytearray(content)
        for _ in range(generator.randrange(1, 4)):
            place = generator.choice((generator.randrange(24, 256), generator.randrange(len(content))))
            changed[place] = generator.choice((0, 1, 127, 128, 255, generator.randrange(256)))
        cut = generator.choice((len(changed), len(changed), generator.randrange(len(changed))))
        taken += answer(mended(bytes(changed[:cut]))) == ""
    assert 0 < taken < 400


@pytest.mark.parametrize("first", ["", "a"])
def test_a_long_name_is_cut_between_characters(first: str) -> None:
    """The error's text is UTF-8, also where it has no room for all of a path."""
    library, error = native._library(kernels.library("native", "int8")), native._Error()
    assert not library.lc2fer_open((first + 250 * "é").encode(), None, ctypes.byref(error))
    assert error.text.decode("utf-8", "strict").startswith(f"{first}{149 * 'é'}")

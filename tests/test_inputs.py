"""The only preprocessing: what becomes of every kind of picture, and what is said of a broken one."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lc2fer import pictures
from lc2fer.errors import ArtifactError, DataError
from lc2fer.inputs import LABELS, InputSpec, read_image

SPEC = InputSpec(size=4)


def test_an_image_of_the_right_size_passes_unchanged() -> None:
    pixels = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    array = SPEC.apply(Image.fromarray(pixels))
    assert array.dtype == np.float32
    assert array.shape == SPEC.shape == (3, 4, 4)
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, pixels.transpose(2, 0, 1).astype(np.float32))
    np.testing.assert_array_equal(SPEC.pixels(Image.fromarray(pixels)), pixels)


def test_grey_is_repeated() -> None:
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    np.testing.assert_array_equal(SPEC.apply(Image.fromarray(grey)), np.stack([grey] * 3).astype(np.float32))


def test_what_is_transparent_is_white() -> None:
    pixels = np.full((4, 4, 4), (10, 20, 30, 255), np.uint8)
    pixels[0, :, 3] = 0
    assert SPEC.pixels(Image.fromarray(pixels))[:2, 0].tolist() == [[255, 255, 255], [10, 20, 30]]


def test_palette_is_looked_up() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    assert [plane.item(0) for plane in SPEC.apply(image)] == [200, 100, 50]


def test_exif_rotation_is_undone() -> None:
    upright = np.zeros((4, 4, 3), np.uint8)
    upright[0] = 255  # a white top row
    lying = Image.fromarray(np.rot90(upright))  # a camera turned a quarter to the right stores this
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    lying.save(file, "PNG", exif=exif)
    np.testing.assert_array_equal(SPEC.pixels(Image.open(file)), upright)


@pytest.mark.parametrize(("width", "height"), [(8, 4), (4, 8), (9, 4)])
def test_the_centre_square_is_taken(width: int, height: int) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    left, top = (width - 4) // 2, (height - 4) // 2
    pixels[top : top + 4, left : left + 4] = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    np.testing.assert_array_equal(SPEC.pixels(Image.fromarray(pixels)), np.arange(48, dtype=np.uint8).reshape(4, 4, 3))


def test_resizing_averages_what_a_pixel_covers() -> None:
    checkers = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    resized = SPEC.apply(Image.fromarray(checkers))
    assert np.abs(resized - 127.5).max() < 3  # without antialiasing it would be 0 or 255
    assert SPEC.apply(Image.new("RGB", (1, 1), (9, 8, 7)))[:, 0, 0].tolist() == [9, 8, 7]


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_pictures_are_refused(mode: str) -> None:
    with pytest.raises(DataError) as refused:
        SPEC.apply(Image.new(mode, (4, 4)))
    assert str(refused.value) == (
        f"The picture has mode {mode}, more than 8 bits a channel. Expected 8-bit grey or colour. "
        "Convert it to 8 bits first."
    )


def test_a_deep_png_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 60_000, np.uint16)).save(path)
    with pytest.raises(DataError, match="more than 8 bits a channel"):
        SPEC.apply(read_image(path))


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()


def test_read_image_returns_a_decoded_copy(tmp_path: Path) -> None:
    path = tmp_path / "face.jpg"
    path.write_bytes(jpeg())
    image = read_image(path)
    path.unlink()
    assert (image.size, image.mode) == ((64, 64), "RGB")


def test_a_copy_keeps_its_rotation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = np.zeros((8, 4, 3), np.uint8)
    picture[:, :2] = 255  # the left half, which is the upper half once turned
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    assert SPEC.pixels(read_image(tmp_path / "turned.png"))[:, :, 0].tolist() == [[255] * 4] * 2 + [[0] * 4] * 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: b"", "it is empty"),
        (lambda: jpeg()[:400], "(broken data stream|truncated|Truncated)"),
        (lambda: b"label,path\n1,a.jpg\n", "it is no JPEG, PNG, WebP, BMP, TIFF, GIF or PPM"),
        (lambda: b"version https://git-lfs.github.com/spec/v1\nsize 1234\n", "it is a Git LFS pointer to 1,234 bytes"),
        (lambda: b"<!DOCTYPE html><title>Log in</title>", "it is a web page"),
    ],
    ids=["empty", "truncated", "no picture", "pointer", "page"],
)
def test_a_broken_file_is_named(tmp_path: Path, content: Callable[[], bytes], reason: str) -> None:
    path = tmp_path / "face.jpg"
    path.write_bytes(content())
    with pytest.raises(DataError, match=reason) as refused:
        read_image(path)
    assert str(refused.value).startswith(f"{path} cannot be read as a picture: ")
    assert str(refused.value).endswith("Expected a whole JPEG or PNG. Copy the file again from its source.")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        read_image(tmp_path / "none.jpg")
    assert str(refused.value) == f"{tmp_path / 'none.jpg'} is missing. Expected a picture of a face. Check the path."
    with pytest.raises(DataError) as refused:
        read_image(tmp_path)
    assert str(refused.value) == f"{tmp_path} is a folder. Expected a picture of a face. Name the pictures in it."


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "face.jpg"
    path.write_bytes(jpeg())
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1000)
    with pytest.raises(DataError) as refused:
        read_image(path)
    assert str(refused.value) == f"{path} has 64x64 pixels. At most 1,000 are read. Give a crop of the face."


def test_the_manifests_form_is_reversible() -> None:
    spec = InputSpec(size=64)
    assert InputSpec.from_json(spec.to_json()) == spec
    assert "alignment" not in spec.to_json()  # manifests of before there was any stay what they are
    aligned = InputSpec(alignment="eyes")
    assert aligned.to_json()["alignment"] == "eyes"
    assert InputSpec.from_json(aligned.to_json()) == aligned
    assert LABELS == ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"channels": "BGR"}, "The manifest asks for channels 'BGR'. This version prepares only 'RGB'."),
        ({"value_range": [0, 1]}, "The manifest asks for value_range (0.0, 1.0). This version prepares only (0.0, 255"),
        (
            {"alignment": "ears"},
            "The manifest asks for alignment 'ears'. This version knows none, level, eyes. Use the",
        ),
        ({"size": 0}, "The manifest's input_spec has size 0 and 7 labels. Expected 1..4096 pixels and 1..1000 labels."),
        ({"size": "100"}, "The manifest's input_spec has size '100' and 7 labels."),
        ({"labels": []}, "The manifest's input_spec has size 100 and 0 labels."),
        *(
            (
                {"labels": labels},
                f"The manifest's input_spec has the labels {labels}. Expected a list of names, each once",
            )
            for labels in (["fear", "anger", "fear"], ["fear", ""], ["fear", None], ["1", 1], "abcdefg", {"fear": 0}, 7)
        ),
        ({"labels": [*map(str, range(99)), ""]}, "The manifest's input_spec has the labels ['0', '1', '2', "),
        ({"mean": 0.5}, "The manifest's input_spec is damaged (InputSpec.__init__() got an unexpected keyword"),
        ({"value_range": None}, "The manifest's input_spec is damaged"),
    ],
)
def test_a_foreign_spec_is_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ArtifactError) as refused:
        InputSpec.from_json({**InputSpec().to_json(), **change})
    assert str(refused.value).startswith(text)


# -- arrays -----------------------------------------------------------------------------------------------------------


def test_an_array_is_the_picture_that_it_holds() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    for given, same in (
        (pixels, Image.fromarray(pixels)),
        (pixels[:, :, ::-1], Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1]))),
        (pixels[:, :, 0], Image.fromarray(np.ascontiguousarray(pixels[:, :, 0]))),
    ):
        np.testing.assert_array_equal(SPEC.apply(given), SPEC.apply(same))


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (np.zeros((9, 7, 3), np.float32), "float32 [9, 7, 3]"),
        (np.zeros((9, 7, 3), np.uint16), "uint16 [9, 7, 3]"),
        (np.zeros((3, 9, 7), np.uint8), "uint8 [3, 9, 7]"),
        (np.zeros((9, 7, 4), np.uint8), "uint8 [9, 7, 4]"),
        (np.zeros((1, 9, 7, 3), np.uint8), "uint8 [1, 9, 7, 3]"),
        (np.zeros((0, 7, 3), np.uint8), "uint8 [0, 7, 3]"),
        ("face.jpg", "a str"),
        (None, "a NoneType"),
    ],
)
def test_what_is_no_picture_is_refused(given: Any, what: str) -> None:
    with pytest.raises(DataError) as refused:
        SPEC.apply(given)
    assert str(refused.value) == (
        f"A picture was given as {what}. Expected a PIL image, or uint8 [H, W, 3] in RGB or [H, W] in grey, 0..255. "
        "Open files with PIL.Image.open; turn OpenCV's BGR with picture[:, :, ::-1]."
    )

"""Pictures as people have them: every kind becomes upright RGB, or is refused in a sentence that names it."""

from __future__ import annotations

import io
import os
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lc2fer import pictures
from lc2fer.errors import DataError

RED, GREEN = (250, 10, 10), (10, 250, 10)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def halves(width: int = 32, height: int = 32) -> Image.Image:
    """Red above green."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (0, height // 2, width, height))
    return image


def ends(image: Image.Image) -> list[str]:
    """What the four corners are, from the upper left in reading order: r(ed), g(reen) or w(hite)."""
    corners = [(0, 0), (image.width - 1, 0), (0, image.height - 1), (image.width - 1, image.height - 1)]
    names = {(True, False): "r", (False, True): "g", (True, True): "w"}
    pixels: list[Any] = [image.getpixel(place) for place in corners]
    return [names.get((red > 128, green > 128), "?") for red, green, _ in pixels]


def test_memory_that_runs_out_is_not_blamed_on_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Image.Image) -> None:
        raise MemoryError

    (tmp_path / "face.png").write_bytes(encoded(halves(), "PNG"))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(DataError) as refused:
        pictures.read(tmp_path / "face.png")
    assert str(refused.value) == (
        f"{tmp_path / 'face.png'} cannot be read: memory ran out. Expected room for its pixels. Free some memory, or "
        "make the picture smaller."
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_every_kind_is_read_from_a_path_from_bytes_and_from_a_file(kind: str, tmp_path: Path) -> None:
    content = encoded(halves(), kind)
    path = tmp_path / f"face.{kind.lower()}"
    path.write_bytes(content)
    for source in (path, content, io.BytesIO(content)):
        picture = pictures.read(source)
        assert (picture.image.mode, picture.image.size, picture.animated) == ("RGB", (32, 32), False)
        assert ends(picture.image) == ["r", "r", "g", "g"]
    assert pictures.is_named(path)


@pytest.mark.parametrize(
    ("orientation", "corners"),
    [
        (1, "rrgg"),
        (2, "rrgg"),
        (3, "ggrr"),
        (4, "ggrr"),
        (5, "rgrg"),
        (6, "grgr"),
        (7, "grgr"),
        (8, "rgrg"),
        (99, "rrgg"),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_turned_once_as_exif_says(kind: str, orientation: int, corners: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = pictures.read(encoded(halves(32, 24), kind, exif=exif)).image
    assert image.size == ((24, 32) if orientation in (5, 6, 7, 8) else (32, 24))
    assert "".join(ends(image)) == corners
    assert "".join(ends(pictures.prepare(image))) == corners


@pytest.mark.parametrize("block", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_a_damaged_exif_block_is_no_turn(block: bytes) -> None:
    for kind in ("JPEG", "WEBP"):
        assert ends(pictures.read(encoded(halves(), kind, exif=block)).image) == ["r", "r", "g", "g"]


def test_what_is_transparent_lies_on_white() -> None:
    clear = halves().convert("RGBA")
    clear.putalpha(Image.new("L", (32, 16), 0).resize((32, 32)))
    clear.paste((*GREEN, 255), (0, 16, 32, 32))
    palette = Image.new("P", (32, 32), 0)
    palette.putpalette([0, 0, 0, *GREEN])
    palette.paste(1, (0, 16, 32, 32))
    grey = Image.new("LA", (32, 32), (0, 0))
    for content in (
        encoded(clear, "PNG"),
        encoded(clear, "WEBP", lossless=True),
        encoded(palette, "PNG", transparency=0),
        encoded(palette, "PNG", transparency=bytes([0, 255])),
        encoded(palette, "GIF", transparency=0),
    ):
        assert ends(pictures.read(content).image) == ["w", "w", "g", "g"]
    assert ends(pictures.read(encoded(grey, "PNG")).image) == ["w"] * 4
    half = pictures.prepare(Image.new("RGBA", (1, 1), (0, 0, 0, 128)))
    assert half.getpixel((0, 0)) == (127, 127, 127)


def test_grey_cmyk_and_one_bit_become_colour() -> None:
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        assert ends(pictures.read(encoded(ink, kind)).image) == ["r"] * 4
    assert pictures.read(encoded(Image.new("1", (9, 9), 1), "PNG")).image.getpixel((0, 0)) == (255, 255, 255)
    assert pictures.read(encoded(Image.new("L", (9, 9), 77), "PNG")).image.getpixel((0, 0)) == (77, 77, 77)


def deep_png() -> bytes:
    """RGB of 16 bits, which Pillow reads, and does not write."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header, lines = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0), zlib.compress((b"\0" + bytes(12)) * 2)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (encoded(Image.fromarray(np.full((4, 4), 60_000, np.uint16)), "PNG"), "I;16"),
        (encoded(Image.fromarray(np.full((4, 4), 60_000, np.uint16)), "TIFF"), "I;16"),
        (encoded(Image.new("F", (4, 4)), "TIFF"), "F"),
        (encoded(Image.new("I", (4, 4)), "TIFF"), "I"),
        (deep_png(), "RGB;16B"),
        (b"P3 1 1 65535 1 2 3 ", "RGB;16"),
    ],
)
def test_more_than_8_bits_are_refused_by_name(content: bytes, mode: str) -> None:
    with pytest.raises(DataError) as refused:
        pictures.read(content, "a.png")
    assert str(refused.value) == (
        f"a.png has mode {mode}, more than 8 bits a channel. Expected 8-bit grey or colour. Convert it to 8 bits first."
    )


def test_another_colour_space_is_refused_by_name() -> None:
    with pytest.raises(DataError) as refused:
        pictures.read(encoded(Image.new("LAB", (4, 4)), "TIFF"), "a.tif")
    assert str(refused.value) == (
        "a.tif has mode LAB, which is neither grey, RGB nor CMYK. Expected 8-bit grey or colour. Convert it to RGB "
        "first."
    )


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_pictures_is_taken_and_said(kind: str) -> None:
    more = [Image.new("RGB", (32, 32), GREEN)]
    picture = pictures.read(encoded(halves(), kind, save_all=True, append_images=more))
    assert picture.animated
    assert ends(picture.image) == ["r", "r", "g", "g"]


def test_a_phones_jpeg_with_a_second_picture_is_not_animated() -> None:
    picture = pictures.read(encoded(halves(), "MPO", save_all=True, append_images=[halves()]))
    assert (picture.animated, ends(picture.image)) == (False, ["r", "r", "g", "g"])


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        (b"heic\0\0\0\0mif1heic", "HEIC"),
        (b"mif1\0\0\0\0mif1heic", "HEIC"),
        (b"mif1\0\0\0\0mif1avif", "AVIF"),
        (b"avif\0\0\0\0mif1miaf", "AVIF"),
        (b"hevc\0\0\0\0msf1hevc", "HEIC"),
        (b"avis\0\0\0\0msf1avis", "AVIF"),
    ],
)
def test_what_phones_write_is_called_by_its_name_whatever_the_file_is_called(
    brands: bytes, kind: str, tmp_path: Path
) -> None:
    content = struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(400)
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    for source, name in ((path, str(path)), (content, "The picture"), (io.BytesIO(content), "The picture")):
        with pytest.raises(DataError) as refused:
            pictures.read(source)
        assert str(refused.value) == f"{name} is {kind}. Expected a JPEG, PNG or WebP. Convert it to JPEG."
    path.write_bytes(content.replace(brands, b"isom\0\0\0\0mp42avc1"))
    with pytest.raises(DataError, match="it is no JPEG"):
        pictures.read(path)


def test_no_kind_is_read_for_which_another_program_is_started() -> None:
    drawing = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    with pytest.raises(
        DataError,
        match=r"^The picture cannot be read: it is no JPEG, PNG, WebP, BMP, TIFF, GIF or PPM\. Expected a whole JPEG",
    ):
        pictures.read(drawing)
    with pytest.raises(
        DataError, match=r"^a\.eps cannot be read as a picture: it is no JPEG, PNG, WebP, BMP, TIFF, GIF or PPM\."
    ):
        pictures.read(drawing, "a.eps")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    with pytest.raises(DataError) as refused:
        pictures.read(pipe)
    assert str(refused.value) == f"{pipe} is no file but a device or a pipe. Expected a picture. Give its file."
    with pytest.raises(DataError) as refused:
        pictures.read(tmp_path / ("a" * 300))
    assert str(refused.value).endswith("a cannot be looked at: File name too long. Expected a picture. Check the path.")


@pytest.mark.parametrize("name", ["._face.jpg", "Thumbs.db", "notes.txt", ".hidden.png"])
def test_what_is_not_called_like_a_picture(name: str) -> None:
    assert not pictures.is_named(Path(name))
    assert pictures.is_named(Path("FACE.JFIF"))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::RuntimeWarning:PIL")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
def test_damaged_bytes_are_read_or_refused_and_nothing_else(kind: str) -> None:
    rng = random.Random(kind)
    whole = encoded(halves(), kind)
    refused: list[str] = []
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 2, 8))):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        if rng.random() < 0.2:
            del damaged[rng.randrange(len(damaged)) :]
        try:
            assert pictures.read(bytes(damaged)).image.mode == "RGB"
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 5
    assert all(text.startswith("The picture ") for text in refused)

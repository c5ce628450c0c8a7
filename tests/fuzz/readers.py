"""Every reader of files from outside, as a function of bytes: it returns, or it raises an error of lc2fer's own.

Anything else that comes out of `READERS[name].read` is a fault. `seeds` are what mutation begins with.
"""

from __future__ import annotations

import contextlib
import io

import numpy as np
from place import SIZE, Reader, folder, put
from readers_models import MODELS
from readers_records import RECORDS

from lc2fer.errors import Lc2ferError
from lc2fer.inputs import InputSpec

# -- pictures and films ----------------------------------------------------------------------------------------------


def _read_picture(data: bytes) -> None:
    from lc2fer import pictures

    spec = InputSpec(size=SIZE)
    assert spec.apply(pictures.read(data).image).shape == (3, SIZE, SIZE)


def _pictures() -> list[bytes]:
    from PIL import Image

    found = []
    colors = Image.fromarray(np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3))
    turn = Image.Exif()
    turn[0x0112] = 6
    for kind, mode, more in (
        *((kind, "RGB", {}) for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")),
        ("JPEG", "RGB", {"exif": turn, "progressive": True}),
        ("WEBP", "RGBA", {"exif": turn, "lossless": True}),
        *(("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGBA", "I;16")),
        *(("TIFF", mode, {}) for mode in ("1", "CMYK", "LAB", "F", "I;16")),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("JPEG", "CMYK", {}),
        ("GIF", "P", {"save_all": True, "append_images": [colors.convert("P")]}),
    ):
        file = io.BytesIO()
        image = Image.new(mode, (8, 8)) if mode in ("LAB", "F", "I;16") else colors.convert(mode)
        image.save(file, kind, **more)
        found.append(file.getvalue())
    return found


def _read_film(data: bytes) -> None:
    from lc2fer.predicting import judging

    for count, _ in enumerate(judging.frames(put("film/f.avi", data), 0.1)):
        if count == 3:
            break


def _films() -> list[bytes]:
    import cv2

    found = []
    for code, suffix in (("MJPG", "avi"), ("mp4v", "mp4")):
        path = folder() / f"made.{suffix}"
        film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 10, (32, 32))  # type: ignore[attr-defined]
        for level in (0, 128, 255):
            film.write(np.full((32, 32, 3), level, np.uint8))
        film.release()
        found.append(path.read_bytes())
    return found


# -- what people and browsers type ------------------------------------------------------------------------------------


def _read_address(data: bytes) -> None:
    from lc2fer.deploy.camera import address, source, web

    text = data.decode("utf-8", "replace")
    address.shown(text)
    address.quoted(text)
    for parse in (source.parse, web.parse_address):
        with contextlib.suppress(Lc2ferError):
            parse(text)


_ADDRESSES = [b"rtsp://user:p@ss@host:554/x?token=secret", b"usb:0", b"csi:0", b"[::1]:8000", b"http://h/v?a=b"]

OTHERS = {
    "picture": Reader(_read_picture, _pictures, ("lc2fer.pictures", "lc2fer.inputs", "PIL")),
    "film": Reader(_read_film, _films, ("lc2fer.predicting.judging",), native=True),
    "address": Reader(_read_address, lambda: _ADDRESSES, ("lc2fer.deploy.camera.address",)),
}
READERS = {**MODELS, **RECORDS, **OTHERS}

"""Pictures as people have them: one function reads them for prediction, training, the camera's folders and the page.

What comes out is upright, 8-bit RGB: turned as EXIF says, palettes looked up, grey repeated, CMYK and 1-bit pictures
converted, and what is transparent laid on white, as browsers and printers show it.
"""

from __future__ import annotations

import io
import logging
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lc2fer.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

# Kinds that Pillow decodes by itself. Never EPS or PS, for which it starts another program. A phone's MPO is a JPEG.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM")
# How the files of these kinds are called, in lower case; what a folder is searched for.
SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".tif", ".tiff"),
        *(".gif", ".ppm", ".pgm", ".pbm", ".pnm"),
    )
)
# How phones call what they take where nobody asked them for JPEG; nothing here reads it.
OF_PHONES = frozenset((".heic", ".heif", ".hif", ".avif"))
MAX_PIXELS = 64_000_000
BACKGROUND = (255, 255, 255)  # under what is transparent

_MODES = frozenset(("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"))
_ORIENTATION = 0x0112  # EXIF's tag
_HEIC = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))  # brands of files
_AVIF = frozenset((b"avif", b"avis"))
_BITS = 258  # TIFF's tag: bits of each channel


@dataclass(frozen=True)
class Picture:
    """A picture that was read."""

    image: Image  # RGB, upright
    animated: bool  # the file has more pictures than this one, its first


def is_named(path: Path) -> bool:
    """Whether a file is called like a picture; hidden ones, such as a Mac's `._face.jpg`, are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def is_of_phone(path: Path) -> bool:
    """Whether a file is called like HEIC or AVIF, which a folder's walk leaves out."""
    return path.suffix.lower() in OF_PHONES and not path.name.startswith(".")


def read(source: Path | bytes | BinaryIO, name: str | None = None) -> Picture:
    """The picture in a file, in its bytes, or in an open file; `name` is what errors call it (default: the path).

    Raises DataError, naming it, for what is missing, damaged, none of FORMATS, larger than MAX_PIXELS, of more than 8
    bits a channel, or in another colour space; whatever Pillow raises, nothing else comes out.
    """
    from PIL import Image as pil

    known = name or (str(source) if isinstance(source, Path) else None)
    name = known or "The picture"
    if isinstance(source, Path):
        _check(source, name)
    try:
        with pil.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_formats()) as image:
            _check_size(image, name)
            _check_depth(image, name)
            image.load()
            return Picture(prepare(image, name), _animated(image))
    except DataError:
        raise
    except MemoryError:  # which a copy of the file would not mend
        raise DataError(
            f"{name} cannot be read: memory ran out. Expected room for its pixels. Free some memory, or make the "
            "picture smaller."
        ) from None
    except Exception as error:  # of a damaged file Pillow's readers raise struct.error, TypeError and more
        of_phone = _of_phone(source)
        if of_phone is not None:
            text = f"{name} is {of_phone}. Expected a JPEG, PNG or WebP. Convert it to JPEG."
            raise DataError(text) from None
        reason = _reason(source, error)
        if known is None:
            text = f"The picture cannot be read: {reason}. Expected a whole JPEG, PNG or WebP. Choose another file."
        else:
            text = f"{known} cannot be read as a picture: {reason}. Expected a whole JPEG or PNG. "
            text += "Copy the file again from its source."
        raise DataError(text) from None


def prepare(image: Image, name: str = "The picture") -> Image:
    """A decoded picture of any kind as an upright one in RGB; `image` itself stays as it is.

    Raises DataError for more than 8 bits a channel, whose range no network here was trained on, and for other colour
    spaces, such as LAB, which Pillow would not convert or convert wrongly.
    """
    from PIL import Image as pil

    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise _too_deep(name, image.mode)
    if image.mode not in _MODES:
        raise DataError(
            f"{name} has mode {image.mode}, which is neither grey, RGB nor CMYK. Expected 8-bit grey or colour. "
            "Convert it to RGB first."
        )
    turn = _turn(image)
    upright = image if turn is None else image.transpose(turn)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        clear = (upright.convert("LA") if image.mode == "La" else upright).convert("RGBA")
        upright = pil.new("RGB", clear.size, BACKGROUND)
        upright.paste(clear, mask=clear.getchannel("A"))
    plain = upright.convert("RGB")
    plain.info.clear()  # EXIF among it: whoever prepares it once more is not to turn it once more
    return plain


def loaded(image: Image) -> Image:
    """The image, decoded: `PIL.Image.open` leaves that for later. Raises DataError where what it was opened of ends."""
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise DataError(
            f"The picture cannot be read: {_text(error)}. Expected a whole JPEG, PNG or WebP. Choose another file."
        ) from None
    return image


def encoded(image: Image, kind: str, **options: Any) -> bytes:
    """A picture as a file's bytes. Saved to a path, Pillow takes no note of a disk that takes only a part of them."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _check(path: Path, name: str) -> None:
    try:
        if path.is_dir():
            raise DataError(f"{name} is a folder. Expected a picture of a face. Name the pictures in it.")
        if not path.exists():
            raise DataError(f"{name} is missing. Expected a picture of a face. Check the path.")
        if not path.is_file():  # a pipe would be waited for, a device might never end
            raise DataError(f"{name} is no file but a device or a pipe. Expected a picture. Give its file.")
    except (OSError, ValueError) as error:  # not allowed to look; a name with a null character
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{name} cannot be looked at: {reason}. Expected a picture. Check the path.") from None


def _check_size(image: Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"{name} has {image.width}x{image.height} pixels. At most {MAX_PIXELS:,} are read. Give a crop of the face."
        )
    if image.width < 1 or image.height < 1:
        raise DataError(f"{name} has {image.width}x{image.height} pixels. Expected at least one. Choose another file.")


def _check_depth(image: Image, name: str) -> None:
    """Raises DataError for colour of 16 bits a channel, of which Pillow would silently keep 8."""
    if image.mode not in _MODES:
        return  # `prepare` says it
    raw = _raw_mode(image)
    if ";16" in raw:
        raise _too_deep(name, raw)
    bits: Any = getattr(image, "tag_v2", {}).get(_BITS, ())  # TIFF's
    if max((value for value in bits if isinstance(value, int)), default=8) > 8:
        raise _too_deep(name, f"{image.mode};{max(bits)}")
    if image.format == "PPM" and image.mode in ("I", "RGB"):
        highest: Any = _arguments(image)[-1:]  # a PPM's largest value, where it is not 255
        if highest and isinstance(highest[0], int) and highest[0] > 255:
            raise _too_deep(name, f"{image.mode};16")


def _arguments(image: Image) -> tuple[Any, ...]:
    """What Pillow hands to the decoder of a picture that is not loaded yet."""
    tile: Any = getattr(image, "tile", None) or [()]
    last = tile[0][-1] if tile[0] else ()
    return tuple(last) if isinstance(last, (tuple, list)) else (last,)


def _raw_mode(image: Image) -> str:
    return next((word for word in _arguments(image) if isinstance(word, str)), "")


def _too_deep(name: str, mode: str) -> DataError:
    return DataError(
        f"{name} has mode {mode}, more than 8 bits a channel. Expected 8-bit grey or colour. "
        "Convert it to 8 bits first."
    )


def _turn(image: Image) -> Any:
    """How Pillow is to transpose the picture, or None; a damaged EXIF block is no turn."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        return turns.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return None


def _animated(image: Image) -> bool:
    """Whether another picture follows; a phone's MPO has depth or brightness there, which is none."""
    try:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # what follows is damaged; the first picture is not
        return False


@cache
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow was built with.

    Pillow would load their plugins at the first file that needs them, which threads must not do at once. Its remarks on
    damaged files are kept from the terminal: a file is read, or refused in a sentence of ours.
    """
    from PIL import Image as pil
    from PIL import TiffImagePlugin, WebPImagePlugin  # noqa: F401

    pil.preinit()  # the others
    for category in (UserWarning, RuntimeWarning):
        warnings.filterwarnings("ignore", category=category, module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    return tuple(kind for kind in FORMATS if kind in pil.OPEN)


def _of_phone(source: Path | bytes | BinaryIO) -> str | None:
    """What a file of ISO's base format holds, whatever it is called: "HEIC", "AVIF"; None for any other."""
    try:
        if isinstance(source, bytes):
            begin = source[:64]
        elif isinstance(source, Path):
            with source.open("rb") as file:
                begin = file.read(64)
        else:
            source.seek(0)
            begin = source.read(64)
    except (OSError, ValueError):
        return None
    size = int.from_bytes(begin[:4], "big")
    brands = {begin[8:12], *(begin[place : place + 4] for place in range(16, min(size, len(begin)), 4))}
    if begin[4:8] != b"ftyp" or not brands & (_HEIC | _AVIF):
        return None
    return "AVIF" if brands & _AVIF else "HEIC"


def _reason(source: Path | bytes | BinaryIO, error: Exception) -> str:
    try:
        empty = not source if isinstance(source, bytes) else isinstance(source, Path) and source.stat().st_size == 0
    except OSError:  # it is gone by now
        empty = False
    if empty:
        return "it is empty"
    if type(error).__name__ == "UnidentifiedImageError":
        from lc2fer import header  # which imports this module

        saved = header.told(source) if isinstance(source, Path) and source.is_file() else None
        return f"it is {saved}" if saved is not None else "it is no JPEG, PNG, WebP, BMP, TIFF, GIF or PPM"
    return _text(error)


def _text(error: Exception) -> str:
    kind = type(error).__name__
    text = (getattr(error, "strerror", None) or str(error) or kind).split("\n")[0].rstrip(".")
    said = isinstance(error, (OSError, SyntaxError, ValueError)) or kind == "DecompressionBombError"
    return text if said else f"{kind}: {text}"

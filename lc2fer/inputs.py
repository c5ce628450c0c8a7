"""What goes into a model: the only preprocessing in the project.

A model's input is raw RGB pixels, float32 0..255, NCHW. Mean and standard deviation are folded into the network, so
that nobody who deploys it can get them wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lc2fer.errors import ArtifactError, DataError

if TYPE_CHECKING:
    from PIL.Image import Image

# RAF-DB numbers its labels 1..7 in this order.
LABELS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")

_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L")
_MAX_PIXELS = 64_000_000

# What is read, whatever a file is called. Among the rest is PostScript, for which Pillow starts another program.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM")


@dataclass(frozen=True)
class InputSpec:
    """The contract between a picture and a model; the default is RAF-DB's aligned faces."""

    size: int = 100  # pixels a side
    layout: str = "NCHW"
    channels: str = "RGB"
    dtype: str = "float32"
    value_range: tuple[float, float] = (0.0, 255.0)
    crop: str = "center-square"
    resize: str = "bilinear-antialias"
    labels: tuple[str, ...] = LABELS

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, size, size): one image without the batch axis."""
        return (3, self.size, self.size)

    def apply(self, image: Image | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Float32 [3, size, size] in 0..255 of a PIL image of any size: upright, RGB, centre square, resized.

        A picture as an array is taken too, uint8 [H,W,3] in RGB or [H,W] in grey. Raises DataError for pictures of more
        than 8 bits a channel, whose range the model was not trained on, and for what is no picture.
        """
        return np.ascontiguousarray(self.pixels(image).transpose(2, 0, 1), dtype=np.float32)  # HWC -> CHW

    def pixels(self, image: Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The same as `apply`, as uint8 [size, size, 3]: what training and calibration keep in memory."""
        from PIL import Image as pil
        from PIL import ImageOps

        image = _as_image(image)
        if image.mode in _DEEP_MODES:
            raise DataError(
                f"The picture has mode {image.mode}, more than 8 bits a channel. Expected 8-bit grey or colour. "
                "Convert it to 8 bits first."
            )
        upright = ImageOps.exif_transpose(image).convert("RGB")
        width, height = upright.size
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        square = upright if width == height else upright.crop((left, top, left + side, top + side))
        if side != self.size:
            square = square.resize((self.size, self.size), pil.Resampling.BILINEAR)
        return np.asarray(square, dtype=np.uint8)

    def to_json(self) -> dict[str, Any]:
        """The manifest's form."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> InputSpec:
        """The inverse of `to_json`; raises ArtifactError for anything that this version cannot honour."""
        try:
            spec = cls(
                **{
                    **fields,
                    "labels": tuple(str(label) for label in fields["labels"]),
                    "value_range": (float(fields["value_range"][0]), float(fields["value_range"][1])),
                }
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ArtifactError(
                f"The manifest's input_spec is damaged ({error}). Expected the fields of InputSpec. "
                "Export the artifact again."
            ) from None
        default = cls()
        fixed = ("layout", "channels", "dtype", "value_range", "crop", "resize")
        for name in fixed:
            if getattr(spec, name) != getattr(default, name):
                raise ArtifactError(
                    f"The manifest asks for {name} {getattr(spec, name)!r}. This version prepares only "
                    f"{getattr(default, name)!r}. Use the version that made the artifact."
                )
        if not isinstance(spec.size, int) or not 1 <= spec.size <= 4096 or not 1 <= len(spec.labels) <= 1000:
            raise ArtifactError(
                f"The manifest's input_spec has size {spec.size!r} and {len(spec.labels)} labels. Expected 1..4096 "
                "pixels and 1..1000 labels. Export the artifact again."
            )
        return spec


def _as_image(given: Image | NDArray[np.uint8]) -> Image:
    """A PIL image of what is one, or an array of pixels; raises DataError for anything else."""
    from PIL import Image as pil

    if isinstance(given, pil.Image):
        return given
    if (
        isinstance(given, np.ndarray)
        and given.dtype == np.uint8
        and given.size
        and (given.ndim == 2 or (given.ndim == 3 and given.shape[2] == 3))
    ):
        return pil.fromarray(np.ascontiguousarray(given))
    what = f"{given.dtype} {list(given.shape)}" if isinstance(given, np.ndarray) else f"a {type(given).__name__}"
    raise DataError(
        f"A picture was given as {what}. Expected a PIL image, or uint8 [H, W, 3] in RGB or [H, W] in grey, 0..255. "
        "Open files with PIL.Image.open; turn OpenCV's BGR with picture[:, :, ::-1]."
    )


def read_image(path: Path) -> Image:
    """The decoded picture in that file; raises DataError, naming the file, where it cannot be read to its end."""
    from PIL import Image as pil
    from PIL import TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin  # noqa: F401

    # Pillow would load the plugins of formats at the first file that needs them, which threads must not do at once.
    try:
        with pil.open(path, formats=FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise DataError(
                    f"{path} has {image.width}x{image.height} pixels. At most {_MAX_PIXELS:,} are read. "
                    "Give a crop of the face."
                )
            image.load()
            return image.copy()
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Expected a picture of a face. Check the path.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder. Expected a picture of a face. Name the pictures in it.") from None
    except (OSError, SyntaxError, ValueError, pil.DecompressionBombError) as error:
        if path.is_file() and path.stat().st_size == 0:
            reason = "it is empty"
        elif isinstance(error, UnidentifiedImageError):
            reason = "it is no JPEG, PNG, WebP, BMP, TIFF, GIF or PPM"
        else:
            reason = str(error).split("\n")[0]
        raise DataError(
            f"{path} cannot be read as a picture: {reason.rstrip('.')}. Expected a whole JPEG or PNG. "
            "Copy the file again from its source."
        ) from None

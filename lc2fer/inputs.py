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

from lc2fer import alignment, pictures
from lc2fer.errors import MALFORMED, ArtifactError, DataError
from lc2fer.finder import Face

if TYPE_CHECKING:
    from PIL.Image import Image

# RAF-DB numbers its labels 1..7 in this order.
LABELS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")


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
    alignment: str = "none"  # of a face that was found in a picture: one of alignment.ALIGNMENTS

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, size, size): one image without the batch axis."""
        return (3, self.size, self.size)

    def apply(self, image: Image | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Float32 [3, size, size] in 0..255 of a PIL image of any size: upright, RGB, centre square, resized.

        A picture as an array is taken too, uint8 [H,W,3] in RGB or [H,W] in grey. Raises DataError for pictures of more
        than 8 bits a channel and for other colour spaces, as `pictures.prepare`, and for what is no picture.
        """
        return np.ascontiguousarray(self.pixels(image).transpose(2, 0, 1), dtype=np.float32)  # HWC -> CHW

    def pixels(self, image: Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The same as `apply`, as uint8 [size, size, 3]: what training and calibration keep in memory."""
        from PIL import Image as pil

        upright = pictures.prepare(as_image(image))
        width, height = upright.size
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        square = upright if width == height else upright.crop((left, top, left + side, top + side))
        if side != self.size:
            square = square.resize((self.size, self.size), pil.Resampling.BILINEAR)
        return np.asarray(square, dtype=np.uint8)

    def apply_face(self, image: NDArray[np.uint8], face: Face) -> NDArray[np.float32]:
        """Float32 [3, size, size] in 0..255 of a face that was found in an RGB picture, uint8 [H,W,3]."""
        pixels = alignment.square(image, face, self.size, self.alignment)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)  # HWC -> CHW

    def to_json(self) -> dict[str, Any]:
        """The manifest's form; without the alignment where there is none, as before there was any."""
        fields = asdict(self)
        if self.alignment == "none":
            del fields["alignment"]
        return fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> InputSpec:
        """The inverse of `to_json`; raises ArtifactError for anything that this version cannot honour."""
        try:
            spec = cls(
                **{
                    **fields,
                    "labels": _labels(fields["labels"]),
                    "value_range": (float(fields["value_range"][0]), float(fields["value_range"][1])),
                }
            )
        except MALFORMED as error:
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
        if spec.alignment not in alignment.ALIGNMENTS:
            raise ArtifactError(
                f"The manifest asks for alignment {spec.alignment!r}. This version knows "
                f"{', '.join(alignment.ALIGNMENTS)}. Use the version that made the artifact."
            )
        if not isinstance(spec.size, int) or not 1 <= spec.size <= 4096 or not 1 <= len(spec.labels) <= 1000:
            raise ArtifactError(
                f"The manifest's input_spec has size {spec.size!r} and {len(spec.labels)} labels. Expected 1..4096 "
                "pixels and 1..1000 labels. Export the artifact again."
            )
        return spec


def _labels(given: Any) -> tuple[str, ...]:
    names = isinstance(given, (list, tuple)) and all(isinstance(one, str) and one.strip() for one in given)
    if not names or len(set(given)) != len(given):
        said = str(given)
        raise ArtifactError(
            f"The manifest's input_spec has the labels {said if len(said) < 200 else said[:200] + '...'}. Expected a "
            "list of names, each once and none empty. Copy the model's own manifest again, or export it again."
        )
    return tuple(given)


def as_image(given: Image | NDArray[np.uint8]) -> Image:
    """A PIL image of what is one, or an array of pixels; raises DataError for anything else."""
    from PIL import Image as pil

    if isinstance(given, pil.Image):
        return pictures.loaded(given)
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
    """The picture in that file, upright and RGB; raises DataError, naming the file, as `pictures.read` does."""
    return pictures.read(path).image

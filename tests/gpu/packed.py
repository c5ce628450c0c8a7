"""Data sets as one file that travels: grey faces as mosaics in PNG, labels, the crowd's shares, and the split.

    python tests/gpu/packed.py FOLDER packed.npz [--validation-images N] [--undecided FOLDER] [--alignment eyes]

A machine that is lent for minutes then needs neither thousands of small files nor the hashing of each.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lc2fer.alignment import ALIGNMENTS, cut, place
from lc2fer.data import labels_of, open_dataset, undecided
from lc2fer.data.dataset import Sample
from lc2fer.data.split import divide
from lc2fer.errors import DataError
from lc2fer.finder import find_in_crop, open_finder
from lc2fer.inputs import InputSpec, read_image
from lc2fer.training import faces as train_data
from lc2fer.training.faces import Faces

_ROW = 128  # faces a row of a mosaic


@dataclass(frozen=True)
class Packed:
    """What a run learns from, as it was packed."""

    pixels: dict[str, NDArray[np.uint8]]  # "fit" and "validation": grey [N,H,H]
    ids: dict[str, NDArray[np.int64]]
    shares: NDArray[np.float32]  # of "fit", [N,classes]
    labels: tuple[str, ...]
    described: dict[str, Any]  # as a run describes its data
    original: tuple[int, int] | None  # side and JPEG quality of the files, where these are smaller
    alignment: str  # how `faces` cuts them out
    # Where each face's square lies, float32 [N,4]: middle x and y and side, in sides of the picture, and degrees. NaN:
    # a face that was not found, which is taken as it is.
    squares: dict[str, NDArray[np.float32]]

    def faces(self, part: str, spec: InputSpec, device: torch.device) -> Faces:
        """A part as `lc2fer.training.faces.faces` would read it."""
        grey = self.pixels[part]
        pixels = np.empty((len(grey), spec.size, spec.size, 3), np.uint8)

        squares = self.squares.get(part)

        def prepare(at: int) -> None:
            picture = Image.fromarray(grey[at]) if self.original is None else _enlarged(grey[at], self.original)
            if squares is None or np.isnan(squares[at]).any():
                pixels[at] = spec.pixels(picture)
                return
            x, y, side = (float(share) * picture.width for share in squares[at, :3])
            turn = float(squares[at, 3])
            pixels[at] = cut(np.asarray(picture.convert("RGB")), (x, y), side, turn, spec.size)

        with ThreadPoolExecutor() as pool:
            list(pool.map(prepare, range(len(grey)), chunksize=256))
        moved = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).contiguous()
        return Faces(moved, torch.from_numpy(self.ids[part]).to(device))

    def targets(self, kind: str) -> torch.Tensor:
        """Float32 [N,classes] of "fit": the crowd's shares, or with kind "labels" the labels."""
        if kind == "votes":
            return torch.from_numpy(self.shares)
        return torch.eye(len(self.labels))[torch.from_numpy(self.ids["fit"])]


def pack(folder: Path, file: Path, keep: int = 0, more: Path | None = None, alignment: str = "none") -> None:
    """Write the data set of a folder; its pictures are to be square, of one size, and are kept in grey.

    `keep` as for `divide`. The training images of `more` have votes and no majority, and are learnt from too. With an
    `alignment`, the faces in the pictures are found and cut out by it when they are read again.
    """
    dataset = open_dataset(folder)
    split = divide(dataset, keep=keep)
    learnt = [(dataset, (*split.fit, *undecided(dataset, split.validation)))]
    if more is not None:
        other = open_dataset(more)
        learnt.append((other, undecided(replace(dataset, undecided=other.train), split.validation)))
    datasets, fits = zip(*learnt)
    parts = {"fit": sum(fits, ()), "validation": split.validation}
    try:
        shares = train_data.targets(datasets, fits, "votes")
    except DataError as error:  # it has none
        print(f"{error}\nPacked with labels instead.", file=sys.stderr)
        shares = train_data.targets(datasets, fits, "labels")
    write(
        file,
        {
            name: np.stack([np.asarray(read_image(one.path).convert("L")) for one in part])
            for name, part in parts.items()
        },
        {name: labels_of(part) for name, part in parts.items()},
        shares.numpy(),
        dataset.labels,
        {"name": folder.name, "fit_images": len(parts["fit"]), "split": split.fingerprint}
        | ({"validation_images": keep} if keep else {}),
        alignment=alignment,
        squares={} if alignment == "none" else {name: _squares(part, alignment) for name, part in parts.items()},
    )


def _squares(samples: Sequence[Sample], alignment: str) -> NDArray[np.float32]:
    """What `Packed.squares` holds of a part."""
    finder = open_finder(thorough=True)
    found = np.full((len(samples), 4), np.nan, np.float32)
    for number, sample in enumerate(samples):
        image = np.asarray(read_image(sample.path).convert("RGB"))
        for face in find_in_crop(finder, image)[:1]:
            (x, y), side, degrees = place(face, alignment)
            found[number] = (*(each / image.shape[1] for each in (x, y, side)), degrees)
    lost = int(np.isnan(found[:, 0]).sum())
    print(f"{lost} of {len(samples)} faces were not found and stay as they are", file=sys.stderr)
    return found


def write(
    file: Path,
    pixels: Mapping[str, NDArray[np.uint8]],
    ids: Mapping[str, NDArray[np.int64]],
    shares: NDArray[np.float32],
    labels: Sequence[str],
    described: Mapping[str, Any],
    original: tuple[int, int] | None = None,
    alignment: str = "none",
    squares: Mapping[str, NDArray[np.float32]] = MappingProxyType({}),
) -> None:
    """What `read` gives back."""
    about = json.dumps({"labels": labels, "data": described, "original": original, "alignment": alignment})
    np.savez(
        file,
        about=np.frombuffer(about.encode(), np.uint8),
        shares=shares,
        **{f"{name}_ids": found for name, found in ids.items()},
        **{f"{name}_squares": found for name, found in squares.items()},
        **{f"{name}_mosaic": _mosaic(found) for name, found in pixels.items()},  # type: ignore[arg-type]
    )
    counts = " and ".join(str(len(found)) for found in ids.values())
    print(f"{file}: {file.stat().st_size / 2**20:.1f} MiB, {counts} faces")


def read(file: Path) -> Packed:
    """The inverse of `write`."""
    with np.load(file) as found:
        about = json.loads(found["about"].tobytes())
        ids = {name: found[f"{name}_ids"] for name in ("fit", "validation")}
        pixels = {name: _apart(found[f"{name}_mosaic"], len(ids[name])) for name in ids}
        original = tuple(about["original"]) if about["original"] else None
        squares = {name: found[f"{name}_squares"] for name in ids if f"{name}_squares" in found}
        labels, alignment = tuple(about["labels"]), about.get("alignment", "none")
        return Packed(pixels, ids, found["shares"], labels, about["data"], original, alignment, squares)


def _enlarged(grey: NDArray[np.uint8], original: tuple[int, int]) -> Image.Image:
    """A face as the file that it was taken from shows it: bicubic, through JPEG."""
    side, quality = original
    file = io.BytesIO()
    Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC).convert("RGB").save(
        file, "JPEG", quality=quality
    )
    return Image.open(file)


def _mosaic(faces: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A PNG's bytes."""
    side = faces.shape[1]
    rows = -(-len(faces) // _ROW)
    whole = np.zeros((rows * _ROW, side, side), np.uint8)
    whole[: len(faces)] = faces
    picture = whole.reshape(rows, _ROW, side, side).transpose(0, 2, 1, 3).reshape(rows * side, _ROW * side)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", optimize=True)
    return np.frombuffer(file.getvalue(), np.uint8)


def _apart(png: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Grey faces [count,H,H]."""
    Image.MAX_IMAGE_PIXELS = None
    picture = np.asarray(Image.open(io.BytesIO(png.tobytes())))
    side = picture.shape[1] // _ROW
    faces = picture.reshape(-1, side, _ROW, side).transpose(0, 2, 1, 3).reshape(-1, side, side)
    return np.ascontiguousarray(faces[:count])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--validation-images", type=int, default=0, help="as for lc2fer-train")
    parser.add_argument("--undecided", type=Path, help="a data set with votes.csv whose images have no majority")
    parser.add_argument("--alignment", choices=ALIGNMENTS, default="none", help="how the faces are cut out")
    given = parser.parse_args()
    pack(given.folder, given.file, given.validation_images, given.undecided, given.alignment)

"""The --data argument, and reading its pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lc2fer.data import cache_folder, labels_of, open_dataset, read_pixels, synthetic
from lc2fer.data.rafdb import Sample
from lc2fer.errors import DataError
from lc2fer.inputs import InputSpec


def test_a_folder_is_opened(write_faces: Callable[..., Path], tmp_path: Path) -> None:
    root = write_faces(tmp_path / "rafdb", train=2, test=1, side=8)
    assert len(open_dataset(str(root)).train) == 14
    with pytest.raises(DataError, match=r"original is missing\."):
        open_dataset(root, "original")


def test_synthetic_is_drawn_once_into_the_cache(
    write_faces: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Path] = []

    def write(root: Path) -> Path:
        drawn.append(root)
        return write_faces(root, train=2, test=1, side=8)

    monkeypatch.setattr(synthetic, "write", write)
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path / "cache"))
    assert len(open_dataset("synthetic").train) == 14
    assert drawn == [tmp_path / "cache" / f"synthetic-{synthetic.GENERATOR}"]


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("LC2FER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path("/home/me/.cache/lc2fer")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache_folder() == Path("/cache/lc2fer")
    monkeypatch.setenv("LC2FER_CACHE", "/mine")
    assert cache_folder() == Path("/mine")


def test_pixels_and_labels_keep_the_samples_order(tmp_path: Path) -> None:
    samples = []
    for number in range(150):  # more than one chunk of the pool
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (4, 4), (number, 0, 255)).save(path)
        samples.append(Sample(path, number % 7))
    pixels = read_pixels(samples, InputSpec(size=4))
    assert (pixels.shape, pixels.dtype) == ((150, 4, 4, 3), np.uint8)
    assert pixels[:, 0, 0, 0].tolist() == list(range(150))
    assert pixels[:, 3, 3, 2].tolist() == [255] * 150
    assert labels_of(samples).tolist() == [number % 7 for number in range(150)]
    assert labels_of(samples).dtype == np.int64


def test_an_unreadable_picture_is_named(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.new("RGB", (4, 4)).save(good)
    bad.write_bytes(good.read_bytes()[:40])
    with pytest.raises(DataError) as refused:
        read_pixels([Sample(good, 0), Sample(bad, 0)], InputSpec(size=4))
    assert str(refused.value).startswith(f"{bad} cannot be read as a picture: ")


def test_no_pictures_give_empty_arrays() -> None:
    assert read_pixels([], InputSpec(size=4)).shape == (0, 4, 4, 3)
    assert labels_of([]).shape == (0,)

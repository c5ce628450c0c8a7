"""Small data sets in the forms that go round: a few noise faces each, easy to tell apart."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EXPRESSIONS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
FERPLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")


def face(label: int, number: int, side: int = 32) -> NDArray[np.uint8]:
    """A pattern of blocks, the class's own, under noise: uint8 [side, side, 3]."""
    blocks = np.random.default_rng(label).uniform(60, 196, (4, 4, 3)).repeat(side // 4, 0).repeat(side // 4, 1)
    noise = np.random.default_rng((label, number)).normal(0, 24, (side, side, 3))
    return np.asarray(np.clip(blocks + noise, 0, 255), np.uint8)


def folders(root: Path, names: Sequence[str], counts: dict[str, int], suffix: str = ".png", before: int = 0) -> Path:
    """root/<part>/<name>/0001.png; a part "" stands for the folder itself. The numbers follow `before`."""
    number = before
    for part, count in counts.items():
        for label, name in enumerate(names):
            place = root / part / name
            place.mkdir(parents=True, exist_ok=True)
            for _ in range(count):
                number += 1
                Image.fromarray(face(label, number)).save(place / f"{number:04d}{suffix}")
    return root


def fer2013(root: Path, counts: dict[str, int], *, header: str = "emotion,pixels,Usage") -> Path:
    """root/fer2013.csv with that many rows of each of seven emotions a part."""
    root.mkdir(parents=True, exist_ok=True)
    number = 0
    with (root / "fer2013.csv").open("w", newline="") as file:
        file.write(header + "\n")
        writer = csv.writer(file)
        for part, count in counts.items():
            for place in range(7 * count):
                number += 1
                pixels = " ".join(map(str, face(place % 7, number, 48)[..., 0].ravel()))
                cells = {"emotion": place % 7, "pixels": pixels, "Usage": part}
                writer.writerow([cells[name.strip()] for name in header.split(",")])
    return root


def votes(root: Path, rows: Sequence[Sequence[int]]) -> None:
    """fer2013new.csv beside it, with these rows of ten votes."""
    with (root / "fer2013.csv").open(newline="") as table:
        parts = [row["Usage"] for row in csv.DictReader(table, skipinitialspace=True)]
    with (root / "fer2013new.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Usage", "Image name", *FERPLUS])
        for number, row in enumerate(rows):
            writer.writerow([parts[number], f"fer{number:07d}.png", *row])


def ferplus_folders(root: Path, rows: dict[str, Sequence[Sequence[int]]]) -> Path:
    """FER2013Train and the like, each with label.csv and a picture for each of these rows of ten votes."""
    number = 0
    for part, votes in rows.items():
        (root / part).mkdir(parents=True)
        with (root / part / "label.csv").open("w", newline="") as file:
            for row in votes:
                name = f"fer{number:07d}.png"
                Image.fromarray(face(int(np.argmax(row)), number, 48)[..., 0]).save(root / part / name)
                csv.writer(file).writerow([name, "(0, 0, 48, 48)", *row])
                number += 1
    return root


def affectnet_tables(root: Path, counts: dict[str, int]) -> Path:
    """training.csv and validation.csv with photographs of eight expressions, and of none, uncertain and no face."""
    for part, count in counts.items():
        folder = root / "Manually_Annotated_Images" / part
        folder.mkdir(parents=True, exist_ok=True)
        with (root / f"{part}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            box = ("face_x", "face_y", "face_width", "face_height")
            writer.writerow(["subDirectory_filePath", *box, "facial_landmarks", "expression", "valence", "arousal"])
            for number in range(8 * count + 3):
                photograph = Image.new("RGB", (64, 48), (90, 120, 90))
                photograph.paste(Image.fromarray(face(number % 8, number + 1000 * len(part))), (20, 10))
                photograph.save(folder / f"{number}.png")
                said = number % 8 if number < 8 * count else 8 + number - 8 * count
                writer.writerow([f"{part}/{number}.png", 20, 10, 32, 32, "1;2;3", said, 0.1, -0.1])
    return root


def affectnet(root: Path, counts: dict[str, int]) -> Path:
    """train_set and val_set with images and annotations of eight expressions."""
    for part, count in counts.items():
        for number in range(8 * count):
            for folder in ("images", "annotations"):
                (root / part / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(face(number % 8, number + 1000 * len(part))).save(root / part / "images" / f"{number}.png")
            np.save(root / part / "annotations" / f"{number}_exp.npy", np.array(str(number % 8)))
    return root

"""RAF-DB basic (Li, Deng, Du, CVPR 2017), in the two layouts that its users have.

official  EmoLabel/list_patition_label.txt ("train_00001.jpg 5" a line), Image/aligned/train_00001_aligned.jpg
folders   DATASET/train/1..7/*.jpg, DATASET/test/1..7/*.jpg (DATASET/ may be the folder itself)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lc2fer.errors import DataError
from lc2fer.inputs import LABELS

_LIST = Path("EmoLabel") / "list_patition_label.txt"
_SUFFIXES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class Sample:
    """One picture and its class, 0..6 in the order of LABELS."""

    path: Path
    label: int


@dataclass(frozen=True)
class Dataset:
    """A data set as it lies on disk: `train` is the paper's D^u and D^v together, `test` its D^e."""

    root: Path
    layout: str  # official | folders
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]


def load(root: Path, images: str = "aligned") -> Dataset:
    """The data set in that folder, its layout detected; `images` is "aligned" or "original" (official layout only).

    Raises DataError, naming file and line, for a wrong folder, a missing picture, a label outside 1..7, an empty
    class or an empty split. Pictures are opened later, by whoever reads them.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(
            f"{root} is not a folder. Expected RAF-DB, or pictures laid out like it. Pass its folder as --data, or "
            "--data synthetic for procedural faces."
        )
    if (root / _LIST).is_file():
        layout, found = "official", _official(root, images)
    else:
        folder = next((place for place in (root / "DATASET", root) if (place / "train" / "1").is_dir()), None)
        if folder is None:
            raise DataError(
                f"{root} holds neither {_LIST} nor train/1..7. Expected RAF-DB's official layout or its folder layout. "
                "Pass the folder that contains EmoLabel/ and Image/, or DATASET/."
            )
        layout, found = "folders", _folders(folder)
    for split, samples in found.items():
        present = {sample.label for sample in samples}
        for label, name in enumerate(LABELS):
            if label not in present:
                raise DataError(
                    f"{root} has no {split} image of class {label + 1} ({name}). Expected at least one of each class "
                    "1..7. Complete the data set."
                )
    return Dataset(root, layout, tuple(found["train"]), tuple(found["test"]))


def _official(root: Path, images: str) -> dict[str, list[Sample]]:
    folder = root / "Image" / images
    if not folder.is_dir():
        raise DataError(
            f"{folder} is missing. {_LIST} is there, so the {images} images were expected beside it. "
            f"Unpack RAF-DB's {images}.zip there."
        )
    suffix = "_aligned" if images == "aligned" else ""
    there = {entry.name for entry in folder.iterdir()}
    found: dict[str, list[Sample]] = {"train": [], "test": []}
    listing = root / _LIST
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(f'{listing} is not text. Expected lines such as "train_00001.jpg 5". Copy it again.') from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        words = line.split()
        split = words[0].split("_")[0]
        if len(words) != 2 or split not in found or Path(words[0]).name != words[0]:
            raise DataError(
                f'{listing}, line {number}: {line.strip()!r} is not an entry. Expected "train_00001.jpg 5" or '
                '"test_0001.jpg 5". Correct the line.'
            )
        name = Path(words[0])
        picture = f"{name.stem}{suffix}{name.suffix}"
        if picture not in there:
            raise DataError(
                f"{folder / picture} is missing. {listing.name}, line {number}, names it. "
                "Unpack the images again, or remove the line."
            )
        found[split].append(Sample(folder / picture, _class(words[1], f"{listing}, line {number}")))
    return found


def _folders(folder: Path) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for split in ("train", "test"):
        if not (folder / split).is_dir():
            raise DataError(
                f"{folder / split} is missing. The folder layout has train/1..7 and test/1..7. Unpack it again."
            )
        found[split] = []
        for place in sorted(entry for entry in (folder / split).iterdir() if entry.is_dir()):
            label = _class(place.name, str(place))
            found[split] += [
                Sample(path, label) for path in sorted(place.iterdir()) if path.suffix.lower() in _SUFFIXES
            ]
    return found


def _class(text: str, where: str) -> int:
    if text not in {str(number) for number in range(1, len(LABELS) + 1)}:
        raise DataError(
            f"{where}: the label is {text!r}. Expected 1 (surprise) to 7 (neutral), RAF-DB's basic emotions. "
            "Correct or remove it."
        )
    return int(text) - 1

"""RAF-DB basic (Li, Deng, Du, CVPR 2017), in the two layouts that its users have.

official  EmoLabel/list_patition_label.txt ("train_00001.jpg 5" a line), Image/aligned/train_00001_aligned.jpg; the list
          goes round as list_partition_label.txt, with a third column, a byte-order mark, tabs and labels 0..6 as well
folders   DATASET/train/1..7/*.jpg, DATASET/test/1..7/*.jpg (DATASET/ may be the folder itself): lc2fer/data/folders.py
"""

from __future__ import annotations

from pathlib import Path

from lc2fer.data import folders, names
from lc2fer.data.dataset import Dataset, Sample, complete
from lc2fer.errors import DataError
from lc2fer.inputs import LABELS

_LIST = Path("EmoLabel") / "list_patition_label.txt"
_SPELLINGS = (_LIST, Path("EmoLabel") / "list_partition_label.txt")


def load(root: Path, images: str = "aligned") -> Dataset:
    """The data set in that folder, its layout detected; `images` is "aligned" or "original" (official layout only).

    Raises DataError, naming file and line, for a wrong folder, a missing picture, a label outside 1..7, an empty class
    or split. Pictures are opened later, by whoever reads them.
    """
    if not (root := Path(root)).is_dir():
        raise DataError(
            f"{root} is not a folder. Expected RAF-DB, or pictures laid out like it. Pass its folder as --data, or "
            "--data synthetic for procedural faces."
        )
    if listing(root) is not None:
        return official(root, images)
    folder = next((place for place in (root / "DATASET", root) if (place / "train" / "1").is_dir()), None)
    if folder is None:
        raise DataError(
            f"{root} holds neither {_LIST} nor train/1..7. Expected RAF-DB's official layout or its folder layout. "
            "Pass the folder that contains EmoLabel/ and Image/, or DATASET/."
        )
    if not (folder / "test").is_dir():
        gone = folder / "test"
        raise DataError(f"{gone} is missing. The folder layout has train/1..7 and test/1..7. Unpack it again.")
    return folders.load(root, folder, "1")


def listing(root: Path) -> Path | None:
    """The official layout's list of labels, by either spelling; None where there is none."""
    return next((root / name for name in _SPELLINGS if (root / name).is_file()), None)


def official(root: Path, images: str = "aligned", labels_from: str | None = None) -> Dataset:
    """The official layout in that folder; raises DataError as `load` does."""
    path = listing(root)
    assert path is not None
    folder = root / "Image" / images
    if not folder.is_dir():
        raise DataError(
            f"{folder} is missing. {path.relative_to(root)} is there, so the {images} images were expected beside it. "
            f"Unpack RAF-DB's {images}.zip there."
        )
    suffix = "_aligned" if images == "aligned" else ""
    there = {entry.name for entry in folder.iterdir()}
    found: dict[str, list[Sample]] = {"train": [], "test": []}
    entries = _entries(path)
    labels = {label for _, _, label in entries}
    scheme = labels_from or ("1" if "7" in labels else names.scheme(labels, str(path)))
    for number, name, label in entries:
        picture = f"{Path(name).stem}{suffix}{Path(name).suffix}"
        if picture not in there:
            raise DataError(
                f"{folder / picture} is missing. {path.name}, line {number}, names it. "
                "Unpack the images again, or remove the line."
            )
        meant = names.meaning(label, scheme, f"{path}, line {number}")
        found[name.split("_")[0]].append(Sample(folder / picture, LABELS.index(meant)))
    complete(root, LABELS, found)
    extra = len(there) - len({name for _, name, _ in entries})
    notes = (f"Left out: {extra:,} files of {folder} that {path.name} does not name.",) if extra else ()
    return Dataset(root, "official", tuple(found["train"]), tuple(found["test"]), notes=notes)


def _entries(path: Path) -> list[tuple[int, str, str]]:
    """Line number, picture and label of each entry; all lines have two columns, or all have three."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f'{path} is not text. Expected lines such as "train_00001.jpg 5". Copy it again.') from None
    found, columns = [], 0
    for number, line in enumerate(lines, 1):
        if not (words := line.split()):
            continue
        columns = columns or (3 if len(words) == 3 else 2)
        if len(words) != columns or words[0].split("_")[0] not in ("train", "test") or Path(words[0]).name != words[0]:
            raise DataError(
                f'{path}, line {number}: {line.strip()!r} is not an entry. Expected "train_00001.jpg 5" or '
                '"test_0001.jpg 5". Correct the line.'
            )
        found.append((number, words[0], words[1]))
    return found

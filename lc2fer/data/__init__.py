"""Data sets as people have them, a reader each, and procedural faces written in the layout of RAF-DB."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from lc2fer.arguments import a_path, at_home
from lc2fer.data import affectnet, affectnet_tables, copies, fer2013, ferplus_folders, folders, foreign, parts, rafdb
from lc2fer.data.dataset import Dataset, Litter, Sample, complete
from lc2fer.errors import DataError, UsageError
from lc2fer.inputs import InputSpec, read_image
from lc2fer.reading import Reading
from lc2fer.storage import cache_folder
from lc2fer.text import printable, remark

SYNTHETIC = "synthetic"
_SHOWN = 5  # copies that are named where they do no harm


def open_dataset(name: str | Path, images: str = "aligned", reading: Reading = Reading()) -> Dataset:  # noqa: B008
    """The data set of a --data argument: a folder, FER2013's CSV, or "synthetic", which draws procedural faces once.

    Raises DataError for what is none, and for training images that are also test images, all of them at once.
    """
    found = layout_of(name, images, reading)
    return found if str(name) == SYNTHETIC else without_copies(found, reading.leave_out_copies)


def layout_of(name: str | Path, images: str, reading: Reading) -> Dataset:
    """The same before anything has looked into its pictures."""
    if str(name) == SYNTHETIC:
        return _synthetic()
    found = _read(at_home(a_path(str(name))), images, reading)
    return replace(found, notes=(*found.notes, *_without_effect(found, reading)))


def _without_effect(found: Dataset, reading: Reading) -> list[str]:
    """A sentence for each flag that the layout has no use for."""
    notes = []
    if found.layout in ("fer2013", "ferplus", "affectnet") and reading.labels_from not in (None, found.layout):
        notes.append(f"--labels-from {reading.labels_from} has no effect: {found.place} has a numbering of its own.")
    if found.layout == "official" and reading.synonyms:
        given = " ".join(reading.synonyms)
        notes.append(f"--synonyms {given} has no effect: {found.place} has RAF-DB's seven classes by their numbers.")
    return notes


def _synthetic() -> Dataset:
    from lc2fer.data import synthetic

    root = cache_folder() / f"synthetic-{synthetic.GENERATOR}"
    if not root.exists():
        count = synthetic.TRAIN_IMAGES + synthetic.TEST_IMAGES
        remark(f"Drawing {count:,} procedural faces into {root}, once.")
    root.parent.mkdir(parents=True, exist_ok=True)
    return rafdb.load(synthetic.write(root))


def _read(path: Path, images: str, reading: Reading) -> Dataset:
    if path.suffix.lower() == ".csv" and path.is_file():
        return fer2013.load(path, reading.synonyms)
    if path.is_file():
        raise DataError(
            f"{path} is a file. Expected a folder of pictures, or fer2013.csv. Unpack it and pass its folder."
        )
    if not path.is_dir():
        return rafdb.load(path)  # which refuses it
    load = _reader(path, images, reading)
    if load is not None:
        return load()
    foreign.refuse_boxes(path)
    place = parts.place_of(path)
    if place is None:
        _refuse(path, images, reading)
    return folders.load(path, place, reading.labels_from, reading.synonyms)


def _reader(path: Path, images: str, reading: Reading) -> Callable[[], Dataset] | None:
    """What reads a folder with files that only one data set has; None where its folders have to tell."""
    if rafdb.listing(path) is not None:
        return partial(_official, path, images, reading.labels_from)
    for table in (path / name for name in fer2013.FILES):
        if table.is_file():
            return partial(fer2013.load, table, reading.synonyms)
    for module in (ferplus_folders, affectnet, affectnet_tables):
        if module.is_here(path):
            return partial(module.load, path, reading.synonyms)
    return None


def _official(path: Path, images: str, labels_from: str | None) -> Dataset:
    if labels_from not in (None, "0", "1"):
        raise UsageError(
            f"--labels-from {labels_from} was given for {path}, RAF-DB's official layout. Expected 1, its own "
            "numbers, or 0 for the same counted from 0. Correct --labels-from."
        )
    return rafdb.official(path, images, labels_from)


def _refuse(path: Path, images: str, reading: Reading) -> NoReturn:
    foreign.refuse_tables(path)
    below = [folder for place in (path, *_folders(path)) for folder in _folders(place)]
    inner = [folder for folder in below if _reader(folder, images, reading) or _has_parts(folder)]
    if inner:
        more = len(inner) - 1
        others = f", and so {f'are {more} others' if more > 1 else 'is another'} in it" if more else ""
        raise DataError(
            f"{path} is no data set itself; {inner[0]} is one{others}. The folder of one was expected. Pass {inner[0]}."
        )
    empty = parts.without_pictures(path)
    but = f": no picture lies in {', '.join(map(str, empty[:3]))}, beside folders with pictures" if empty else ""
    loose = Litter().pictures(path)
    but = but or (f": {len(loose):,} pictures lie in it, in no folder of a class" if loose else "")
    raise DataError(
        f"{path} holds no data set that is known{but}. Expected RAF-DB (EmoLabel/ and Image/), FER2013 (fer2013.csv), "
        "AffectNet (train_set/ and val_set/, or training.csv), or train/<class>/ and test/<class>/ with pictures. Pass "
        "the folder that contains them."
    )


def _has_parts(path: Path) -> bool:
    return {parts.PARTS.get(folder.name.lower()) for folder in _folders(path)} >= {"train", "test"}


def _folders(path: Path) -> list[Path]:
    return Litter().folders(path)


def without_copies(dataset: Dataset, leave_out: bool) -> Dataset:
    """The data set without training images that are test images too, if that was asked for; else with a list of them.

    Raises DataError for the same pictures. One that was saved anew or mirrored may be nobody's fault; it is kept, but
    export/int8/calibration.py does not look at it.
    """
    training = dataset.train + dataset.validation
    found = copies.known(dataset.root, training, dataset.test, _small)
    if not found:
        return dataset
    gone = {copy.train.path for copy in found}
    if leave_out:
        note = f"Left out: {len(found):,} training images that are test images too."
        train, validation = (
            tuple(sample for sample in samples if sample.path not in gone)
            for samples in (dataset.train, dataset.validation)
        )
        complete(dataset.place, dataset.labels, {"train": train})
        return replace(dataset, train=train, validation=validation, notes=(*dataset.notes, note))
    listed = [f"{len(found):,} training images of {dataset.place} are test images too:"]
    exact = any(not copy.how for copy in found)
    for copy in found if exact else found[:_SHOWN]:
        name, twin = copy.train.path.relative_to(dataset.root).as_posix(), copy.test.path.name
        how = f" ({copy.how})" if copy.how else ""
        listed.append(f"{printable(name)} is the same picture as the test image {printable(twin)}{how}")
    if exact:
        listed[-1] += (
            ". Calibration and policy may not see D^e. Remove the copy of each among the training images, or pass "
            "--leave-out-copies, which does without them."
        )
        raise DataError(*listed)
    if len(found) > _SHOWN:
        listed.append(f"and {len(found) - _SHOWN:,} others")
    listed[-1] += (
        ". Weights that are trained on them score better than they are. Pass --leave-out-copies to do without them; "
        "calibration and proof do so anyway."
    )
    return replace(dataset, notes=(*dataset.notes, "\n".join(listed)), copies=frozenset(gone))


def undecided(dataset: Dataset, validation: Sequence[Sample]) -> tuple[Sample, ...]:
    """Its training images without a majority that are no test image and none of `validation`, saved anew or not."""
    gone = {copy.train for copy in copies.find(dataset.undecided, (*dataset.test, *validation), _small)}
    return tuple(sample for sample in dataset.undecided if sample not in gone)


def _small(samples: Sequence[Sample]) -> NDArray[np.uint8]:
    return read_pixels(samples, InputSpec(size=copies.SIDE))


def read_pixels(samples: Sequence[Sample], spec: InputSpec) -> NDArray[np.uint8]:
    """The prepared pictures, uint8 [N, size, size, 3]; raises DataError, naming the file, for an unreadable one."""
    pixels = np.empty((len(samples), spec.size, spec.size, 3), np.uint8)

    def read(place: int) -> None:
        pixels[place] = spec.pixels(read_image(samples[place].path))

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding releases the interpreter's lock
        for _ in pool.map(read, range(len(samples)), chunksize=64):
            pass
    return pixels


def labels_of(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """Class ids int64 [N], places in the data set's labels."""
    return np.fromiter((sample.label for sample in samples), np.int64, len(samples))

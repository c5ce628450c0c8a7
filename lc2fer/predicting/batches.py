"""Pictures in batches: read and prepared in several threads, judged together, told in their order.

Memory holds one batch of faces and a picture a thread, however many there are; drawn copies need the batch's pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from lc2fer import pictures
from lc2fer.errors import DataError
from lc2fer.finder import Face, Finder
from lc2fer.inputs import InputSpec
from lc2fer.metrics import softmax
from lc2fer.predicting import judging
from lc2fer.predicting.judging import Answer
from lc2fer.predicting.output import Line
from lc2fer.predicting.sources import Item
from lc2fer.session import Session


@dataclass(frozen=True)
class Unit:
    """A picture to read, one of a film that is read, or what went wrong instead."""

    item: Item | DataError
    time_s: float | None = None  # of a film's picture
    image: NDArray[np.uint8] | None = None  # RGB [H,W,3]
    content: bytes | None = None  # of the file; None: it is read
    error: DataError | None = None


@dataclass(frozen=True)
class Told:
    """What came of a unit: a line, with the picture where it is kept, or an error."""

    item: Item | DataError
    line: Line | None = None
    image: NDArray[np.uint8] | None = None
    animated: bool = False  # the first of several pictures
    error: DataError | None = None


@dataclass(frozen=True)
class _Prepared:
    unit: Unit
    image: NDArray[np.uint8] | None  # where it is kept
    size: tuple[int, int]  # width, height
    animated: bool
    faces: tuple[Face, ...] | None  # None: the picture is a face
    pixels: tuple[NDArray[np.float32], ...]  # of each face


def units(items: Iterable[Item | DataError], every_s: float) -> Iterator[Unit]:
    """What each file holds: one picture, or those of a film."""
    for item in items:
        if isinstance(item, DataError):
            yield Unit(item, error=item)
        elif not item.is_film:
            yield Unit(item)
        else:
            try:
                for time_s, image in judging.frames(item.path, every_s):
                    yield Unit(item, time_s, image)
            except DataError as error:
                yield Unit(item, error=error)


def judged(
    given: Iterable[Unit],
    session: Session,
    finders: SimpleQueue[Finder] | None,
    way: str,
    *,
    batch: int,
    workers: int,
    keep: bool,
    spec: InputSpec | None = None,
) -> Iterator[Told]:
    """The units' answers, in their order, `batch` units at a time; `keep` their pictures.

    Faces are cut out as `spec` says, the session's own by default.
    `finders` has one for each worker: none may be used by two threads at once. Without any a picture is a face.
    """
    cut = spec or session.artifact.input_spec

    def prepare(unit: Unit) -> _Prepared | Told:
        if unit.error is not None:
            return Told(unit.item, error=unit.error)
        finder = None if finders is None else finders.get()
        try:
            return _prepared(unit, cut, finder, way, keep)
        except DataError as error:
            return Told(unit.item, error=error)
        finally:
            if finder is not None and finders is not None:
                finders.put(finder)

    left = iter(given)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(workers)) if batch > 1 else None
        while group := list(islice(left, batch)):
            prepared = list(map(prepare, group) if pool is None else pool.map(prepare, group))
            yield from _answered(prepared, session, batch)


def _prepared(unit: Unit, spec: InputSpec, finder: Finder | None, way: str, keep: bool) -> _Prepared:
    assert isinstance(unit.item, Item)
    image, animated = unit.image, False
    if image is None:
        picture = pictures.read(unit.item.path if unit.content is None else unit.content, str(unit.item.path))
        image, animated = np.asarray(picture.image, np.uint8), picture.animated
    faces, pixels = judging.prepare(image, spec, finder, way)
    height, width = image.shape[:2]
    return _Prepared(unit, image if keep else None, (width, height), animated, faces, pixels)


def _answered(prepared: list[_Prepared | Told], session: Session, batch: int) -> Iterator[Told]:
    pixels = [face for each in prepared if isinstance(each, _Prepared) for face in each.pixels]
    runs = (session.run(np.stack(pixels[begin : begin + batch])) for begin in range(0, len(pixels), batch))
    shares = iter([row for logits in runs for row in softmax(logits)])
    for each in prepared:
        if isinstance(each, Told):
            yield each
            continue
        assert isinstance(each.unit.item, Item)
        faces: tuple[Face | None, ...] = (None,) if each.faces is None else each.faces
        answers = tuple(Answer(face, next(shares)) for face in faces)
        yield Told(
            each.unit.item, Line(each.unit.item, each.unit.time_s, *each.size, answers), each.image, each.animated
        )

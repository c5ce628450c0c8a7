"""Pictures by the million: Ray Data reads them, workers judge them, each part of the list becomes a Parquet file.

A part that is there is not made again: who was stopped goes on with the same command. What cannot be read stops
nothing; a column of its own says why.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType
from typing import Any

from lc2fer import artifact as artifacts
from lc2fer import threads
from lc2fer.artifact import Artifact
from lc2fer.errors import DataError, TargetUnavailable, UsageError
from lc2fer.finder import Finder, open_finder
from lc2fer.predicting import batches, sources
from lc2fer.predicting.batches import Told, Unit
from lc2fer.predicting.sources import Found, Item
from lc2fer.session import open_session

_BLOCKS = 4  # of a part that each worker gets: who is slow, or dies, leaves little behind
COLUMNS = ("image", "bytes", "picture", "path")  # of a table, looked for in this order
_MODEL = "lc2fer.model"
_INPUTS = "lc2fer.inputs"  # in a part's metadata: what it was made from


@dataclass(frozen=True)
class _Part:
    """Some of the pictures: paths, or a table of them."""

    name: str
    inputs: str  # hash of what they are
    paths: tuple[str, ...] = ()
    table: str = ""


def main(given: Namespace, artifact: Artifact, say: Callable[[str], None]) -> dict[str, Any]:
    """Judge all pictures of `given`, part by part, into the folder `given.out`; returns the last line's document.

    Raises TargetUnavailable without Ray, UsageError where the folder holds other answers, DataError for a table without
    pictures.
    """
    _check(given)
    data, arrow, parquet = _imported("ray.data", "pyarrow", "pyarrow.parquet")
    counts = {"parts": 0, "parts_there": 0, "pictures": 0, "faces": 0, "without_face": 0, "unreadable": 0}
    found = Found()
    refused: list[DataError] = []
    given.out.mkdir(parents=True, exist_ok=True)
    if given.ray is None and not os.environ.get("RAY_ADDRESS"):  # workers of this machine: what they lack is told here
        if given.faces != "crop":
            open_finder(given.face_model, threads=1, thorough=True)
        with open_session(artifact, threads=1):
            pass
    model = _model(artifact, given)
    started, workers = _start(given)
    try:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        data.DataContext.get_current().enable_progress_bars = False
        data.DataContext.get_current().execution_options.preserve_order = True
        carried = _carried(artifact, given)
        schema = _schema(arrow, artifact.input_spec.labels)
        for part in _parts(given, found, refused, parquet):
            counts["parts"] += 1
            path = given.out / f"{part.name}.parquet"
            if path.exists():
                _check_same(path, part, model, parquet)
                counts["parts_there"] += 1
                answers = parquet.read_table(path)
            else:
                pictures = _read(data, arrow, part, given, workers)
                answers = _judged(data, pictures, carried, given.batch, workers)
                answers = arrow.concat_tables([schema.empty_table(), *(table.cast(schema) for table in answers)])
                with artifacts.whole(path) as temporary:
                    kept = {_MODEL: model, _INPUTS: part.inputs}
                    parquet.write_table(answers.replace_schema_metadata(kept), temporary)
                say(f"{path.name}: {answers.num_rows:,} rows")
            for name, number in _counts(answers).items():
                counts[name] += number
    finally:
        if started:
            importlib.import_module("ray").shutdown()
    for error in refused:
        say(f"DataError: {error}")
    counts["unreadable"] += len(refused)
    document = {"artifact": str(artifact.path), "out": str(given.out), "workers": workers, **counts}
    return {**document, "left_out": found.left_out, "exit_code": 2 if counts["unreadable"] else 0}


class Judge:
    """What a worker holds, opened once: a session and a finder. It makes tables of faces from tables of pictures."""

    def __init__(self, carried: list[Any]) -> None:
        """`carried` has Ray's reference to what `_carried` made, which the driver holds: a worker may start again."""
        files, name, alignment, way, face_model, batch = importlib.import_module("ray").get(carried[0])
        self._folder = tempfile.TemporaryDirectory(prefix="lc2fer-")
        here = Path(self._folder.name)
        for file, content in files.items():
            (here / file).write_bytes(content)
        artifact = artifacts.load(here / name)
        self._spec = replace(artifact.input_spec, alignment=alignment)
        self._session = open_session(artifact, threads=1)
        self._finders: SimpleQueue[Finder] | None = None
        if way != "crop":
            yunet = None
            if face_model is not None:
                yunet = here / "face_model.onnx"
                yunet.write_bytes(face_model)
            self._finders = SimpleQueue()
            self._finders.put(open_finder(yunet, threads=1, thorough=True))
        self._way, self._batch = way, batch

    def __call__(self, table: Any) -> Any:
        """A table with `picture` (what it is called) and `content` (its bytes; null: it is read) into one of faces."""
        arrow = importlib.import_module("pyarrow")
        rows = table.to_pylist()
        asked = [Unit(Item(Path(row["picture"]), Path(row["picture"])), content=row["content"]) for row in rows]
        options = {"batch": self._batch, "workers": 1, "keep": False, "spec": self._spec}
        told = batches.judged(asked, self._session, self._finders, self._way, **options)
        labels = self._session.artifact.input_spec.labels
        found = [line for row, each in zip(rows, told) for line in _rows(row["picture"], each, labels)]
        return arrow.Table.from_pylist(found, schema=_schema(arrow, labels))


def _rows(picture: str, told: Told, labels: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """A row for each face; one with an error where there was one, and one without a face where there is none."""
    if told.line is None:
        yield {"picture": picture, "error": str(told.error)}
        return
    for number, answer in enumerate(told.line.answers, 1):
        label, confidence = answer.best(labels)
        face = answer.face
        whole = (0, 0, told.line.width, told.line.height)
        box = whole if face is None else (face.left, face.top, face.width, face.height)
        sides = dict(zip(("left", "top", "width", "height"), map(round, box)))
        shares = {name: float(share) for name, share in zip(labels, answer.probabilities)}
        own = {"face": number, "found": face is not None, "expression": label, "confidence": confidence}
        yield {"picture": picture, **own, **sides, **shares}
    if not told.line.answers:
        yield {"picture": picture}


def _schema(arrow: ModuleType, labels: tuple[str, ...]) -> Any:
    whole, real, text = arrow.int32(), arrow.float32(), arrow.string()
    fields = [("picture", text), ("face", whole), ("found", arrow.bool_()), ("expression", text), ("confidence", real)]
    fields += [(name, whole) for name in ("left", "top", "width", "height")]
    return arrow.schema([*fields, *((label, real) for label in labels), ("error", text)])


def _carried(artifact: Artifact, given: Namespace) -> list[Any]:
    """What every worker needs, in Ray's store: the model may lie where only this machine sees it."""
    files = {path.name: path.read_bytes() for path in (artifact.manifest_path, *_files(artifact)) if path.is_file()}
    face_model = None if given.face_model is None else given.face_model.read_bytes()
    spec = artifact.input_spec
    told = (files, artifact.path.name, spec.alignment, given.faces, face_model, given.batch)
    return [importlib.import_module("ray").put(told)]


def _read(data: ModuleType, arrow: ModuleType, part: _Part, given: Namespace, workers: int) -> Any:
    """A part as a data set of `picture` and `content`."""
    if part.table:
        read = data.read_parquet(part.table, columns=[given.column])
        named = partial(_pictures, column=given.column, file=Path(part.table).name)
        return read.map_batches(named, batch_format="pyarrow", batch_size=given.batch)
    blocks = min(len(part.paths), _BLOCKS * workers)
    bounds = [len(part.paths) * block // blocks for block in range(blocks + 1)]
    tables = []
    for begin, end in pairwise(bounds):
        unread = arrow.nulls(end - begin, arrow.binary())
        tables.append(arrow.table({"picture": list(part.paths[begin:end]), "content": unread}))
    return data.from_arrow(tables)


def _judged(data: ModuleType, pictures: Any, carried: list[Any], batch: int, workers: int) -> Iterator[Any]:
    """Tables of the answers, in the order of the pictures."""
    answers = pictures.map_batches(
        Judge,
        fn_constructor_args=(carried,),
        batch_format="pyarrow",
        batch_size=batch,
        compute=data.ActorPoolStrategy(size=workers),
        num_cpus=1,
    )
    yield from answers.iter_batches(batch_size=None, batch_format="pyarrow")


def _pictures(table: Any, column: str, file: str) -> Any:
    """A table's pictures: bytes, a struct of bytes and path as Hugging Face's, or paths."""
    arrow = importlib.import_module("pyarrow")
    names, contents = [], []
    for value in table[column].to_pylist():
        name: object = None
        content = None
        if isinstance(value, dict):
            name, content = value.get("path"), value.get("bytes")
        elif isinstance(value, bytes):
            content = value
        else:
            name = value
        names.append(str(name or f"{file}#{hashlib.sha256(content or b'').hexdigest()[:12]}"))
        contents.append(content)
    return arrow.table({"picture": names, "content": arrow.array(contents, arrow.binary())})


def _parts(given: Namespace, found: Found, refused: list[DataError], parquet: ModuleType) -> Iterator[_Part]:
    """The list's parts, the same for the same list: tables as they are, paths by the thousand.

    What holds no picture, and what no table can name, goes to `refused`; raised where there is no picture at all.
    """
    tables = [Path(text) for text in given.pictures if text.endswith(".parquet") or _holds_tables(Path(text))]
    if tables and len(tables) < len(given.pictures):
        raise UsageError("Tables and pictures were given. Expected the one or the other. Give them one after another.")
    for number, file in enumerate(_files_of(tables)):
        try:
            read = parquet.ParquetFile(file)
            columns, rows = read.schema_arrow.names, read.metadata.num_rows
        except (OSError, ValueError) as error:
            raise DataError(f"{file} cannot be read as Parquet ({error}). Expected a table. Copy it again.") from None
        if given.column is None:
            given.column = next((name for name in COLUMNS if name in columns), None)
        if given.column not in columns:
            raise DataError(
                f"{file} has the columns {', '.join(columns)}. Expected pictures, as bytes or paths, in one of "
                f"{', '.join(COLUMNS)}. Name theirs with --column."
            )
        inputs = hashlib.sha256(f"{file.name} {file.stat().st_size} {rows} {given.column}".encode()).hexdigest()
        yield _Part(f"part-{number:06d}", inputs, table=str(file))
    if tables:
        return
    paths = _paths(given, found, refused)
    number = 0
    while some := tuple(islice(paths, given.part)):
        yield _Part(f"part-{number:06d}", hashlib.sha256("\0".join(some).encode("utf-8", "replace")).hexdigest(), some)
        number += 1
    if number == 0 and refused:
        raise refused[0]


def _paths(given: Namespace, found: Found, refused: list[DataError]) -> Iterator[str]:
    for item in sources.walk(given.pictures, sys.stdin.buffer, found, leave=given.out):
        if isinstance(item, DataError):
            refused.append(item)
        elif item.is_film:
            found.left_out += 1
        else:
            path = str(item.path.absolute())
            try:
                path.encode()
            except UnicodeEncodeError:
                refused.append(DataError(f"{path} is not UTF-8. A name that a table takes was expected. Rename it."))
            else:
                yield path


def _holds_tables(path: Path) -> bool:
    return path.is_dir() and any(path.glob("*.parquet"))


def _files_of(tables: Iterable[Path]) -> Iterator[Path]:
    for table in tables:
        yield from sorted(table.glob("*.parquet")) if table.is_dir() else [table]


def _files(artifact: Artifact) -> list[Path]:
    return [artifact.path.with_name(record.name) for record in artifact.files] or [artifact.path]


def _model(artifact: Artifact, given: Namespace) -> str:
    """What answers depend on besides the pictures."""
    finder = None if given.face_model is None else artifacts.hash_file(given.face_model)
    return json.dumps([artifact.sha256, given.faces, artifact.input_spec.alignment, finder])


def _check_same(path: Path, part: _Part, model: str, parquet: ModuleType) -> None:
    kept = parquet.read_schema(path).metadata or {}
    found = [kept.get(name.encode(), b"").decode() for name in (_MODEL, _INPUTS)]
    if found != [model, part.inputs]:
        what = "another model or other options" if found[0] != model else "other pictures"
        raise UsageError(
            f"{path} has the answers of {what}. Expected none, or those of the same run, which then goes on. Name "
            "another folder with --out."
        )


def _counts(answers: Any) -> dict[str, int]:
    """Of a part's rows; a picture's rows lie one after the other."""
    faces = answers["face"].to_pylist()
    errors = answers["error"].null_count
    unreadable = answers.num_rows - errors
    without = sum(face is None for face in faces) - unreadable
    pictures = sum(face in (None, 1) for face in faces)
    found = sum(face is not None for face in faces)
    return {"pictures": pictures - unreadable, "faces": found, "without_face": without, "unreadable": unreadable}


def _start(given: Namespace) -> tuple[bool, int]:
    """Join a cluster, or start one of this machine's own: whether it is ours to end, and the number of workers."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = importlib.import_module("ray")
    ours = not ray.is_initialized()
    here = ours and given.ray is None and not os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"address": given.ray}
    if here:  # one more than work: what reads the tables needs a place, too
        options = {"num_cpus": (given.workers or threads.usable_cores()) + 1, "include_dashboard": False}
    if ours:
        try:
            ray.init(**options, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # of many classes
            where = "started here" if here else f"reached at {given.ray or os.environ['RAY_ADDRESS']}"
            raise TargetUnavailable(
                f"Ray cannot be {where}: {str(error).splitlines()[0].rstrip('.')}. A cluster that answers was "
                "expected. Look at it with ray status, or run without --engine ray."
            ) from None
    return ours, given.workers or max(1, int(ray.cluster_resources().get("CPU", 2)) - 1)


def _imported(*names: str) -> tuple[ModuleType, ...]:
    try:
        return tuple(importlib.import_module(name) for name in names)
    except ModuleNotFoundError as error:
        raise TargetUnavailable(
            f"--engine ray needs the package {error.name}, which is not installed. It comes with the extra [ray]. "
            "Run: pip install 'lc2fer[ray]'."
        ) from None


def _check(given: Namespace) -> None:
    if given.out is None:
        raise UsageError("--engine ray was given without --out. Expected a folder for the answers. Name one.")
    for name in ("json", "csv", "draw"):
        if getattr(given, name):
            raise UsageError(
                f"--{name} was given with --engine ray. Expected the answers as Parquet alone. Leave --{name} out."
            )
    if given.threads is not None:
        raise UsageError(
            "--threads was given with --engine ray. Expected --workers: each has one thread. Leave --threads out."
        )
    for name in ("workers", "part"):
        value = getattr(given, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name} is {value}. Expected 1 or more. Correct --{name}.")

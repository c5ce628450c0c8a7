"""Every file on disk that claims something: the file and its manifest.

The manifest `<stem>.json` beside the file names every byte (sha256), what it was made from and how. It is written
last, so an artifact is complete or it is not there.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from lc2fer.errors import MALFORMED, ArtifactError, Lc2ferError
from lc2fer.inputs import InputSpec
from lc2fer.recipe import Recipe
from lc2fer.storage import flush, move
from lc2fer.targets import KINDS
from lc2fer.text import remark

FORMAT = 1
_MANIFEST_LIMIT = 4_000_000  # bytes; a manifest is some kilobytes
_STAGING = ".making-"
_READY = ".ready-"  # and the artifact's name: a folder of what is to be moved out, whole
_YOUNG_S = 60.0


@dataclass(frozen=True)
class FileRecord:
    """One file of an artifact, by its name beside the manifest."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Artifact:
    """A model file and what its manifest says of it."""

    path: Path  # the file that a session opens; the manifest is path.with_suffix(".json")
    kind: str
    target: str  # "onnx-int8", ...; "torch" for a checkpoint
    variant: str
    input_spec: InputSpec
    files: tuple[FileRecord, ...] = ()
    recipe: Recipe | None = None
    parent_sha256: str | None = None
    calibration: Mapping[str, Any] | None = None
    proof: Mapping[str, Any] | None = None  # how it agreed with its parent
    budget: Mapping[str, Any] | None = None  # what was found where INT8 had to earn its place: export/budget.py
    self_test: Mapping[str, Any] | None = None  # INT8 only: what it answered where it was proven (lc2fer/self_test.py)
    training: Mapping[str, Any] | None = None  # checkpoints only
    device: Mapping[str, Any] | None = None  # engines only
    tools: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`C6-onnx-int8`: the file's stem."""
        return self.path.stem

    @property
    def manifest_path(self) -> Path:
        return self.path.with_suffix(".json")

    @property
    def sha256(self) -> str:
        """Of the main file, or of all files' hashes where there are several."""
        if len(self.files) == 1:
            return self.files[0].sha256
        return hashlib.sha256("".join(record.sha256 for record in self.files).encode()).hexdigest()

    @property
    def size_bytes(self) -> int:
        """Of all its files, without the manifest."""
        return sum(record.size_bytes for record in self.files)

    def to_json(self) -> dict[str, Any]:
        """The manifest."""
        return {
            "format": FORMAT,
            "kind": self.kind,
            "target": self.target,
            "variant": self.variant,
            "files": [vars(record) for record in self.files],
            "input_spec": self.input_spec.to_json(),
            "recipe": None if self.recipe is None else self.recipe.to_json(),
            "parent_sha256": self.parent_sha256,
            "calibration": self.calibration,
            "proof": self.proof,
            "budget": self.budget,
            "self_test": self.self_test,
            "training": self.training,
            "device": self.device,
            "tools": dict(self.tools),
        }


def load(path: Path) -> Artifact:
    """The artifact of that model file or manifest, every file's hash checked.

    Files that were renamed along with their manifest are taken where the hashes prove them, and both names are said; of
    a link, the manifest beside the file that it leads to is taken. Where a process was killed while it published this
    artifact, the rest of its files are moved to their places first. Raises ArtifactError where the manifest is missing
    or damaged, or a file differs from what the manifest says.
    """
    path = Path(path)
    _check_name(path)
    if not path.name or path.is_dir():
        raise ArtifactError(f"{path} is a folder. Expected a model file or its manifest. Name the one in it.")
    try:
        return _load(path)
    except ArtifactError:
        if not _ready(path).is_dir():
            raise
        with suppress(OSError):  # a folder that cannot be written stays as it is
            _settle(_ready(path))
        return _load(path)


def _load(path: Path) -> Artifact:
    manifest = path if path.suffix == ".json" else path.with_suffix(".json")
    if path.is_symlink() and not manifest.is_file():
        path = path.resolve()
        manifest = path.with_suffix(".json")
    if not path.is_file():
        raise ArtifactError(f"{path} is missing. Expected a model file or its manifest. Make it with lc2fer-export.")
    if not manifest.is_file():
        raise ArtifactError(
            f"{path} has no manifest. Expected {manifest.name} beside it. Copy both, or export the model again."
        )
    if manifest.stat().st_size > _MANIFEST_LIMIT:
        raise ArtifactError(
            f"{manifest} has {manifest.stat().st_size:,} bytes. A manifest has at most {_MANIFEST_LIMIT:,}. "
            "Export the model again."
        )
    try:
        fields = json.loads(manifest.read_text(encoding="utf-8"))
        if fields["format"] != FORMAT or fields["kind"] not in KINDS:
            raise ArtifactError(
                f"{manifest} has format {fields['format']!r} and kind {fields['kind']!r}. This version reads format "
                f"{FORMAT} and the kinds {', '.join(KINDS)}. Use the version that made it, or export the model again."
            )
        for name in ("calibration", "proof", "budget", "self_test", "training", "device", "tools"):
            if not isinstance(fields.get(name) or {}, dict):
                raise TypeError(f"{name} {fields[name]!r:.80}")
        records = tuple(_record(**record) for record in fields["files"])
        records = _renamed(path, manifest, records)
        artifact = Artifact(
            path=manifest.parent / records[0].name,
            kind=fields["kind"],
            target=fields["target"],
            variant=fields["variant"],
            input_spec=InputSpec.from_json(fields["input_spec"]),
            files=records,
            recipe=None if fields["recipe"] is None else Recipe.from_json(fields["recipe"]),
            parent_sha256=fields["parent_sha256"],
            calibration=fields["calibration"],
            proof=fields["proof"],
            budget=fields.get("budget"),
            self_test=fields.get("self_test"),
            training=fields["training"],
            device=fields["device"],
            tools=fields["tools"],
        )
    except MALFORMED as error:
        raise ArtifactError(
            f"{manifest} is not a manifest of this project ({type(error).__name__}: {error}). Expected what "
            "lc2fer-export or lc2fer-train writes. Make the model again."
        ) from None
    for record in records:
        _check(manifest.parent, record)
    if path != manifest and path.name not in {record.name for record in records}:
        raise ArtifactError(
            f"{manifest} does not describe {path.name} but {records[0].name}. Expected the file's own manifest. "
            "Copy the right one, or make the model again."
        )
    return artifact


def bundled(variant: str) -> Path | None:
    """The checkpoint of that variant that comes with the package, if one does."""
    path = Path(str(resources.files("lc2fer") / "weights" / f"{variant}.safetensors"))
    return path if path.is_file() else None


def _record(name: Any, sha256: Any, size_bytes: Any) -> FileRecord:
    if not isinstance(name, str) or not isinstance(sha256, str) or not isinstance(size_bytes, int):
        raise TypeError(f"file {name!r} with sha256 {sha256!r} and size_bytes {size_bytes!r}")
    return FileRecord(name, sha256, size_bytes)


def _renamed(path: Path, manifest: Path, records: tuple[FileRecord, ...]) -> tuple[FileRecord, ...]:
    """The records under the names that the files have now, if these were renamed as their manifest was."""
    old, new = Path(records[0].name).stem, manifest.stem
    if any(Path(record.name).name != record.name for record in records):
        return records  # refused later
    if old == new and path.name in {manifest.name, *(record.name for record in records)}:
        return records
    now = []
    for record in records:
        suffix = record.name.removeprefix(old)
        file = path if record is records[0] and path != manifest else manifest.with_name(f"{new}{suffix}")
        same = record.name.startswith(old) and file.is_file() and file.stat().st_size == record.size_bytes
        if not same or hash_file(file) != record.sha256:
            return records
        now.append(replace(record, name=file.name))
    if str(manifest) not in _SAID:
        _SAID.add(str(manifest))
        remark(f"{manifest.parent / now[0].name} is {records[0].name}, by its sha256.")
    return tuple(now)


_SAID: set[str] = set()  # manifests whose files' two names were told, once a process


def _check(folder: Path, record: FileRecord) -> None:
    from lc2fer import header  # which imports this module

    if Path(record.name).name != record.name:
        raise ArtifactError(
            f"The manifest names the file {record.name!r}. Expected a plain name beside the manifest. Do not use it."
        )
    path = folder / record.name
    if not path.is_file():
        raise ArtifactError(f"{path} is missing. The manifest names it. Copy it too, or make the model again.")
    size = path.stat().st_size
    if size < record.size_bytes:
        header.refuse_other(path, "the file that its manifest describes")
    if size != record.size_bytes or hash_file(path) != record.sha256:
        raise ArtifactError(
            f"{path} is not the file that its manifest describes ({size:,} bytes, expected {record.size_bytes:,} with "
            f"sha256 {record.sha256[:12]}...). It was truncated or changed. Copy it again, or make the model again."
        )


def hash_file(path: Path) -> str:
    """Sha256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def record_of(path: Path) -> FileRecord:
    """A file's entry for a manifest."""
    return FileRecord(path.name, hash_file(path), path.stat().st_size)


def _check_name(path: Path) -> None:
    """Raise ArtifactError for a name that no engine can open: they take UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ArtifactError(
            f"{path} is not UTF-8. A name that every engine can open was expected. Rename it, or choose another place."
        ) from None


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A temporary folder inside `folder`, removed at the end whatever happens; `publish` moves out what is to stay.

    One that a process left which was killed is removed as well.
    """
    _check_name(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{_STAGING}*"):
        _remove_if_left(old)
    staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder))
    held = _lock(staging)
    try:
        yield staging
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise Lc2ferError(
            f"The disk of {folder} is full. Room for the new files was expected; what was there before is untouched. "
            "Free some space and run the command again."
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if held is not None:
            os.close(held)


def _lock(folder: Path) -> int | None:
    """An open descriptor that locks a folder for as long as this process lives; None where another one holds it."""
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_if_left(staging: Path) -> None:
    """Remove the folder of a process that no longer lives; a folder is made a moment before it is locked."""
    try:
        young = time.time() - staging.stat().st_mtime < _YOUNG_S
    except OSError:
        return
    held = None if young else _lock(staging)
    if held is not None:
        shutil.rmtree(staging, ignore_errors=True)
        os.close(held)


def publish(artifact: Artifact, folder: Path) -> Artifact:
    """Move a staged artifact's files to `folder`, its manifest last, each in one step.

    All of them are first put beside their places in one step, so that whoever finds them after a kill can go on.
    """
    staging = artifact.path.parent
    write(staging / artifact.manifest_path.name, artifact.to_json())
    shared = stat.S_IMODE((staging / artifact.manifest_path.name).stat().st_mode)
    together = staging / "together"
    together.mkdir()
    for record in artifact.files:
        (staging / record.name).chmod(shared)  # some writers allow nobody else to read
        os.replace(staging / record.name, together / record.name)
    os.replace(staging / artifact.manifest_path.name, together / artifact.manifest_path.name)
    flush(together)
    ready = _ready(folder / artifact.path.name)
    while True:
        try:
            os.rename(together, ready)
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            _settle(ready)  # of a process that was killed, or that publishes the same artifact now
    _settle(ready)
    return replace(artifact, path=folder / artifact.path.name)


def _ready(path: Path) -> Path:
    return path.with_name(f"{_READY}{path.stem}")


def _settle(ready: Path) -> None:
    """Move an artifact's files from there to their places, its manifest last; others may do so at the same time."""
    manifest = f"{ready.name.removeprefix(_READY)}.json"
    try:
        names = sorted(path.name for path in ready.iterdir())
    except FileNotFoundError:  # another did all of it
        return
    for name in sorted(names, key=lambda name: name == manifest):
        with suppress(FileNotFoundError):
            os.replace(ready / name, ready.parent / name)
    with suppress(OSError):  # removed by another, or filled anew
        ready.rmdir()


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write JSON so that a reader finds the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump(document, file, indent=1, allow_nan=False)
        file.write("\n")


def write_text(path: Path, text: str) -> None:
    """Write a text as `write` writes JSON; what is no UTF-8, as some files' names, is written as \\udcff is."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; what was written there is moved to `path` at the end, if nothing went wrong."""
    temporary = path.with_name(f".{path.name[:24]}.{secrets.token_hex(8)}")  # a name may be as long as a system takes
    try:
        yield temporary
        move(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def tool_versions(*packages: str) -> dict[str, str]:
    """Installed versions of this project and those packages, for a manifest."""
    return {package: metadata.version(package) for package in ("lc2fer", *packages)}

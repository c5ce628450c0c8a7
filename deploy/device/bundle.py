"""A bundle: one tar with all that a device needs to build, verify and run a variant; read as untrusted data.

`bundle.json`, its first member, names every other one with its size and sha256. The golden faces are drawn, so a bundle
shows nobody's face.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lc2fer import artifact as artifacts
from lc2fer import header
from lc2fer.artifact import Artifact, FileRecord
from lc2fer.errors import MALFORMED, ArtifactError
from lc2fer.inputs import InputSpec
from lc2fer.storage import flush, move
from lc2fer.targets import KINDS

from . import signing
from .signing import SIGNATURE

FORMAT = 1
MANIFEST = "bundle.json"
IMAGES = "golden.images"  # uint8 [N,H,W,3], raw
LOGITS = "golden.logits"  # float32 [N,classes], little endian, raw
_MANIFEST_LIMIT = 1_000_000  # bytes
_SIZE_LIMIT = 200_000_000  # bytes of all members; the eight models of C3, the largest, stay below
_FILES_LIMIT = 64
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE


@dataclass(frozen=True)
class Model:
    """One model of a bundle and the least SQNR, in dB, that it must show on the golden faces."""

    file: str
    sqnr_db: float


@dataclass(frozen=True)
class Bundle:
    """An unpacked bundle, every byte of it checked."""

    folder: Path
    variant: str
    input_spec: InputSpec
    parent_sha256: str  # of the trained weights
    files: tuple[FileRecord, ...]
    models: tuple[Model, ...]

    def artifact(self, model: Model) -> Artifact:
        """That model with its manifest; raises ArtifactError where the two differ."""
        return artifacts.load(self.folder / model.file)

    @property
    def golden(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Images float32 [N,3,H,W] in 0..255 and the trained network's logits float32 [N,classes]."""
        size, classes = self.input_spec.size, len(self.input_spec.labels)
        pixels = np.frombuffer((self.folder / IMAGES).read_bytes(), np.uint8)
        logits = np.frombuffer((self.folder / LOGITS).read_bytes(), "<f4")
        count = len(logits) // classes
        if count == 0 or len(pixels) != count * size * size * 3 or len(logits) != count * classes:
            raise ArtifactError(
                f"{self.folder} has golden faces of {len(pixels):,} bytes and {len(logits):,} logits, which do not "
                f"belong together. Expected {size * size * 3:,} bytes and {classes} logits a face. Make it again."
            )
        images = pixels.reshape(count, size, size, 3).transpose(0, 3, 1, 2)  # NHWC -> NCHW
        return np.ascontiguousarray(images, np.float32), logits.reshape(count, classes).astype(np.float32)


def write(
    path: Path,
    files: Sequence[Path],
    *,
    variant: str,
    input_spec: InputSpec,
    parent_sha256: str,
    models: Sequence[Model],
    key: Path | None = None,
) -> None:
    """Write the tar, whole or not at all, signed by the private `key` if there is one.

    Equal files give equal bytes: no times, no owners, sorted names.
    """
    ordered = sorted(files, key=lambda file: file.name)
    manifest = {
        "format": FORMAT,
        "variant": variant,
        "input_spec": input_spec.to_json(),
        "parent_sha256": parent_sha256,
        "models": [vars(model) for model in models],
        "files": [vars(artifacts.record_of(file)) for file in ordered],
    }
    text = json.dumps(manifest, indent=1).encode()
    signature = None if key is None else signing.sign(text, key)
    with artifacts.staged(path.parent) as staging:
        with tarfile.open(staging / path.name, "w", format=tarfile.USTAR_FORMAT) as tar:
            _add(tar, MANIFEST, text)
            if signature is not None:
                _add(tar, SIGNATURE, signature)
            for file in ordered:
                _add(tar, file.name, file.read_bytes())
        move(staging / path.name, path)


@contextmanager
def opened(path: Path, key: Path | None = None) -> Iterator[Bundle]:
    """That bundle, unpacked for as long as it is used; a folder made by `unpack` is used as it is.

    Raises ArtifactError as `unpack` does.
    """
    if path.is_dir():
        yield load(path, key)
        return
    with tempfile.TemporaryDirectory(prefix="lc2fer-bundle-") as folder:  # where the bundle lies nothing is written
        yield _unpack(path, Path(folder), key)


def unpack(path: Path, folder: Path, key: Path | None = None) -> Bundle:
    """Unpack to a folder, whole or not at all; another bundle there is replaced, the same one kept with its engines.

    Raises ArtifactError for a file that is missing, truncated, no bundle, or holds anything that its manifest does not
    name by a plain name, its size and its sha256; with a public `key`, also for one that its owner did not sign.
    """
    folder = Path(os.path.abspath(folder))  # "." and ".." have no name of their own
    with artifacts.staged(folder.parent) as staging:
        fresh = staging / "fresh"
        fresh.mkdir()
        unpacked = _unpack(path, fresh, key)
        flush(fresh)
        names = [record.name for record in unpacked.files]
        if (fresh / SIGNATURE).is_file():
            names.append(SIGNATURE)
        if folder.is_dir() and _nothing_else(folder, fresh, names):  # where a shell may stand: it stays
            for name in (*names, MANIFEST):
                os.replace(fresh / name, folder / name)
        elif folder.exists():
            if not (folder / MANIFEST).is_file():  # nothing but a bundle is replaced
                raise ArtifactError(
                    f"{folder} is there and holds no bundle. A new folder, an empty one, or one that a bundle was "
                    "unpacked to was expected. Choose another with --to."
                )
            there = _claimed(folder)
            if there == replace(unpacked, folder=folder) and _damaged(there) is None:
                if SIGNATURE in names:
                    os.replace(fresh / SIGNATURE, folder / SIGNATURE)
                return there
            _exchange(fresh, folder)
        else:
            os.replace(fresh, folder)
    return load(folder)


def load(folder: Path, key: Path | None = None) -> Bundle:
    """The bundle unpacked in that folder, every file checked, and with a public `key` its signature.

    Raises ArtifactError.
    """
    bundle = _claimed(folder)
    if key is not None:
        _check_signature(folder, key, str(folder))
    damaged = _damaged(bundle)
    if damaged is not None:
        raise _differs(damaged, str(folder))
    return bundle


def _nothing_else(folder: Path, fresh: Path, names: Sequence[str]) -> bool:
    """Whether a folder is empty, or holds what a process that was killed had moved there of the same bundle."""
    return all(
        path.name in names and path.is_file() and artifacts.hash_file(path) == artifacts.hash_file(fresh / path.name)
        for path in folder.iterdir()
    )


def _check_signature(folder: Path, key: Path, place: str) -> None:
    with (folder / MANIFEST).open("rb") as file:
        content = file.read(_MANIFEST_LIMIT)
    path = folder / SIGNATURE
    signature = path.read_bytes() if path.is_file() and path.stat().st_size == signing.SIZE else None
    signing.check(content, signature, key, place)


def _exchange(fresh: Path, folder: Path) -> None:
    """Change two folders in one step where the system can do so, so that there is a whole one at any moment."""
    with suppress(OSError, AttributeError):  # no glibc, or a file system that cannot
        exchange = ctypes.CDLL(None, use_errno=True).renameat2
        if exchange(_HERE, os.fsencode(fresh), _HERE, os.fsencode(folder), _EXCHANGE) == 0:
            return
    old = fresh.with_name("old")
    os.replace(folder, old)
    try:
        os.replace(fresh, folder)
    except BaseException:
        os.replace(old, folder)
        raise


def _claimed(folder: Path) -> Bundle:
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtifactError(f"{folder} holds no {MANIFEST}. Expected an unpacked bundle. Name the bundle's own file.")
    with path.open("rb") as file:
        return _parse(file.read(_MANIFEST_LIMIT), folder, str(folder))


def _damaged(bundle: Bundle) -> str | None:
    """The first file that is not what the manifest says."""
    for record in bundle.files:
        file = bundle.folder / record.name
        if not file.is_file() or file.stat().st_size != record.size_bytes or artifacts.hash_file(file) != record.sha256:
            return record.name
    return None


def _unpack(path: Path, folder: Path, key: Path | None) -> Bundle:
    with _tar(path) as tar:
        text = _manifest(tar, path)
        bundle = _parse(text, folder, str(path))
        wanted = {record.name: record for record in bundle.files}
        (folder / MANIFEST).write_bytes(text)
        for place, member in enumerate(iter(tar.next, None)):
            if place == 0 and member.name == SIGNATURE and member.isreg() and member.size == signing.SIZE:
                (folder / SIGNATURE).write_bytes(_content(tar, member).read())
                continue
            if place == 0 and key is not None:  # it is not signed
                break
            record = wanted.pop(member.name, None)
            if record is None or not member.isreg() or member.size != record.size_bytes:
                raise _differs(member.name, str(path))
            _copy(_content(tar, member), folder / record.name, record, str(path))
        if key is not None:
            _check_signature(folder, key, str(path))
        if wanted:
            raise _differs(min(wanted), str(path))
        return bundle


@contextmanager
def _tar(path: Path) -> Iterator[tarfile.TarFile]:
    if not path.is_file():
        raise ArtifactError(
            f"{path} is missing. Expected a bundle. Make one where the weights are: lc2fer-deploy bundle --config C6."
        )
    header.refuse_other(path, "a bundle")
    if path.suffix in {kind.suffix for kind in KINDS.values()}:
        raise ArtifactError(
            f"{path} is a model's file. Expected a bundle. Name the bundle; lc2fer-deploy run and bench take a model, "
            "lc2fer-deploy verify takes one as --model."
        )
    try:
        with tarfile.open(path, "r:") as tar:
            yield tar
    except (tarfile.TarError, EOFError) as error:
        raise ArtifactError(
            f"{path} cannot be read as a bundle ({error}). It may be truncated. Copy it again, or make it again."
        ) from None


def _manifest(tar: tarfile.TarFile, path: Path) -> bytes:
    first = tar.next()
    if first is None or first.name != MANIFEST or not first.isreg() or first.size > _MANIFEST_LIMIT:
        raise ArtifactError(
            f"{path} does not begin with {MANIFEST}. Expected a bundle of lc2fer-deploy. Make it again."
        )
    return _content(tar, first).read()


def _parse(text: bytes, folder: Path, place: str) -> Bundle:
    """The manifest's claims, checked for form: plain names, sane sizes, models among the files."""
    try:
        fields: Mapping[str, Any] = json.loads(text)
        if fields["format"] != FORMAT:
            raise ArtifactError(
                f"{place} is a bundle of format {fields['format']!r}. This version reads format {FORMAT}. Install the "
                "version that made it, or make the bundle again."
            )
        records = tuple(
            FileRecord(str(each["name"]), str(each["sha256"]), int(each["size_bytes"])) for each in fields["files"]
        )
        bundle = Bundle(
            folder=folder,
            variant=str(fields["variant"]),
            input_spec=InputSpec.from_json(fields["input_spec"]),
            parent_sha256=str(fields["parent_sha256"]),
            files=records,
            models=tuple(Model(str(each["file"]), float(each["sqnr_db"])) for each in fields["models"]),
        )
    except MALFORMED as error:
        raise ArtifactError(
            f"{place} has a damaged {MANIFEST} ({type(error).__name__}: {error}). Expected what lc2fer-deploy bundle "
            "writes. Make the bundle again."
        ) from None
    names = [record.name for record in records]
    odd = [name for name in names if not _is_plain(name)]
    if odd or len(set(names)) < len(names):
        raise ArtifactError(
            f"{place} names the file {(odd or names)[0]!r}. Expected plain names, each once. Do not use this bundle."
        )
    size = sum(record.size_bytes for record in records)
    if len(names) > _FILES_LIMIT or size > _SIZE_LIMIT or any(record.size_bytes < 0 for record in records):
        raise ArtifactError(
            f"{place} claims {len(names)} files of {size:,} bytes. A bundle has at most {_FILES_LIMIT} files of "
            f"{_SIZE_LIMIT:,} bytes. Do not use it."
        )
    missing = {IMAGES, LOGITS, *(model.file for model in bundle.models)} - set(names)
    if missing or not bundle.models:
        raise ArtifactError(
            f"{place} lacks {', '.join(sorted(missing)) or 'models'}. Expected models and golden faces. "
            "Make the bundle again."
        )
    return bundle


def _is_plain(name: str) -> bool:
    reserved = name in {"", ".", "..", MANIFEST, SIGNATURE}
    return not reserved and "/" not in name and "\\" not in name and name.isprintable() and len(name) <= 99


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> BinaryIO:
    content = tar.extractfile(member)
    assert content is not None  # a regular file has content
    return content  # type: ignore[return-value]  # typeshed says IO[bytes]


def _copy(source: BinaryIO, target: Path, record: FileRecord, place: str) -> None:
    digest = hashlib.sha256()
    with target.open("xb") as file:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != record.sha256:
        raise _differs(record.name, place)


def _differs(name: str, place: str) -> ArtifactError:
    return ArtifactError(
        f"{place}: {name!r} is not what {MANIFEST} describes. It was changed, truncated, or is missing or foreign. "
        "Copy the bundle again, or make it again."
    )


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o644
    tar.addfile(info, io.BytesIO(content))

"""Where a bundle is unpacked to: what was there, what is kept, and what is left if something goes wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import written
from lc2fer.deploy.device import bundle

from lc2fer import cli
from lc2fer.errors import ArtifactError


def test_it_is_unpacked_to_a_new_folder_an_empty_one_and_the_one_it_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, empty = written(tmp_path), tmp_path / "empty"
    empty.mkdir()
    place = empty.stat().st_ino
    monkeypatch.chdir(empty)
    for folder in (tmp_path / "new" / "folder", Path()):
        assert bundle.unpack(path, folder).folder == folder.absolute()
    assert empty.stat().st_ino == place  # a shell may stand there
    assert sorted(os.listdir(empty)) == ["a.onnx", "bundle.json", bundle.IMAGES, bundle.LOGITS]


@pytest.mark.parametrize("given", [".", "/"])
def test_a_folder_is_not_unpacked(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run("deploy", ["unpack", given]) == 2
    assert capsys.readouterr().err == (
        f"ArtifactError: {Path(given)} is a folder. Expected a bundle's file, as C6.bundle. Name the one in it.\n"
    )


def test_what_a_killed_process_had_unpacked_is_completed(tmp_path: Path) -> None:
    path, folder = written(tmp_path), tmp_path / "there"
    whole = bundle.unpack(path, folder)
    (folder / bundle.MANIFEST).unlink()
    (folder / bundle.LOGITS).unlink()
    assert bundle.unpack(path, folder) == whole
    (folder / bundle.MANIFEST).unlink()
    (folder / "a.onnx").write_bytes(b"other")
    with pytest.raises(ArtifactError, match="is there and holds no bundle"):
        bundle.unpack(path, folder)


@pytest.mark.parametrize("exchanges", [True, False], ids=["in one step", "where the system cannot"])
def test_another_bundle_is_replaced_and_the_same_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    if not exchanges:
        monkeypatch.setattr(bundle.ctypes, "CDLL", lambda *_, **__: object())
    folder = tmp_path / "there"
    one, other = written(tmp_path / "a"), written(tmp_path / "b", z=b"z")
    bundle.unpack(one, folder)
    (folder / "built.engine").write_bytes(b"engine")
    assert bundle.unpack(one, folder).variant == "C8"
    assert (folder / "built.engine").is_file()
    assert [file.name for file in bundle.unpack(other, folder).files][-1] == "z"
    assert not (folder / "built.engine").exists()
    (folder / "z").write_bytes(b"y")
    (folder / "built.engine").write_bytes(b"engine")
    bundle.unpack(other, folder)
    assert (folder / "z").read_bytes() == b"z"  # a damaged one is none that is kept
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "there"]


def test_what_was_there_stays_where_the_new_one_cannot_be_moved_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "there"
    before = bundle.unpack(written(tmp_path / "a"), folder)
    monkeypatch.setattr(bundle.ctypes, "CDLL", lambda *_, **__: object())
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if Path(source).name == "fresh":
            raise PermissionError
        replace(source, target)

    monkeypatch.setattr(bundle.os, "replace", refuse)
    with pytest.raises(PermissionError):
        bundle.unpack(written(tmp_path / "b", z=b"z"), folder)
    assert bundle.load(folder) == before


@pytest.mark.parametrize("change", [lambda file: file.unlink(), lambda file: file.write_bytes(b"modem")])
def test_a_file_that_was_changed_after_unpacking_is_named(tmp_path: Path, change: Callable[[Path], object]) -> None:
    folder = tmp_path / "there"
    bundle.unpack(written(tmp_path), folder)
    change(folder / "a.onnx")
    with pytest.raises(ArtifactError, match=r"there: 'a\.onnx' is not what bundle\.json describes"):
        bundle.load(folder)


def test_a_manifest_that_grew_after_unpacking_is_not_read_beyond_its_limit(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    made = bundle.unpack(written(tmp_path), folder)
    fields = json.loads((folder / bundle.MANIFEST).read_text())
    empty = len(json.dumps({**fields, "more": ""}))
    for size in (1_000_000, 1_000_001):
        (folder / bundle.MANIFEST).write_text(json.dumps({**fields, "more": "x" * (size - empty)}))
        if size == 1_000_000:
            assert bundle.load(folder) == made
    with pytest.raises(ArtifactError, match=r"has a damaged bundle\.json \(JSONDecodeError: "):
        bundle.load(folder)

"""Every writer on a disk that is full, broken or read-only, or killed between two system calls: never half."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
WRITERS = (  # tests/faults/writers.py; the commands of tests/faults/commands.py take minutes
    "an artifact",
    "an artifact of two files",
    "the first artifact",
    "a checkpoint",
    "a training's state",
    "a document",
    "a report's pages",
    "a journal",
    "a bundle",
    "an unpacked bundle",
    "a bundle over another",
    "a bundle in an empty folder",
    "compiled kernels",
    "procedural faces",
    "the pictures of fer2013.csv",
    "answers and copies",
)
CACHES = ("compiled kernels", "procedural faces", "the pictures of fer2013.csv")
_MOST = 3  # system calls of a writer that are tried here, spread over all of them; by hand it is every one


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What disk.py found, with a few system calls of each writer."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("a C compiler and Linux are needed to make a disk fail")
    folder = tmp_path_factory.mktemp("disk")
    library, out = folder / "disk.so", folder / "found.json"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", str(HERE / "disk.c"), "-o", str(library), "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    command = [sys.executable, str(HERE / "disk.py"), "--most", str(_MOST), "--out", str(out), *WRITERS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert out.is_file(), done.stderr
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.mark.parametrize("writer", WRITERS)
def test_what_was_there_is_there_and_the_next_run_goes_on(tried: dict[str, Any], writer: str) -> None:
    assert [one for one in tried["wrong"] if one.startswith(f"{writer}: ")] == []
    assert tried["trials"][writer]["killed"] == _MOST
    assert set(tried["trials"][writer]) == {"no space", "I/O error", "read-only", "killed"}


@pytest.mark.parametrize(
    "writer", [name for name in WRITERS if not name.startswith(("compiled", "procedural", "the pic"))]
)
def test_the_disk_keeps_a_file_before_it_is_moved_to_its_place(
    writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a loss of power leaves an empty file under its name. Caches are written without that wait."""
    monkeypatch.syspath_prepend(str(HERE))
    one = import_module("writers").WRITERS[writer]
    one.before(tmp_path)
    kept: set[int] = set()
    moved: list[str] = []
    sync, replaced, renamed = os.fsync, os.replace, os.rename

    def looked_at(source: str | Path) -> None:
        path = Path(source)
        files = [each for each in [path, *path.rglob("*")] if each.is_file()]
        moved.extend(each.name for each in files if each.stat().st_ino not in kept)

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        kept.add(os.fstat(descriptor).st_ino)

    def replace(source: str | Path, place: str | Path) -> None:
        if not any(part.startswith(".") for part in Path(place).relative_to(tmp_path).parts):
            looked_at(source)
        replaced(source, place)

    def rename(source: str | Path, place: str | Path) -> None:
        looked_at(source)
        renamed(source, place)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "rename", rename)
    one.act(tmp_path)
    assert kept
    assert moved == []

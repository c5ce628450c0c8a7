"""Every writer on a disk that is full, broken or read-only, or killed between two system calls: never half."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
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

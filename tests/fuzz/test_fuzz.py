"""Every reader for a moment, by mutation from the same seed; `python tests/fuzz/fuzz.py --seconds 3600` does it well.

Inputs that were once answered wrongly lie in corpus/ and are read first.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SECONDS = 0.5
GROUPS = (  # in one process each: importing costs more than reading
    ("weights", "header", "run", "state"),
    ("manifest", "bundle", "bundle-json", "report", "gate", "journal", "rules", "recorded", "address", "listed"),
    ("raf-list", "fer2013", "ferplus", "ferplus-folders", "votes", "picture"),
    ("onnx", "ir", "film"),
)
PROGRAM = """
import json, sys
from pathlib import Path
import one
code = 0
for name in sys.argv[2:]:
    code |= one.main([name, "--plain", "--seconds", sys.argv[1], "--folder", str(Path.cwd() / name)])
sys.exit(code)
"""


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0])
def test_whatever_is_read_is_taken_or_refused_in_a_sentence(group: tuple[str, ...], tmp_path: Path) -> None:
    for name, package in (("onnx", "onnx"), ("ir", "openvino"), ("film", "cv2"), ("address", "starlette")):
        if name in group:
            pytest.importorskip(package)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(SECONDS), *group],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=280,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(HERE)},
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"how"')]
    assert done.returncode == 0, (done.returncode, [one["fault"] for one in told], done.stderr[-2000:])
    assert len(told) == len(group)
    assert all(one["inputs"] > 0 for one in told)


def test_no_reader_is_left_out() -> None:
    known = subprocess.run(
        [sys.executable, "-c", "import readers; print(*readers.READERS)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=HERE,
    )
    assert sorted(known.stdout.split()) == sorted(name for group in GROUPS for name in group)


@pytest.mark.skipif(not (shutil.which("g++") and shutil.which("nm")), reason="there is no g++ here")
def test_the_operators_fuzzer_lacks_nothing_but_the_variants_tables(tmp_path: Path) -> None:
    """It stands in for lc2fer/kernels/dispatch.cpp; compiled as it runs, with sanitizers, it takes minutes."""
    made = tmp_path / "operators.o"
    subprocess.run(["g++", "-std=c++17", "-O0", "-c", str(HERE / "operators.cpp"), "-o", str(made)], check=True)
    lacks = subprocess.run(["nm", "-uC", str(made)], capture_output=True, text=True, check=True).stdout
    assert [
        name for name in re.findall("lc2fer::(.+)", lacks) if not re.fullmatch("[a-z0-9]+_(int8|bf16|fp32)", name)
    ] == []

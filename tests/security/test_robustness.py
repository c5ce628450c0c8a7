"""docs/robustness.md is what tools/robustness.py writes, and nothing in what is recorded is an open fault."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "docs" / "recorded" / "robustness"


def test_the_page_is_what_the_command_writes() -> None:
    spec = importlib.util.spec_from_file_location("robustness", ROOT / "tools" / "robustness.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8") == module.page()


def test_no_fault_that_was_recorded_is_open() -> None:
    writers = json.loads((RECORDED / "writers.json").read_text(encoding="utf-8"))
    attacks = json.loads((RECORDED / "attacks.json").read_text(encoding="utf-8"))
    fuzzing = json.loads((RECORDED / "fuzzing.json").read_text(encoding="utf-8"))
    assert (writers["wrong"], attacks["wrong"]) == ([], [])
    assert [name for run in fuzzing["runs"] for name, one in run["readers"].items() if one["fault"]] == []

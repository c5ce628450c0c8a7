"""What attacks on the camera's page come to; attacks.py has them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
sys.path.insert(0, str(Path(__file__).parent))
from attacks import ATTACKS, tried
from lc2fer.deploy.camera import patience


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_comes_to_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 1.0)
    assert tried(name) == ATTACKS[name][1]


def test_the_page_waits_ten_seconds_for_a_request() -> None:
    assert patience.PATIENCE_S == 10

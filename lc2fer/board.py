"""What a Jetson says of itself, for those parts that must not import deploy's reader; None on other machines."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Protocol


class Board(Protocol):
    """A part of lc2fer.deploy.jetson.Jetson."""

    @property
    def module(self) -> str: ...

    @property
    def power_mode(self) -> str | None: ...  # nvpmodel's: "MAXN_SUPER"

    @property
    def gpu_mhz(self) -> tuple[int, int] | None: ...  # now, and at most

    @property
    def temperatures(self) -> Mapping[str, float]: ...  # degrees C by sensor


def detect() -> Board | None:
    """This board now; asks files and nvpmodel."""
    found: Board | None = importlib.import_module("lc2fer.deploy.jetson").detect()
    return found


def watts() -> float | None:
    """What the whole module takes now."""
    found: float | None = importlib.import_module("lc2fer.deploy.jetson").watts()
    return found

"""The face finders, BlazeFace and YuNet, on whichever engine is installed."""

from __future__ import annotations

from pathlib import Path

from lc2fer.finder import Finder
from lc2fer.finders.blazeface import FILE, LARGER, BlazeFace
from lc2fer.finders.engine import open_engine
from lc2fer.finders.yunet import YuNet


def open_finder(model: Path | None, threads: int, thorough: bool) -> Finder:
    """As lc2fer.finder.open_finder, which opens this room only when it is asked for."""
    return BlazeFace(open_engine(FILE, threads), LARGER if thorough else ()) if model is None else YuNet(model, threads)

"""LC2FER: light facial expression recognition for the edge. Every artifact proves itself."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lc2fer.answers import Answer, faces, predict
    from lc2fer.inputs import InputSpec
    from lc2fer.session import Session, open_session

    __version__: str

__all__ = ["Answer", "InputSpec", "Session", "__version__", "faces", "open_session", "predict"]

_FROM = {
    "Answer": "lc2fer.answers",
    "InputSpec": "lc2fer.inputs",
    "Session": "lc2fer.session",
    "faces": "lc2fer.answers",
    "open_session": "lc2fer.session",
    "predict": "lc2fer.answers",
}


def __getattr__(name: str) -> Any:
    """Imported when it is asked for: a command answers Ctrl-C, or --help, before NumPy is loaded."""
    if name == "__version__":
        from importlib import metadata

        return metadata.version("lc2fer")
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_FROM[name]), name)  # the next time it is here
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

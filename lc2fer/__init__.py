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

_MODULES = {"answers": ("Answer", "faces", "predict"), "inputs": ("InputSpec",), "session": ("Session", "open_session")}
_FROM = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imported when it is asked for: a command answers Ctrl-C, or --help, before NumPy is loaded."""
    if name == "__version__":
        from importlib import metadata

        return metadata.version("lc2fer")
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"lc2fer.{_FROM[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

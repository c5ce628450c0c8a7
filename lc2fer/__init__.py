"""LC2FER: light facial expression recognition for the edge. Every artifact proves itself."""

from lc2fer.answers import Answer, faces, predict
from lc2fer.inputs import InputSpec
from lc2fer.session import Session, open_session

__all__ = ["Answer", "InputSpec", "Session", "__version__", "faces", "open_session", "predict"]


def __getattr__(name: str) -> str:
    if name == "__version__":  # looked up when asked for: reading an installation's metadata takes longer than the rest
        from importlib import metadata

        return metadata.version("lc2fer")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

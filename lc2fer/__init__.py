"""LC2FER: light facial expression recognition for the edge. Every artifact proves itself."""

from lc2fer.inputs import InputSpec
from lc2fer.session import Session, open_session

__all__ = ["InputSpec", "Session", "open_session"]

"""The networks in PyTorch: build one, load and save its weights, and write it in the form that is deployed."""

from lc2fer.network.checkpoint import load, save
from lc2fer.network.model import build

__all__ = ["build", "load", "save"]

"""What the libraries log about graphs that are written as they are meant to be."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def errors_only(logger: logging.Logger) -> Iterator[None]:
    """Let through nothing below an error, and restore the logger's level at the end."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)

"""Boxes and answers drawn into a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

_COLOR = (64, 255, 64)


def draw(picture: Image.Image, boxes: Iterable[tuple[Sequence[int], str]]) -> None:
    """Draw each box (left, top, width, height in pixels) with its text above it into an RGB picture."""
    pen = ImageDraw.Draw(picture)
    thick = max(2, max(picture.size) // 300)
    for (left, top, width, height), text in boxes:
        pen.rectangle((left, top, left + width, top + height), outline=_COLOR, width=thick)
        font = _font(max(10, min(width // 8, 40)))
        wide, high = pen.textbbox((0, 0), text, font)[2:]
        at = max(0, min(left, picture.width - wide)), max(0, top - high - thick)
        pen.rectangle((*at, at[0] + wide, at[1] + high), fill=_COLOR)
        pen.text(at, text, fill=(0, 0, 0), font=font)


@lru_cache(32)
def _font(pixels: int) -> Any:
    return ImageFont.load_default(pixels)

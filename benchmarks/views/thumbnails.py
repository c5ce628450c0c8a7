"""Small pictures of the images on which a model and its parent disagree, kept in the report for its page to show.

They are copies of test images: a report of a data set that may not be passed on must not hold them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence

from lc2fer.data.dataset import Sample
from lc2fer.inputs import InputSpec, read_image

from ..report.document import Parent, Row

SIDE = 56  # pixels
MOST_A_ROW = 24  # the most that a row adds: the page shows as many
QUALITY = 75


def disagreements(row: Row, parents: Iterable[Parent]) -> list[int]:
    """Places of the images to which the row and its parent give different answers."""
    parent = next((parent for parent in parents if parent.variant == row.variant), None)
    if parent is None:
        return []
    pairs = zip(parent.outputs.predictions, row.outputs.predictions)
    return [place for place, (expected, found) in enumerate(pairs) if expected != found]


def thumbnails(samples: Sequence[Sample], rows: Sequence[Row], parents: Sequence[Parent]) -> dict[str, str]:
    """Place of an image, in decimal -> its JPEG in base64, for the first disagreements of every row."""
    places = {place for row in rows for place in disagreements(row, parents)[:MOST_A_ROW]}
    return {str(place): _thumbnail(samples[place]) for place in sorted(places)}


def _thumbnail(sample: Sample) -> str:
    from PIL import Image

    file = io.BytesIO()
    pixels = InputSpec(size=SIDE).pixels(read_image(sample.path))
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
    return base64.b64encode(file.getvalue()).decode("ascii")

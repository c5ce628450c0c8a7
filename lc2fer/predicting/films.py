"""Films as OpenCV reads them: by a name that it takes, in the film's own time, whole or cut off."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lc2fer.errors import DataError

_POS_MSEC, _FRAME_COUNT = 0, 7  # OpenCV's properties; this module does not import it
_WHOLE = 0.8  # of the pictures that a film's header promises; some only estimate them


def name_of(path: Path) -> str:
    """The path of a film that is read or written, as OpenCV takes it; raises DataError for a name that is not UTF-8.

    Of such a name OpenCV crashes. A relative one gets its folder: in 12:30.mp4, FFmpeg sees a protocol called 12.
    """
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{path} is not UTF-8. A film's name that OpenCV takes was expected. Rename it.") from None
    return text if path.is_absolute() else os.path.join(os.curdir, text)


class Clock:
    """When each picture of a film is to be seen: as the film says, for the rate of a phone's varies."""

    def __init__(self, film: Any, fps: float) -> None:
        """`fps` is for films that do not say it."""
        self._film = film
        self._fps = fps
        self._first: float | None = None
        self._last = 0.0
        self._pictures = 0

    def read(self) -> float:
        """Seconds from the first picture to the one that was read last; to be asked once after each."""
        told = float(self._film.get(_POS_MSEC)) / 1e3
        self._pictures += 1
        if self._first is None:
            self._first = told
            return 0.0
        time_s = told - self._first
        self._last = time_s if time_s > self._last else self._last + 1 / self._fps
        return self._last

    def cut(self, name: str) -> str:
        """At the end of a film: that its header promises far more, as a sentence; nothing where it is whole."""
        promised = float(self._film.get(_FRAME_COUNT))  # pictures; 0 or less where the header does not say
        end_s = self._last + 1 / self._fps
        # Some headers count by the mean rate, and the time of a film need not begin at 0.
        reached_s = max((self._first or 0.0) + end_s, self._pictures / self._fps)
        if reached_s >= _WHOLE * promised / self._fps:
            return ""
        return (
            f"{name} ends after {end_s:.1f} of the {promised / self._fps:.1f} s that its header promises. It may have "
            "been cut off: copy it again."
        )

"""What classes are called: synonyms that are one class, numbers that stand for names, and the classes' order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from lc2fer.errors import DataError, UsageError
from lc2fer.inputs import LABELS

EXPRESSIONS = (*LABELS, "contempt")  # the order of those that are known; a model's own classes follow by the alphabet

# Class -> what folders and tables call it besides, in lower case; --synonyms goes before it.
SYNONYMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "surprise": ("surprised", "suprise", "surprising"),
        "fear": ("fearful", "afraid", "scared"),
        "disgust": ("disgusted",),
        "happiness": ("happy", "joy", "joyful"),
        "sadness": ("sad", "sorrow"),
        "anger": ("angry", "mad"),
        "neutral": ("neutrality",),
        "contempt": ("contemptuous",),
    }
)

# --labels-from -> the class of each number.
NUMBERS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "1": {str(number): name for number, name in enumerate(LABELS, 1)},  # RAF-DB
        "0": {str(number): name for number, name in enumerate(LABELS)},  # RAF-DB, counted from 0
        "fer2013": dict(zip("0123456", ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"))),
        "affectnet": dict(
            zip("01234567", ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"))
        ),
        "ferplus": dict(
            zip("01234567", ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"))
        ),
    }
)

_KNOWN = {word: label for label, words in SYNONYMS.items() for word in (label, *words)}


class Names:
    """The class that a name stands for, by the user's own table first: `["joy=joy", "contempt="]`.

    Raises UsageError for an entry of it that has no "=".
    """

    def __init__(self, given: Iterable[str] = ()) -> None:
        self.given: dict[str, str] = {}
        self._entries: dict[str, str] = {}  # those that no name has matched yet, as they were written
        self._asked: set[str] = set()
        for entry in given:
            name, equals, label = entry.partition("=")
            if not equals or not name.strip():
                raise UsageError(
                    f"--synonyms has {entry!r}. Expected NAME=CLASS, or NAME= to leave that class out. "
                    "Write for example happy=joy."
                )
            self.given[written(name).lower()] = written(label)
            self._entries[written(name).lower()] = entry

    def label(self, name: str) -> str | None:
        """The class of that name; None where the user leaves it out."""
        name = written(name)
        word = name.lower()
        self._asked.add(name)
        found = self._own(word)
        if found is None:
            bare = re.sub(r"^[0-9]+[\s_.-]+", "", word)  # "3_happy"
            found = _KNOWN.get(word) or _KNOWN.get(bare) or name
            own = self._own(found.lower())
            found = found if own is None else own
        return found or None

    def notes(self, place: Path) -> list[str]:
        """A sentence for each entry of the table that matched no name of the data set there."""
        there = ", ".join(sorted(self._asked))
        return [f"--synonyms {one} matches no class of {place}, which has {there}." for one in self._entries.values()]

    def _own(self, word: str) -> str | None:
        self._entries.pop(word, None)
        return self.given.get(word)


def written(name: str) -> str:
    """A name in the one Unicode form in which names are compared: macOS writes those of folders in another, NFD."""
    return unicodedata.normalize("NFC", name.strip())


def ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """Classes in RAF-DB's order, contempt after them, others by the alphabet: the order of a model's outputs."""
    distinct = set(labels)
    known = tuple(name for name in EXPRESSIONS if name in distinct)
    return known + tuple(sorted(distinct - set(known), key=lambda name: (name.lower(), name)))


def scheme(texts: Iterable[str], where: str) -> str:
    """The key of NUMBERS that these labels are of, where that is certain: 1..7 RAF-DB, 0..7 AffectNet.

    Raises DataError where it is not: 0..6 may be RAF-DB's, FER2013's or AffectNet's.
    """
    found = set(texts)
    if {str(number) for number in range(8)} <= found:
        return "affectnet"
    if "0" not in found:
        return "1"
    raise DataError(
        f"{where}: the labels are {', '.join(sorted(found))}. Expected 1 (surprise) to 7 (neutral), RAF-DB's basic "
        "emotions, or to be told whose these are. Pass --labels-from 0 for RAF-DB's order counted from 0, or "
        "--labels-from fer2013 or affectnet for theirs."
    )


def meaning(text: str, scheme: str, where: str) -> str:
    """The class of a number; raises DataError for what is no number of the scheme."""
    table = NUMBERS[scheme]
    if text not in table:
        first, *_, last = table
        what = ", RAF-DB's basic emotions" if scheme in "01" else f", the numbers of {scheme}"
        raise DataError(
            f"{where}: the label is {text!r}. Expected {first} ({table[first]}) to {last} ({table[last]}){what}. "
            "Correct or remove it."
        )
    return table[text]

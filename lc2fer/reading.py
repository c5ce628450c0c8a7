"""What a user says of a data set that does not say it itself."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lc2fer.arguments import Joined

NUMBERINGS = ("1", "0", "fer2013", "affectnet", "ferplus")  # whose meaning stands in lc2fer/data/names.py


@dataclass(frozen=True)
class Reading:
    """How a folder is to be read; the defaults leave it to the folder."""

    labels_from: str | None = None  # one of NUMBERINGS
    synonyms: tuple[str, ...] = ()  # "NAME=CLASS", or "NAME=" to leave a class out
    leave_out_copies: bool = False  # of test images, from the training part

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def arguments(self) -> list[str]:
        """The flags that say the same."""
        numbers = [] if self.labels_from is None else ["--labels-from", self.labels_from]
        names = ["--synonyms", *self.synonyms] if self.synonyms else []
        return [*numbers, *names, *["--leave-out-copies"] * self.leave_out_copies]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Reading:
        """From a command's arguments, or from `to_json`."""
        return cls(given["labels_from"], tuple(given["synonyms"]), given["leave_out_copies"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of every command that takes --data."""
    parser.add_argument(
        "--labels-from",
        choices=NUMBERINGS,
        metavar="NUMBERS",
        help=f"what numbers of classes mean, where the data set does not show it: {', '.join(NUMBERINGS)}",
    )
    parser.add_argument(
        "--synonyms",
        nargs="+",
        action=Joined,
        default=(),
        metavar="NAME=CLASS",
        help="classes that are one, before the built-in table (happy, joy, ...); NAME= leaves a class out",
    )
    parser.add_argument(
        "--leave-out-copies", action="store_true", help="of test images, from the training part, instead of refusing"
    )


def again(arguments: Sequence[str]) -> list[str]:
    """Those of a command's arguments that say how its data is to be read, for another command."""
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    return Reading.of(vars(parser.parse_known_args(list(arguments))[0])).arguments


def add_images(parser: argparse.ArgumentParser) -> None:
    """The flag of every command that opens RAF-DB."""
    parser.add_argument(
        "--images",
        choices=("aligned", "original"),
        default="aligned",
        help="of RAF-DB's official layout (default: aligned)",
    )

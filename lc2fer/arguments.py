"""How flags are given."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from lc2fer.errors import UsageError


def a_path(text: str) -> Path:
    """An argument as a path; raises UsageError for an empty one, which would be the current folder."""
    if not text:
        raise UsageError("'' is no path. Expected a file or a folder. Name one; . is the folder that you are in.")
    return Path(text)


def at_home(name: str | Path) -> Path:
    """The path with a ~ at its beginning as the home that it stands for; as it is, where there is no such home."""
    return Path(os.path.expanduser(name))


def check_counts(given: argparse.Namespace, *names: str) -> None:
    """Raise UsageError for one of these arguments that was given and is less than 1."""
    for name in names:
        value = getattr(given, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name} is {value}. Expected 1 or more. Pass a positive number as --{name}.")


class Joined(argparse.Action):
    """A list flag that may be given more than once: `--data A --data B` is `--data A B`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Begin with the first one, for the default is no part of what was given."""
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*([] if before is self.default else before), *values])

"""The launches that a run has finished, on disk as they end, so that a run that was killed goes on where it was.

One JSON document a line. The first line says what the run is; a journal of another run is of no use to this one. A run
that reaches its report removes its journal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lc2fer import artifact as artifacts
from lc2fer.errors import MALFORMED

from ..report import answers
from ..report.answers import Outputs
from ..report.document import Launch, Samples
from .launch import Scored

NAME = ".lc2fer-bench.jsonl"

_Key = tuple[str, str, int]  # target, hash of the model file, number of the launch
_TURNS = "turns"  # in the place of a target


class Journal:
    """Finished launches by model file and number; opened with what identifies the run: machine, data, settings."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self._path = folder / NAME
        self._identity = json.loads(json.dumps(identity))
        self._found: dict[_Key, dict[str, Any]] = {}
        self._started = self._read()

    def __len__(self) -> int:
        return len(self._found)

    def launch(self, target: str, sha256: str, number: int) -> tuple[Launch, Scored | None] | None:
        """A finished launch and, of the first one, the model's answers; None where it is still to be made."""
        entry = self._found.get((target, sha256, number))
        if entry is None:
            return None
        scored = entry["scored"]
        return Launch.from_json(entry["launch"]), None if scored is None else _scored(scored)

    def add(self, target: str, sha256: str, number: int, launch: Launch, scored: Scored | None) -> None:
        """Keep a launch; it is on the disk when this returns."""
        given = None
        if scored is not None:
            given = {"outputs": scored.outputs.to_json(), "perturbed": answers.to_json(scored.perturbed)}
        self._add((target, sha256, number), {"launch": launch.to_json(), "scored": given})

    def turns(self, hashes: Sequence[str], number: int) -> tuple[tuple[Samples, ...], ...] | None:
        """A finished launch of models in turn; None where it is still to be made."""
        entry = self._found.get((_TURNS, " ".join(hashes), number))
        return None if entry is None else _rounds(entry)

    def add_turns(self, hashes: Sequence[str], number: int, rounds: Sequence[Sequence[Samples]]) -> None:
        """Keep it, as `add` does."""
        self._add((_TURNS, " ".join(hashes), number), {"rounds": rounds})

    def remove(self) -> None:
        """The run has its report."""
        self._path.unlink(missing_ok=True)

    def _add(self, key: _Key, entry: Mapping[str, Any]) -> None:
        if not self._started:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)
            self._append(self._identity)
            self._started = True
        self._append({"key": key, **entry})

    def _append(self, document: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(document, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> bool:
        """Whether the file is this run's; a last line that the kill cut off is dropped."""
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            if not lines or json.loads(lines[0]) != self._identity:
                return False
        except (OSError, *MALFORMED):
            return False
        whole = 0
        for line in lines[1:]:
            try:
                entry = json.loads(line)
                target, sha256, number = entry["key"]
                if target == _TURNS:
                    _rounds(entry)
                else:
                    Launch.from_json(entry["launch"])
            except MALFORMED:
                break
            self._found[target, sha256, number] = entry
            whole += 1
        if whole < len(lines) - 1:
            artifacts.write_text(self._path, "".join(lines[: whole + 1]))
        return True


def _rounds(entry: Mapping[str, Any]) -> tuple[tuple[Samples, ...], ...]:
    return tuple(tuple(tuple(samples) for samples in turn) for turn in entry["rounds"])


def _scored(document: Mapping[str, Any]) -> Scored:
    return Scored(Outputs.from_json(document["outputs"]), answers.from_json(document["perturbed"]))

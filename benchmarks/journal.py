"""The launches that a run has finished, on disk as they end, so that a run that was killed goes on where it was.

One JSON document a line. The first line says what the run is; a journal of another run is of no use to this one. A run
that reaches its report removes its journal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .answers import Outputs
from .launch import Scored
from .report import Launch

NAME = ".lc2fer-bench.jsonl"


class Journal:
    """Finished launches by model file and number; opened with what identifies the run: machine, data, settings."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self._path = folder / NAME
        self._identity = json.loads(json.dumps(identity))
        self._found: dict[tuple[str, str, int], dict[str, Any]] = {}
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
        answers = None
        if scored is not None:
            answers = {"outputs": scored.outputs.to_json(), "perturbed": dict(scored.perturbed)}
        entry = {"key": [target, sha256, number], "launch": launch.to_json(), "scored": answers}
        if not self._started:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)
            self._append(self._identity)
            self._started = True
        self._append(entry)

    def remove(self) -> None:
        """The run has its report."""
        self._path.unlink(missing_ok=True)

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
        except (OSError, ValueError):
            return False
        whole = 0
        for line in lines[1:]:
            try:
                entry = json.loads(line)
                target, sha256, number = entry["key"]
                Launch.from_json(entry["launch"])
            except (ValueError, KeyError, TypeError):
                break
            self._found[target, sha256, number] = entry
            whole += 1
        if whole < len(lines) - 1:
            self._path.write_text("".join(lines[: whole + 1]), encoding="utf-8")
        return True


def _scored(document: Mapping[str, Any]) -> Scored:
    perturbed = {factor: tuple(found) for factor, found in document["perturbed"].items()}
    return Scored(Outputs.from_json(document["outputs"]), perturbed)

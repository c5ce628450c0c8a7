"""What a training run tells: a progress bar, log.csv and TensorBoard's event files."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lc2fer.errors import MALFORMED, TrainingError
from lc2fer.text import stderr_console

_EVERY_S = 30.0  # where no bar can be drawn, a line of a long epoch


class Log:
    """A context manager; rows of epochs after `resumed_after` are dropped from an earlier log.csv.

    Raises TrainingError for one that is not as it was written.
    """

    def __init__(self, folder: Path, epochs: int, resumed_after: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.console = stderr_console()
        self.path = folder / "log.csv"
        self.epochs = epochs
        self.rows: list[dict[str, Any]] = []
        if resumed_after and self.path.is_file():
            self.rows = [row for row in _read(self.path) if int(row["epoch"]) <= resumed_after]
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=resumed_after + 1)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.task = self.bar.add_task("", total=None)
        self._told = time.monotonic()

    def __enter__(self) -> Log:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        self.board.close()

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def step(self, epoch: int, step: int, steps: int) -> None:
        self.bar.update(self.task, description=f"epoch {epoch + 1}/{self.epochs}", completed=step, total=steps)
        if not self.console.is_terminal and time.monotonic() - self._told >= _EVERY_S:
            self._told = time.monotonic()
            self.say(f"epoch {epoch + 1}/{self.epochs}  step {step}/{steps}")

    def row(self, row: dict[str, Any]) -> None:
        """Record a finished epoch."""
        self._told = time.monotonic()
        self.rows.append(row)
        temporary = self.path.with_suffix(".csv.part")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(name for each in self.rows for name in each)))
            writer.writeheader()
            writer.writerows(self.rows)
        temporary.replace(self.path)
        for name, value in row.items():
            if name != "epoch":
                self.board.add_scalar(name, value, row["epoch"])
        self.say(
            f"epoch {row['epoch']}/{self.epochs}  loss {row['loss']:.4f}  train {row['accuracy']:.2%}  "
            f"D^v {row['validation_accuracy']:.2%}  {row['seconds']:.0f} s"
        )


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # a spreadsheet may have saved it
            rows: list[dict[str, Any]] = list(csv.DictReader(file, strict=True))
        for row in rows:
            if int(row["epoch"]) < 1 or None in row or None in row.values():
                raise ValueError(f"the row {list(row.values())}")
    except (*MALFORMED, csv.Error) as error:
        raise TrainingError(
            f"{path} is not the table that this run wrote ({type(error).__name__}: {error}). Expected a row an epoch, "
            "with commas between its cells. Put it back, or move it away."
        ) from None
    return rows

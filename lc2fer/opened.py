"""The life of a session, whatever its engine: used from many threads, closed once, not carried over a fork."""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from lc2fer.artifact import Artifact
from lc2fer.batch import Gate
from lc2fer.errors import NO_MEMORY, ArtifactError, Lc2ferError, UsageError

_Self = TypeVar("_Self", bound="Opened")


class Opened:
    """An engine with a model in it. An engine adds `_logits` and `_release`, which nobody else calls.

    Many threads may call `run` at once; with `alone`, the engine gets them one after another. `close` waits for those
    that run. In a fork of its process a session is refused, unless it `forks`: an engine's threads stay behind.
    """

    kernels: str | None = None  # the variant of our operations that runs here: "avx2"; None: the model has none of them

    def __init__(self, artifact: Artifact, engine: str, *, alone: bool = False, forks: bool = False) -> None:
        self.artifact = artifact
        self._gate = Gate(artifact)
        self._engine_name = engine
        self._turn = threading.Lock() if alone else None
        self._forks = forks
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._running = 0
        self._usable = True

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits float32 [N,classes] of raw RGB pixels, float32 [N,3,H,W] in 0..255."""
        self._enter()
        try:
            batch = self._gate.passed(batch)
            with self._turn or nullcontext():
                return self._logits(batch)
        except (Lc2ferError, MemoryError):
            raise
        except Exception as error:  # engines raise classes of their own; a foreign graph opens, and fails here
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise refused(self._engine_name, self.artifact.path, reason) from error
        finally:
            self._leave()

    def close(self) -> None:
        """Let the engine go once no thread runs it any more; a second time, or in a fork, nothing is done."""
        if os.getpid() != self._pid:
            return
        with self._changed:
            if not self._usable:
                return
            self._usable = False  # from here on `run` refuses
            self._changed.wait_for(lambda: self._running == 0)
        self._release()

    def _logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        raise NotImplementedError

    def _release(self) -> None:
        raise NotImplementedError

    def _enter(self) -> None:
        if os.getpid() != self._pid:
            self._come_along()
        with self._changed:
            self._check_open()
            self._running += 1

    def _leave(self) -> None:
        with self._changed:
            self._running -= 1
            if not self._usable:
                self._changed.notify_all()

    def _check_open(self) -> None:
        if not self._usable:
            raise UsageError(
                f"{self.artifact.path} was closed. An open session was expected. Open it again with open_session."
            )

    def _come_along(self) -> None:
        """In a fork, where only the thread that forked goes on: what the others held is never given back."""
        if not self._forks or self._running:
            raise UsageError(
                f"{self.artifact.path} was opened in process {self._pid}, and this is its fork {os.getpid()}. "
                f"{self._engine_name} was expected to run where it was opened: its threads do not come along. "
                "Open it after the fork."
            )
        self._changed = threading.Condition()
        self._turn = None if self._turn is None else threading.Lock()
        self._pid = os.getpid()

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            f"{self.artifact.path} was to be copied, or sent to another process. {self._engine_name} was expected to "
            "run where it was opened. Send the path, and open it there with open_session."
        )

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_one_each(inputs: int, outputs: int, artifact: Artifact) -> None:
    """Raise ArtifactError for a model that does not take one batch of images and give one of logits."""
    if (inputs, outputs) != (1, 1):
        raise ArtifactError(
            f"{artifact.path} has {inputs} inputs and {outputs} outputs. One of each, images and their logits, was "
            "expected. Export it again."
        )


def check_classes(found: object, artifact: Artifact) -> None:
    """Raise ArtifactError where a model's answer has another number of classes than its manifest has labels."""
    labels = artifact.input_spec.labels
    if isinstance(found, int) and found != len(labels):
        raise ArtifactError(
            f"{artifact.path} tells {found} classes apart. The {len(labels)} expressions {', '.join(labels)} of its "
            "manifest were expected. Export it again."
        )


def refused(engine: str, path: Path, reason: str) -> Exception:
    """What to raise where an engine does not open a file: memory that ran out is no fault of the file."""
    if "failed to map segment" in reason:  # of a library of its own
        return ImportError(reason)
    if any(words in reason for words in NO_MEMORY):
        return MemoryError(f"{engine} could not open {path}")
    return ArtifactError(
        f"{engine} refuses {path}: {reason}. A model that it can run was expected. Export it again with this "
        "installation."
    )

"""A fresh Python process that does one job and reports it as JSON lines.

The parent holds a `Worker`, the process a `Link`. The job goes to the process's standard input; its answers come back
over what was its standard output, which from then on leads to standard error: an engine that prints breaks no line.
Whatever ends the parent, SIGKILL too, ends the process: nothing measures on alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from lc2fer import errors
from lc2fer.errors import Lc2ferError

Message = dict[str, Any]

_GRACE_S = 5.0  # for a process that is told to stop to clean up after itself
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h
_LINE_LIMIT = 300  # characters of a dead process's last line that are shown


class WorkerError(Lc2ferError):
    """A process of the harness that ended without its result."""


class Worker:
    """The parent's end: starts `python -m module` with a job. Leaving its context ends the process in any case."""

    def __init__(
        self,
        module: str,
        job: Mapping[str, Any],
        *,
        purpose: str = "works",  # "measures C6 onnx-int8": completes "The process that ..." in errors
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,  # takes the process's standard error; None: it shares the parent's
        python: Path = Path(sys.executable),
    ) -> None:
        self.purpose = purpose
        self._log = log
        self._stage = "starting"
        safe = ["-P"] if sys.version_info >= (3, 11) else []  # the current folder is not the process's to import from
        stderr = None if log is None else log.open("wb")
        try:
            self._process = subprocess.Popen(
                [str(python), *safe, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # so that what it leaves behind can be ended with it
            )
        finally:
            if stderr is not None:
                stderr.close()
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.send(job)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, document: Mapping[str, Any]) -> None:
        """One JSON line to the process; a process that has died is noticed by the next `receive`."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(json.dumps(document).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The process's next message, or None after `timeout_s` without one.

        Raises what the process raised, if it is one of the project's errors, and WorkerError where the process died,
        failed in another way or talks nonsense.
        """
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if line is None:
            raise WorkerError(self._obituary())
        try:
            message = json.loads(line)
            event = message["event"]
        except (ValueError, KeyError, TypeError):
            raise WorkerError(
                f"The process that {self.purpose} said {line[:80]!r}. Expected a JSON line. Run it again."
            ) from None
        if event == "error":
            raise revived(message["type"], message["text"], f"The process that {self.purpose}, while {self._stage},")
        self._stage = message.get("stage", self._stage)
        return dict(message)

    def answer(self, patience_s: float, turn: str) -> Message:
        """The process's next message; raises WorkerError after `patience_s` without one, where `turn` was expected."""
        message = self.receive(patience_s)
        if message is None:
            raise WorkerError(
                f"The process that {self.purpose} said nothing for {patience_s:.0f} s. A turn takes {turn}. Stop other "
                "work on this machine and run it again."
            )
        return message

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self._lines.put(line)
        finally:  # whatever ends this thread, nobody waits for its next line for ever
            self._lines.put(None)

    def _obituary(self) -> str:
        code = self._process.wait()
        if code < 0:
            name = signal.Signals(-code).name if -code in {int(number) for number in signal.Signals} else str(-code)
            cause = f"was killed by {name}" + (" (memory may have run out)" if name == "SIGKILL" else "")
        else:
            cause = f"ended with exit code {code}"
        stage = f" while {self._stage}" if self._log else ""
        return f"The process that {self.purpose} {cause}{stage}. A result was expected. {self._last_words()}"

    def _last_words(self) -> str:
        if self._log is None:
            return "What it said is above."
        lines = [line.strip() for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines()]
        last = next((line[:_LINE_LIMIT] for line in reversed(lines) if line), None)
        return "It said nothing." if last is None else f"Its last line was: {last}"

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        process.terminate()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with suppress(ProcessLookupError, PermissionError):  # processes that an engine forked hold the pipe open
            os.killpg(process.pid, signal.SIGKILL)
        self._reader.join(_GRACE_S)
        for stream in (process.stdin, process.stdout):
            if stream is not None and not (stream is process.stdout and self._reader.is_alive()):
                with suppress(OSError):  # a line that the process did not live to read
                    stream.close()


def revived(kind: str, text: str, who: str) -> Lc2ferError:
    """The error that a process told by type and text; WorkerError, naming `who`, where it is none of the project's."""
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, Lc2ferError):
        return known(text)
    return WorkerError(
        f"{who} failed with {kind}: {text.rstrip('.')}. A result was expected. "
        "Run lc2fer-bench for this row alone to see whether it recurs."
    )


class Link:
    """The process's end. Making one redirects standard output, so it is made before anything else is imported."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self._answers = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self._jobs = sys.stdin.buffer

    def send(self, **message: Any) -> None:
        """One JSON line to the parent."""
        self._answers.write(json.dumps(message, allow_nan=False).encode() + b"\n")
        self._answers.flush()

    def receive(self) -> Message:
        """The parent's next line; the process ends where the parent is gone."""
        line = self._jobs.readline()
        if not line:
            sys.exit(1)
        return dict(json.loads(line))


def serve(work: Callable[[Link, Message], None]) -> None:
    """The main function of a process: one job, then an end; errors travel to the parent by type and text.

    Ctrl-C reaches every process of a terminal: here it is left to the parent, which ends this one with SIGTERM.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    link = Link()
    _end_with_parent()
    try:
        work(link, link.receive())
    except Lc2ferError as error:
        link.send(event="error", type=type(error).__name__, text=str(error))
    except Exception as error:
        traceback.print_exc()
        link.send(event="error", type=type(error).__name__, text=str(error))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is left to remove, and leaving may take engines a while


def _stop(number: int, frame: Any) -> NoReturn:
    raise SystemExit(128 + number)  # so that temporary folders are removed


def _end_with_parent() -> None:
    """Have this process told to stop once its parent is gone, and ended with all that it started if it does not.

    Two ways, for each has a gap: the kernel's word (Linux) does not come where the parent was gone before it was asked
    for, and the pipe stays open where a fork of the parent holds it.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if hasattr(select, "poll"):
        threading.Thread(target=_watch_parent, name="parent", daemon=True).start()


def _watch_parent() -> None:
    pipe = select.poll()
    pipe.register(0, 0)  # a hang-up is reported unasked; what waits to be read is left to the main thread
    pipe.poll()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)

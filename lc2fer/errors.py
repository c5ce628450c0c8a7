"""The errors a user meets: what happened, what was expected, what to do; one sentence each."""

from __future__ import annotations

# What Python raises where a document of another shape than the expected one is read: of a file from outside all of
# them are one thing.
MALFORMED = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError)

# What is said when memory runs out without a MemoryError: by C++, PyTorch, oneDNN, and Python of a thread's stack.
NO_MEMORY = ("std::bad_alloc", "DefaultCPUAllocator", "can't alloc", "can't start new thread")


class Lc2ferError(Exception):
    """Base of every error that is shown to a user without a traceback; one with a list in it has several lines."""

    exit_code = 2

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class UsageError(Lc2ferError):
    """An argument, or a combination of them, that cannot be carried out."""


class DataError(Lc2ferError):
    """A picture, label file or folder that is not what it should be."""


class ArtifactError(Lc2ferError):
    """A checkpoint, model file or manifest that is missing, damaged or foreign."""


class TrainingError(Lc2ferError):
    """Training that cannot go on."""


class ParityError(Lc2ferError):
    """An artifact that disagrees with its parent; it was not kept."""

    exit_code = 1


class LintError(Lc2ferError):
    """A graph that breaks a rule of the engines that are to run it; it was not kept."""

    exit_code = 1


class TargetUnavailable(Lc2ferError):
    """A target or an engine that this machine does not have."""

    exit_code = 3

"""A loaded model, whatever the engine: float32 images in, logits out, and nothing else."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lc2fer import artifact as artifacts
from lc2fer import self_test, threads
from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError, TargetUnavailable, UsageError
from lc2fer.targets import KINDS
from lc2fer.telemetry import refuse_telemetry


class Session(Protocol):
    """One engine with one artifact in it; a context manager, and for many threads at once.

    No timing in it: that is the harness's work.
    """

    @property
    def artifact(self) -> Artifact: ...

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits float32 [N,classes] of raw RGB pixels, float32 [N,3,H,W] in 0..255."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Session: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_session(path: str | Path | Artifact, **options: Any) -> Session:
    """Open a model file (or its manifest) with the engine that runs it.

    `options` are the engine's own, `threads` for all of them. What is returned may be used from many threads. Raises
    UsageError for threads that this machine does not have, ArtifactError for a missing, damaged or foreign file, and
    TargetUnavailable where the engine is not installed, cannot run here, or computes other numbers here than where an
    INT8 artifact was proven.
    """
    threads.check(options.get("threads"))
    if not isinstance(path, (str, os.PathLike, Artifact)):
        raise UsageError(f"A {type(path).__name__} was given. Expected a model file or its manifest. Pass its path.")
    if path == "":
        raise ArtifactError("'' is no file. Expected a model file or its manifest. Pass its path.")
    artifact = path if isinstance(path, Artifact) else artifacts.load(Path(path))
    kind = KINDS[artifact.kind]
    refuse_telemetry()
    try:
        load: Callable[..., Session] = importlib.import_module(kind.session).load
        session = load(artifact, **options)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("lc2fer"):
            raise TargetUnavailable(
                f"{artifact.path.name} needs {kind.session}, which this installation does not have. Expected the whole "
                "package. Install lc2fer again."
            ) from None
        if kind.extra is None:
            raise TargetUnavailable(
                f"{artifact.path.name} cannot be opened here: it is for {kind.engine}, which the bench has in an "
                "environment of its own. A model that runs here was expected. To measure it: lc2fer-bench --peers "
                f"{artifact.kind}."
            ) from None
        raise TargetUnavailable(
            f"{artifact.path.name} cannot be opened here: the package {error.name} is not installed. "
            f"It comes with the extra [{kind.extra}]. Run: pip install 'lc2fer[{kind.extra}]'."
        ) from None
    if artifact.self_test is not None:
        try:
            self_test.check(artifact, artifact.self_test, session.run, _version(kind.package), _version("lc2fer"))
        except BaseException:
            session.close()
            raise
    return session


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # as JetPack's TensorRT
        return "unknown"

"""A loaded model, whatever the engine: float32 images in, logits out, and nothing else."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lc2fer import artifact as artifacts
from lc2fer import self_test
from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError, TargetUnavailable, UsageError
from lc2fer.targets import KINDS


class Session(Protocol):
    """One engine with one artifact in it; a context manager. No timing in it: that is the harness's work."""

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


_Self = TypeVar("_Self", bound="Closing")


class Closing:
    """What makes a session a context manager: it is closed at the end."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def refuse_telemetry() -> None:
    """Keep engines that are imported later from reporting their use over the network.

    OpenVINO and NNCF would fork a process at import, which has hung, and send what they do to their makers' analytics;
    both run without the package that does it. ONNX Runtime 1.32 would keep a device identifier and a database of events
    below ~/.cache, and look up its maker's collector ten seconds after a session is opened; the variable has to be
    there before it is imported.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def open_session(path: str | Path | Artifact, **options: Any) -> Session:
    """Open a model file (or its manifest) with the engine that runs it.

    `options` are the engine's own, `threads` for all of them. Raises ArtifactError for a missing, damaged or foreign
    file and TargetUnavailable where the engine is not installed, cannot run here, or computes other numbers here than
    where an INT8 artifact was proven.
    """
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
        raise TargetUnavailable(
            f"{artifact.path.name} cannot be opened here: the package {error.name} is not installed. "
            f"It comes with the extra [{kind.extra}]. Run: pip install 'lc2fer[{kind.extra}]'."
        ) from None
    if artifact.self_test is not None:
        try:
            self_test.check(artifact, artifact.self_test, session.run, _version(kind.package))
        except BaseException:
            session.close()
            raise
    return session


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # as JetPack's TensorRT
        return "unknown"


def check_classes(found: object, artifact: Artifact) -> None:
    """Raise ArtifactError where a model's answer has another number of classes than its manifest has labels."""
    labels = artifact.input_spec.labels
    if isinstance(found, int) and found != len(labels):
        raise ArtifactError(
            f"{artifact.path} tells {found} classes apart. The {len(labels)} expressions {', '.join(labels)} of its "
            "manifest were expected. Export it again."
        )


def check_batch(batch: NDArray[np.float32], artifact: Artifact) -> None:
    """Raise UsageError unless batch is float32 [N,3,H,W] with N >= 1, as the artifact's InputSpec says."""
    shape = artifact.input_spec.shape
    if batch.dtype != np.float32 or batch.ndim != 4 or batch.shape[1:] != shape or len(batch) == 0:
        raise UsageError(
            f"{artifact.name} was given {batch.dtype} {list(batch.shape)}. Expected float32 [N, "
            f"{', '.join(map(str, shape))}] of raw RGB pixels, 0..255. Prepare images with session.artifact.input_spec."
            "apply."
        )

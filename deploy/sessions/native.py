"""LC2 models on liblc2fer, the same library that C programs link; ctypes, so no package is needed."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lc2fer import kernels
from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError, UsageError
from lc2fer.opened import Opened, check_classes, refused
from lc2fer.threads import usual

_MEMORY, _CPU = 4, 5  # of lc2fer_status in native/lc2fer.h
_FLOATS = ctypes.POINTER(ctypes.c_float)
_PRODUCTS = {"fp32": "float", "int8": "int8"}  # as ONNX Runtime calls them


class _Error(ctypes.Structure):
    _fields_ = (("status", ctypes.c_int), ("text", ctypes.c_char * 500))


class _Options(ctypes.Structure):
    _fields_ = (("threads", ctypes.c_int), ("pool", ctypes.c_void_p))


class _Info(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_int),
        ("classes", ctypes.c_int),
        ("labels", ctypes.POINTER(ctypes.c_char_p)),
        ("alignment", ctypes.c_char_p),
        ("precision", ctypes.c_char_p),
        ("instructions", ctypes.c_char_p),
        ("operations", ctypes.c_int),
        ("threads", ctypes.c_int),
    )


class NativeSession(Opened):
    """An .lc2 file in liblc2fer, which shares the images of a batch among its threads, or the pixels of one image."""

    def __init__(self, artifact: Artifact, threads: int | None) -> None:
        threads = usual() if threads is None else threads
        super().__init__(artifact, "liblc2fer", forks=threads == 1)  # one thread is the caller's
        assert artifact.recipe is not None
        self._library = _library(kernels.library("native", artifact.recipe.precision))
        error = _Error()
        options = _Options(threads, None)
        self._model = self._library.lc2fer_open(str(artifact.path).encode(), ctypes.byref(options), ctypes.byref(error))
        if not self._model:
            raise _refused(artifact, error)
        self._let_go = weakref.finalize(self, _let_go, self._library, self._model, os.getpid())
        self._let_go.atexit = False
        self._info = self._library.lc2fer_describe(self._model).contents
        self.kernels = self._info.instructions.decode()
        check_classes(self._info.classes, artifact)
        self._check(artifact)

    def _check(self, artifact: Artifact) -> None:
        """Raise ArtifactError where the file says otherwise than its manifest what goes in and comes out."""
        spec, its = artifact.input_spec, self._info
        labels = tuple(its.labels[place].decode() for place in range(its.classes))
        found = (its.size, labels, its.alignment.decode())
        if found != (spec.size, spec.labels, spec.alignment):
            self._release()
            raise ArtifactError(
                f"{artifact.path} is for {found[0]} pixels a side, {', '.join(labels)}, alignment {found[2]}. What its "
                f"manifest says was expected: {spec.size}, {', '.join(spec.labels)}, {spec.alignment}. Export it again."
            )

    def _logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        batch = np.ascontiguousarray(batch)
        logits = np.empty((len(batch), self._info.classes), np.float32)
        self._run(batch, logits)
        return logits

    def _run(self, batch: NDArray[np.float32], logits: NDArray[np.float32]) -> None:
        status = self._library.lc2fer_run(
            self._model, batch.ctypes.data_as(_FLOATS), len(batch), logits.ctypes.data_as(_FLOATS)
        )
        if status == _MEMORY:
            raise MemoryError(f"liblc2fer could not run {self.artifact.path}")
        assert status == 0, status  # anything else is an argument, and these were checked

    def bind(self, batch: NDArray[np.float32]) -> Callable[[], object]:
        """What runs the engine alone on a batch of one: the image is in its place, the logits stay where they fall."""
        self._check_open()
        logits = np.empty((len(batch), self._info.classes), np.float32)
        pixels, answer, run = batch.ctypes.data_as(_FLOATS), logits.ctypes.data_as(_FLOATS), self._library.lc2fer_run
        model, count = self._model, len(batch)

        def bound(kept: object = (self, batch, logits)) -> object:
            return run(model, pixels, count, answer)

        return bound

    def executed_precisions(self) -> dict[str, int]:
        """The number of operations by what their products are in, as the library says."""
        self._check_open()
        return {_PRODUCTS[self._info.precision.decode()]: self._info.operations}

    def _release(self) -> None:
        self._let_go.detach()
        self._library.lc2fer_close(self._model)
        self._model = None


def _let_go(library: ctypes.CDLL, model: int, process: int) -> None:
    """Close a model whose session nobody closed, or holds any more; its threads are in no fork of their process."""
    if os.getpid() == process:
        library.lc2fer_close(model)


@cache
def _library(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))  # which lets Python go on while it runs
    library.lc2fer_open.restype = ctypes.c_void_p
    library.lc2fer_open.argtypes = [ctypes.c_char_p, ctypes.POINTER(_Options), ctypes.POINTER(_Error)]
    library.lc2fer_close.restype = None
    library.lc2fer_close.argtypes = [ctypes.c_void_p]
    library.lc2fer_describe.restype = ctypes.POINTER(_Info)
    library.lc2fer_describe.argtypes = [ctypes.c_void_p]
    library.lc2fer_run.restype = ctypes.c_int
    library.lc2fer_run.argtypes = [ctypes.c_void_p, _FLOATS, ctypes.c_size_t, _FLOATS]
    return library


def _refused(artifact: Artifact, error: _Error) -> Exception:
    text: str = error.text.decode("utf-8", "replace")
    if error.status == _MEMORY:
        return MemoryError(f"liblc2fer could not open {artifact.path}")
    if error.status == _CPU:
        return UsageError(text)
    return refused("liblc2fer", artifact.path, text.split(". ")[0])


def load(artifact: Artifact, *, threads: int | None = None, optimize: bool = True) -> NativeSession:
    """Open an .lc2 artifact; raises ArtifactError where the library refuses it.

    `optimize` changes nothing: there is one way to run it. Raises TargetUnavailable where the library cannot be had.
    """
    return NativeSession(artifact, threads)

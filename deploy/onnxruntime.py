"""ONNX models on ONNX Runtime's CPU provider."""

from __future__ import annotations

from types import TracebackType

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError
from lc2fer.session import check_batch


class OnnxRuntimeSession:
    """An ONNX file with a static batch; longer batches run piece by piece."""

    def __init__(self, artifact: Artifact, threads: int | None, optimize: bool) -> None:
        self.artifact = artifact
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        # Our Q/DQ graphs are s8 with s8 weights; without this they run as float convolutions between Q and DQ.
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        if not optimize:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = onnxruntime.InferenceSession(
                str(artifact.path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the bindings raise a class of their own for each status
            raise ArtifactError(
                f"ONNX Runtime {onnxruntime.__version__} refuses {artifact.path}: {str(error).splitlines()[0]}. "
                "A model that it can run was expected. Export it again with this installation."
            ) from None
        self._input = self._session.get_inputs()[0]

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        check_batch(batch, self.artifact)
        pieces = [
            self._session.run(None, {self._input.name: batch[place : place + 1]})[0] for place in range(len(batch))
        ]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def close(self) -> None:
        del self._session

    def __enter__(self) -> OnnxRuntimeSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(artifact: Artifact, *, threads: int | None = None, optimize: bool = True) -> OnnxRuntimeSession:
    """Open an ONNX artifact; `optimize=False` runs the graph as written, the reference for other engines.

    Raises ArtifactError where ONNX Runtime cannot load the file.
    """
    return OnnxRuntimeSession(artifact, threads, optimize)

"""The engine behind a face finder: an ONNX file in ONNX Runtime or, where that is missing, in OpenVINO."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lc2fer.errors import ArtifactError, TargetUnavailable
from lc2fer.telemetry import refuse_telemetry

Outputs = Mapping[str, NDArray[np.float32]]


class Engine(Protocol):
    """A loaded network with one input; not to be called from two threads at once."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that the file asks for; None where it takes any."""
        ...

    @property
    def outputs(self) -> frozenset[str]: ...

    def run(self, pixels: NDArray[np.float32]) -> Outputs:
        """The outputs by name for one picture, float32 [1,3,H,W]."""
        ...


def open_engine(path: Path, threads: int) -> Engine:
    """Open that ONNX file.

    Raises TargetUnavailable where neither engine is installed, ArtifactError for a file that it cannot load.
    """
    refuse_telemetry()
    for name, engine in (("onnxruntime", _OnnxRuntime), ("openvino", _OpenVino)):
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            continue
        try:
            return engine(module, path, threads)
        except Exception as error:  # the bindings raise classes of their own
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].rstrip(".")
            raise ArtifactError(
                f"{path} cannot be loaded by {name} {module.__version__.split('-')[0]}: {reason}. Expected an ONNX "
                "file of a face finder. Copy it again, or leave --face-model out."
            ) from None
    raise TargetUnavailable(
        "Faces cannot be found here: neither onnxruntime nor openvino is installed. Expected one of them. "
        "Run: pip install onnxruntime."
    )


class _OnnxRuntime:
    def __init__(self, module: Any, path: Path, threads: int) -> None:
        options = module.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that wait busily would take the cores from the session that judges the faces.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = module.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        first = self._session.get_inputs()[0]
        self._input: str = first.name
        self.size = _fixed(first.shape[2:])
        self._names: list[str] = [output.name for output in self._session.get_outputs()]
        self.outputs = frozenset(self._names)

    def run(self, pixels: NDArray[np.float32]) -> Outputs:
        return dict(zip(self._names, self._session.run(None, {self._input: pixels})))


class _OpenVino:
    def __init__(self, module: Any, path: Path, threads: int) -> None:
        config = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
        compiled = module.Core().compile_model(str(path), "CPU", {**config, "INFERENCE_PRECISION_HINT": "f32"})
        shape = compiled.input(0).partial_shape
        self.size = _fixed([None if side.is_dynamic else side.get_length() for side in list(shape)[2:]])
        self._request = compiled.create_infer_request()
        self._names: list[str] = [output.get_any_name() for output in compiled.outputs]
        self.outputs = frozenset(self._names)

    def run(self, pixels: NDArray[np.float32]) -> Outputs:
        self._request.infer({0: pixels}, share_inputs=True)
        return {name: self._request.get_output_tensor(place).data for place, name in enumerate(self._names)}


def _fixed(sides: Any) -> tuple[int, int] | None:
    height, width = sides
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None

"""OpenVINO IR on the CPU plugin, for latency: one stream, one request."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openvino
from numpy.typing import NDArray

from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError
from lc2fer.processor import check_products
from lc2fer.recipe import FUSED, PLAIN
from lc2fer.session import Closing, check_batch, check_classes

_FUSED = {"fp32": "f32", "fp16": "bf16", "int8": "i8"}  # what the products of our operations are in

# Asked for by precision; the plugin runs bf16 for f16 where the CPU has it, and f32 elsewhere.
_HINTS = {"fp32": "f32", "fp16": "f16", "int8": "f16"}

_MOVES = {"Input", "Output", "Const", "Reorder", "Reshape", "Transpose", "Convert"}  # layers that compute nothing


class OpenVinoSession(Closing):
    """An IR with a static batch; longer batches run piece by piece."""

    def __init__(self, artifact: Artifact, threads: int | None) -> None:
        self.artifact = artifact
        assert artifact.recipe is not None
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": _HINTS[artifact.recipe.precision],
        }
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        self._products = _FUSED[artifact.recipe.precision]
        core = openvino.Core()
        if artifact.recipe.precision == "int8" and artifact.recipe.form not in (FUSED, PLAIN):
            check_products(artifact.path.name, "openvino-fp32")
        if artifact.recipe.form == FUSED:
            from lc2fer import kernels  # 10 ms that no other form needs

            core.add_extension(str(kernels.library("openvino", artifact.recipe.precision)))
            config["INFERENCE_PRECISION_HINT"] = "f32"  # between operations; in bf16 each would stand between two casts
        try:
            self._compiled = core.compile_model(str(artifact.path), "CPU", config)
        except RuntimeError as error:
            raise ArtifactError(
                f"OpenVINO {openvino.__version__.split('-')[0]} refuses {artifact.path}: "
                f"{str(error).strip().splitlines()[-1]}. A model that it can run was expected. "
                "Export it again with this installation."
            ) from None
        self._request = self._compiled.create_infer_request()
        self._logits = self._request.get_output_tensor(0).data
        check_classes(self._logits.shape[-1], artifact)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        check_batch(batch, self.artifact)
        logits = np.empty((len(batch), self._logits.shape[1]), np.float32)
        for place in range(len(batch)):
            self._request.infer({0: batch[place : place + 1]}, share_inputs=True, share_outputs=True)
            logits[place] = self._logits[0]
        return logits

    def bind(self, batch: NDArray[np.float32]) -> Callable[[], object]:
        """What runs the engine alone on a batch of one: the image is in its place, the logits stay where they fall."""
        self._request.set_input_tensor(openvino.Tensor(batch, shared_memory=True))
        return lambda: self._request.infer(share_outputs=True)

    def executed_precisions(self) -> dict[str, int]:
        """What the plugin runs: number of computing layers by precision, read back from the compiled model."""
        counts: dict[str, int] = {}
        for node in self._compiled.get_runtime_model().get_ops():
            if node.rt_info["layerType"].astype(str) not in _MOVES:
                ours = node.rt_info["layerType"].astype(str) == "Reference"  # float32 outside its products
                precision = self._products if ours else node.rt_info["runtimePrecision"].astype(str)
                counts[precision] = counts.get(precision, 0) + 1
        return counts

    def close(self) -> None:
        del self._logits, self._request, self._compiled


def load(artifact: Artifact, *, threads: int | None = None) -> OpenVinoSession:
    """Open an IR artifact; raises ArtifactError where OpenVINO cannot load the files.

    Raises TargetUnavailable where an artifact of the form "fused" cannot have its operations, and for other INT8 where
    the processor does not sum 8-bit products exactly.
    """
    return OpenVinoSession(artifact, threads)

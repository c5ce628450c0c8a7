"""OpenVINO IR on the CPU plugin: one stream for single images, one a thread for batches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from lc2fer.artifact import Artifact
from lc2fer.crew import Crew, Following, places
from lc2fer.opened import Opened, check_classes, check_one_each, refused
from lc2fer.processor import check_products
from lc2fer.recipe import FUSED
from lc2fer.targets import adds_in_16_bits
from lc2fer.threads import usual

_FUSED = {"fp32": "f32", "fp16": "bf16", "int8": "i8"}  # what the products of our operations are in

_HINT = "INFERENCE_PRECISION_HINT"

_MOVES = {"Input", "Output", "Const", "Reorder", "Reshape", "Transpose", "Convert"}  # layers that compute nothing


class OpenVinoSession(Opened):
    """An IR, run image by image; of a batch each thread has a stream and an image of its own.

    That is faster than all threads on one image after another, and than batches in the engine: docs/serving.md. An
    answer never depends on its neighbours.
    """

    def __init__(self, artifact: Artifact, threads: int | None, throughput_hint: bool) -> None:
        super().__init__(artifact, "OpenVINO")
        assert artifact.recipe is not None
        config = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        # For fp16, and what is not int8, the plugin chooses: bf16 where an x86 has it, f16 on ARM, f32 elsewhere.
        # Where an Intel has instructions for f16, that is slower than f32: docs/int8.md.
        if artifact.recipe.precision == "fp32":
            config[_HINT] = "f32"
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        self._threads = usual() if threads is None else threads
        self._products = _FUSED[artifact.recipe.precision]
        core = openvino.Core()
        if adds_in_16_bits(artifact.kind, artifact.recipe):
            check_products(artifact.path.name, artifact.kind)
        if artifact.recipe.form == FUSED:
            from lc2fer import kernels  # 10 ms that no other form needs

            core.add_extension(str(kernels.library("openvino", artifact.recipe.precision)))
            config[_HINT] = "f32"  # between operations; in bf16 each would stand between two casts
        try:
            model = core.read_model(str(artifact.path))
            if model.is_dynamic():  # what is compiled for one image is faster than what takes any number
                model.reshape([1, *artifact.input_spec.shape])
            self._compiled = core.compile_model(model, "CPU", config)
            check_one_each(len(model.inputs), len(model.outputs), artifact)
        except (RuntimeError, UnicodeDecodeError) as error:
            name = f"OpenVINO {openvino.__version__.split('-')[0]}"
            raise refused(name, artifact.path, str(error).strip().splitlines()[-1]) from None
        if artifact.recipe.form == FUSED:
            self.kernels = kernels.chosen("openvino", artifact.recipe.precision)
        streams = {**config, "NUM_STREAMS": self._threads, "INFERENCE_NUM_THREADS": self._threads}
        size = self._threads
        if throughput_hint:
            streams = {**streams, "PERFORMANCE_HINT": "THROUGHPUT"}
            del streams["NUM_STREAMS"]
        self._compile_streams: Callable[[], Any] = partial(core.compile_model, model, "CPU", streams)
        self._many: Any = None  # the model once more, with its streams
        if throughput_hint:
            self._many = self._compile_streams()
            size = int(self._many.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._crew = Crew(size)
        self._making = Lock()
        self._requests = [_Request(self._compiled)]  # which no thread uses
        self._of_many: list[_Request] = []
        self._bound: _Request | None = None  # to an image that lies in its place
        check_classes(next(iter(self._requests[0].logits.shape[-1:]), 1), artifact)  # a single number has no shape

    def _logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        shared = len(batch) > 1 and self._crew.size > 1
        compiled, free = (self._streams(), self._of_many) if shared else (self._compiled, self._requests)
        logits = np.empty((len(batch), len(self.artifact.input_spec.labels)), np.float32)

        def work(following: Following) -> None:
            try:
                request = free.pop()
            except IndexError:
                request = _Request(compiled)
            try:
                while (place := following()) is not None:
                    request.infer({0: batch[place : place + 1]}, share_inputs=True, share_outputs=True)
                    logits[place] = request.logits[0]
            finally:
                free.append(request)

        if shared:
            self._crew.share(work, len(batch))
        else:
            work(places(len(batch)))
        return logits

    def _streams(self) -> Any:
        with self._making:
            if self._many is None:
                self._many = self._compile_streams()
            return self._many

    def bind(self, batch: NDArray[np.float32]) -> Callable[[], object]:
        """What runs the engine alone on a batch of one: the image is in its place, the logits stay where they fall."""
        self._check_open()
        self._bound = self._bound or _Request(self._compiled)
        infer = self._bound.infer
        self._bound.tensors.set_input_tensor(openvino.Tensor(batch, shared_memory=True))
        return lambda: infer(share_outputs=True)

    def executed_precisions(self) -> dict[str, int]:
        """What the plugin runs: number of computing layers by precision, read back from the compiled model."""
        self._check_open()
        counts: dict[str, int] = {}
        for node in self._compiled.get_runtime_model().get_ops():
            layer, kernel, precision = (
                node.rt_info[name].astype(str) for name in ("layerType", "primitiveType", "runtimePrecision")
            )
            if layer in _MOVES:
                continue
            if layer == "Reference":  # ours, float32 outside its products
                precision = self._products
            elif kernel.endswith("_f32"):  # the layer's precision is then that of its weights, which are converted
                precision = "f32"
            counts[precision] = counts.get(precision, 0) + 1
        return counts

    def _release(self) -> None:
        self._crew.close()
        del self._requests, self._of_many, self._bound, self._compiled, self._many, self._compile_streams


class _Request:
    """What one thread needs to run a model: its tensors, of which the engine owns the logits."""

    def __init__(self, compiled: Any) -> None:
        self.tensors = compiled.create_infer_request()
        self.infer = self.tensors.infer
        self.logits = self.tensors.get_output_tensor(0).data


def load(artifact: Artifact, *, threads: int | None = None, throughput_hint: bool = False) -> OpenVinoSession:
    """Open an IR artifact; raises ArtifactError where OpenVINO cannot load the files.

    With `throughput_hint` OpenVINO itself chooses the streams of batches: the usual way, to measure.
    Raises TargetUnavailable where an artifact of the form "fused" cannot have its operations, and for other INT8 where
    the processor does not sum 8-bit products exactly.
    """
    return OpenVinoSession(artifact, threads, throughput_hint)

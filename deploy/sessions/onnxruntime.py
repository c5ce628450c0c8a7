"""ONNX models on ONNX Runtime's CPU provider."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from lc2fer.artifact import Artifact, hash_file
from lc2fer.crew import Crew, Following, places
from lc2fer.errors import ArtifactError
from lc2fer.opened import Opened, check_classes, check_one_each, refused
from lc2fer.processor import check_products
from lc2fer.recipe import BATCH, FUSED
from lc2fer.targets import adds_in_16_bits
from lc2fer.threads import usual

# Nodes that change how numbers are stored and compute nothing.
_CONVERSIONS = {"QuantizeLinear", "DequantizeLinear", "Cast", "Transpose", "Reshape", "ReorderInput", "ReorderOutput"}


_FUSED = {"fp32": "float", "fp16": "bfloat16", "int8": "int8"}  # what the products of our operations are in


class OnnxRuntimeSession(Opened):
    """An ONNX file, run image by image; of a batch each thread has an image of its own, and hands nothing over.

    That is faster than all threads on one image after another, and than batches in the engine, whose float sums also
    depend on the batch: docs/serving.md. So an answer never depends on its neighbours.
    """

    def __init__(self, artifact: Artifact, threads: int | None, optimize: bool, engine_batch: int | None) -> None:
        # Told nothing, it would pin its threads to cores that a container may not let it have.
        threads = usual() if threads is None else threads
        super().__init__(artifact, "ONNX Runtime", forks=threads == 1)  # one thread is the caller's
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        if engine_batch is None:
            options.add_free_dimension_override_by_name(BATCH, 1)
        # Our Q/DQ graphs are s8 with s8 weights; without this they run as float convolutions between Q and DQ.
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        if not optimize:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._products: dict[str, str] = {}
        if artifact.recipe is not None and artifact.recipe.form == FUSED:
            from lc2fer import kernels

            options.register_custom_ops_library(str(kernels.library("onnxruntime", artifact.recipe.precision)))
            self._products = dict.fromkeys(kernels.KINDS, _FUSED[artifact.recipe.precision])
        # Products of rows become one 8-bit operation each only if their biases are not fused into them first.
        rows = adds_in_16_bits(artifact.kind, artifact.recipe)
        if rows and optimize:
            check_products(artifact.path.name, artifact.kind)
        self._open = partial(
            onnxruntime.InferenceSession,
            str(artifact.path),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["MatMulAddFusion"] if rows else None,
        )
        try:
            self._session = self._open()
        except Exception as error:  # the bindings raise a class of their own for each status
            name = f"ONNX Runtime {onnxruntime.__version__}"
            raise refused(name, artifact.path, str(error).splitlines()[0]) from None
        if artifact.recipe is not None and artifact.recipe.form == FUSED:
            self.kernels = kernels.chosen("onnxruntime", artifact.recipe.precision)
        self._options = options
        self._threads = threads
        self._engine_batch = engine_batch
        self._crew = Crew(threads)
        self._single: onnxruntime.InferenceSession | None = None  # of one thread, which the crew runs
        self._making = Lock()
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        check_one_each(len(inputs), len(outputs), artifact)
        self._input = inputs[0]
        check_classes(next(iter(outputs[0].shape[-1:]), 1), artifact)  # a single number has no shape

    def _logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._engine_batch is not None:
            begins = range(0, len(batch), self._engine_batch)
            pieces = [{self._input.name: batch[begin : begin + self._engine_batch]} for begin in begins]
            return np.concatenate([self._session.run(None, piece)[0] for piece in pieces])
        shared = len(batch) > 1 and self._threads > 1
        run, name = (self._one_thread() if shared else self._session).run, self._input.name
        logits = np.empty((len(batch), len(self.artifact.input_spec.labels)), np.float32)

        def work(following: Following) -> None:
            while (place := following()) is not None:
                logits[place] = run(None, {name: batch[place : place + 1]})[0][0]

        if shared:
            self._crew.share(work, len(batch))
        else:
            work(places(len(batch)))
        return logits

    def _one_thread(self) -> onnxruntime.InferenceSession:
        """The model once more, opened when the first batch comes."""
        with self._making:
            if self._single is None:
                self._options.intra_op_num_threads = 1
                self._single = self._again()
                self._options.intra_op_num_threads = self._threads
            return self._single

    def _again(self) -> onnxruntime.InferenceSession:
        path = self.artifact.path
        if not path.is_file() or hash_file(path) != self.artifact.sha256:
            raise ArtifactError(
                f"{path} was replaced or removed while it was open. The same file was expected. Open it with "
                "open_session again."
            )
        return self._open()

    def bind(self, batch: NDArray[np.float32]) -> Callable[[], object]:
        """What runs the engine alone on a batch of one: the image is in its place, the logits stay where they fall."""
        self._check_open()
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._input.name, batch)
        binding.bind_output(self._session.get_outputs()[0].name)
        return lambda: self._session.run_with_iobinding(binding)

    def executed_precisions(self) -> dict[str, int]:
        """What ONNX Runtime runs: number of computing nodes by the type of their first input, from its own profile.

        Opens the model a second time and runs it once, on black.
        """
        self._check_open()
        with tempfile.TemporaryDirectory() as folder:
            with self._making:  # a model that is opened for batches is none that is watched
                self._options.enable_profiling = True
                self._options.profile_file_prefix = str(Path(folder) / "profile")
                try:
                    session = self._again()
                finally:
                    self._options.enable_profiling = False
            session.run(None, {self._input.name: np.zeros((1, *self.artifact.input_spec.shape), np.float32)})
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        counts: dict[str, int] = {}
        for event in events:
            told = event.get("args", {})
            if str(event.get("name", "")).endswith("_kernel_time") and told.get("op_name") not in _CONVERSIONS:
                taken = next(iter(told["input_type_shape"][0]), "none") if told["input_type_shape"] else "none"
                precision = self._products.get(told["op_name"], taken)
                counts[precision] = counts.get(precision, 0) + 1
        return counts

    def _release(self) -> None:
        self._crew.close()
        del self._session, self._single


def load(
    artifact: Artifact, *, threads: int | None = None, optimize: bool = True, engine_batch: int | None = None
) -> OnnxRuntimeSession:
    """Open an ONNX artifact; `optimize=False` runs the graph as written, the reference for other engines.

    With `engine_batch` the engine computes so many images at once, all threads on them: the usual way, to measure.

    Raises ArtifactError where ONNX Runtime cannot load the file, and TargetUnavailable for products of rows in INT8
    where the processor does not sum them exactly.
    """
    return OnnxRuntimeSession(artifact, threads, optimize, engine_batch)

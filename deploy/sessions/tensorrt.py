"""TensorRT engines on the GPU that they were built for: pinned memory, one stream, a CUDA graph where there can be."""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lc2fer import nvidia
from lc2fer.artifact import Artifact
from lc2fer.batch import check
from lc2fer.errors import ArtifactError, Lc2ferError, TargetUnavailable
from lc2fer.nvidia import LIBRARIES, Unusable
from lc2fer.opened import Opened

from .cuda import Buffer, Cuda, open_cuda

if TYPE_CHECKING:
    from tensorrt import ICudaEngine, Runtime, _Module


class TensorRtSession(Opened):
    """An engine of one image, or with a profile of 1 to `most`; batches are cut into what its buffers hold.

    Threads wait for each other. `replays` tells whether a run of one image is one launch of a captured CUDA graph.
    """

    def __init__(self, artifact: Artifact, trt: _Module, cuda: Cuda) -> None:
        super().__init__(artifact, "TensorRT", alone=True)
        self._cuda = cuda
        self._trt = trt
        runtime, engine = _deserialised(artifact, trt)
        names = [engine.get_tensor_name(place) for place in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        outputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]
        shape = (1, *artifact.input_spec.shape)
        labels = (1, len(artifact.input_spec.labels))
        found = [_described(engine, name, trt) for name in (*inputs, *outputs)]
        if len(inputs) != 1 or len(outputs) != 1 or found != [list(shape), list(labels)]:
            raise ArtifactError(
                f"{artifact.path} takes and gives {found}. One float32 input {list(shape)} and one output "
                f"{list(labels)} were expected. {_rebuild(artifact)}"
            )
        context = engine.create_execution_context()
        if context is None:
            raise Lc2ferError(
                f"{artifact.path} could not get its memory on {cuda.device.name}. A context of some megabytes was "
                "expected to fit. End what else uses the GPU and open it again."
            )
        self._names = inputs[0], outputs[0]
        open_batch = engine.get_tensor_shape(inputs[0])[0] == -1
        self.most = engine.get_tensor_profile_shape(inputs[0], 0)[2][0] if open_batch else 1
        self._held = _Held(runtime, engine, context)
        self.replays = self._place(1).replay is not None
        self._let_go = weakref.finalize(self, _let_go, self._held, cuda, os.getpid())
        self._let_go.atexit = False

    def _place(self, images: int) -> _Place:
        """Buffers for so many images and what runs them, made once."""
        if images not in self._held.places:
            shape, labels = self.artifact.input_spec.shape, self.artifact.input_spec.labels
            place = _Place(self._cuda.buffer((images, *shape)), self._cuda.buffer((images, len(labels))))
            self._enqueue(place)  # once before a capture: the first run may still allocate
            self._cuda.synchronize()
            place.replay = self._cuda.capture(lambda: self._enqueue(place))
            self._held.places[images] = place
        return self._held.places[images]

    def _enqueue(self, place: _Place) -> None:
        self._cuda.upload(place.input)
        self._execute(place)
        self._cuda.download(place.output)

    def _execute(self, place: _Place) -> None:
        if not self._held.context.set_input_shape(self._names[0], place.input.array.shape):
            shape = list(place.input.array.shape)
            raise ArtifactError(f"{self.artifact.path} refuses {shape}. It was built for it. {_rebuild(self.artifact)}")
        for name, buffer in zip(self._names, (place.input, place.output)):
            if not self._held.context.set_tensor_address(name, buffer.address):
                raise Lc2ferError(
                    f"{self.artifact.path} refuses the address of {name}. Memory of the engine's own device was "
                    "expected. Report it, with the output of nvidia-smi or tegrastats."
                )
        if not self._held.context.execute_async_v3(self._cuda.stream):
            raise Lc2ferError(
                f"TensorRT {self._trt.__version__} did not start {self.artifact.path}. A run was expected after a "
                "successful load. Look at the messages of TensorRT and at the GPU's memory."
            )

    def _logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = np.empty((len(batch), len(self.artifact.input_spec.labels)), np.float32)
        begin = 0
        for images in cut(len(batch), self.most):
            place, own = self._place(images), slice(begin, begin + images)
            place.input.array[...] = batch[own]
            if place.replay is None:
                self._enqueue(place)
            else:
                place.replay()
            self._cuda.synchronize()
            logits[own] = place.output.array
            begin += images
        return logits

    def bind(self, batch: NDArray[np.float32]) -> Callable[[], object]:
        """What runs the engine alone on a batch of one: the image is on the device, the logits stay there."""
        self._check_open()
        check(batch, self.artifact)
        place = self._place(1)
        place.input.array[0] = batch[0]
        self._cuda.upload(place.input)
        self._cuda.synchronize()
        launch = self._cuda.capture(lambda: self._execute(place)) or (lambda: self._execute(place))

        def compute() -> None:
            launch()
            self._cuda.synchronize()

        return compute

    def executed_precisions(self) -> dict[str, int] | None:
        """Number of computing layers by the precision that they run in, read back from the engine; None if not told."""
        self._check_open()
        inspector = self._held.engine.create_engine_inspector()
        try:
            found = nvidia.layers(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))
        except ValueError:
            return None
        return nvidia.executed(found)

    def _release(self) -> None:
        self._let_go()


@dataclass
class _Place:
    """Where a number of images and their logits lie, and the captured graph that takes them from one to the other."""

    input: Buffer
    output: Buffer
    replay: Callable[[], None] | None = None  # where there can be one


@dataclass
class _Held:
    """What a session holds of TensorRT, and nobody else."""

    runtime: Any  # has to outlive the engine
    engine: Any
    context: Any
    places: dict[int, _Place] = field(default_factory=dict)  # by their number of images


def _let_go(held: _Held, cuda: Cuda, process: int) -> None:
    """Free the GPU, also where nobody closed the session; not in a fork of its process, which has no GPU."""
    if os.getpid() == process:
        # TensorRT's objects go before the memory and the stream that they use.
        held.places.clear()
        held.context = held.engine = held.runtime = None
        cuda.close()


def cut(images: int, most: int) -> Iterator[int]:
    """Sizes that add up to `images`: `most` as often as it goes, then powers of two, so that few buffers are needed."""
    while images:
        piece = most if images >= most else 1 << (images.bit_length() - 1)
        yield piece
        images -= piece


def load(artifact: Artifact, *, threads: int | None = None) -> TensorRtSession:
    """Open an engine; `threads` is the other engines' option and means nothing to a GPU.

    Raises TargetUnavailable where there is no GPU, no TensorRT or another one, before TensorRT is touched: it crashes
    without a driver. Raises ArtifactError for an engine of another device or version, and for a damaged file.
    """
    built = artifact.device
    if built is None or built.get("library") not in LIBRARIES:
        raise ArtifactError(
            f"{artifact.path} does not say which device it was built for. Expected an engine of lc2fer-export. "
            f"{_rebuild(artifact)}"
        )
    library = LIBRARIES[built["library"]]
    with ExitStack() as cleanup:
        try:
            cuda = open_cuda()
            cleanup.callback(cuda.close)
            trt = library.load()
        except Unusable as reason:
            raise TargetUnavailable(
                f"{artifact.path.name} cannot be opened here: {reason}. It runs with {library.name} on "
                f"{built['name'] or 'an RTX GPU'}. Open it there."
            ) from None
        wrong = nvidia.disagreements(built, cuda.device, trt.__version__)
        if wrong:
            raise ArtifactError(
                f"{artifact.path} was built for {', '.join(wrong)}. An engine runs where it was built. "
                f"{_rebuild(artifact)}"
            )
        session = TensorRtSession(artifact, trt, cuda)
        cleanup.pop_all()
        return session


def _deserialised(artifact: Artifact, trt: _Module) -> tuple[Runtime, ICudaEngine]:
    data = artifact.path.read_bytes()
    # The very bytes that TensorRT gets are compared: what it does with half an engine is not defined.
    if artifact.files and hashlib.sha256(data).hexdigest() != artifact.files[0].sha256:
        raise ArtifactError(
            f"{artifact.path} is not the file that its manifest describes ({len(data):,} bytes, expected "
            f"{artifact.files[0].size_bytes:,}). It was truncated or changed. {_rebuild(artifact)}"
        )
    with nvidia.logged(trt) as (logger, log):
        runtime = trt.Runtime(logger)
        engine = runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise ArtifactError(
                f"TensorRT {trt.__version__} refuses {artifact.path}: {nvidia.errors_in(log).rstrip('.')}. "
                f"A model that it can run was expected. {_rebuild(artifact)}"
            )
        return runtime, engine


def _described(engine: ICudaEngine, name: str, trt: _Module) -> list[int] | str:
    """A tensor's shape with an open batch taken as 1; its type where it is not float32."""
    if engine.get_tensor_dtype(name) != trt.DataType.FLOAT:
        return engine.get_tensor_dtype(name).name
    shape = engine.get_tensor_shape(name)
    sides = [shape[axis] for axis in range(len(shape))]
    return [1 if sides[0] == -1 else sides[0], *sides[1:]]


def _rebuild(artifact: Artifact) -> str:
    return f"Build it here: lc2fer-export --config {artifact.variant} --target {artifact.target}"

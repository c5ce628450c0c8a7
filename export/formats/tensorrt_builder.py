"""The one builder of TensorRT engines: strongly typed, so that every precision is what the ONNX file says.

TensorRT is a parameter: `tensorrt` 10.3 to 11.x, `tensorrt_rtx`, or the tests' own. There is no switch for a precision
and no calibrator here because TensorRT 11 has none; only names of stubs/tensorrt are used, which all versions have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lc2fer import nvidia
from lc2fer.nvidia import Unusable

if TYPE_CHECKING:
    from tensorrt import IBuilderConfig, INetworkDefinition, ITensor, OnnxParser, _Module

WORKSPACE_BYTES = 512 << 20  # a layer's scratch memory; the largest tensor, of C7 at 100x100, has 4.9 MB

Progress = Callable[[str, int, int], None]  # phase, steps done, steps in all


class Refused(Exception):
    """The parser or the builder refuses a graph; the text is TensorRT's own."""


@dataclass(frozen=True)
class Built:
    """A serialised engine and what its building left."""

    engine: bytes
    timing: bytes | None  # timing cache: what was measured of each kernel on this device
    log: tuple[str, ...]


def build(trt: _Module, model: bytes, *, timing: bytes | None, progress: Progress, batch: int = 1) -> Built:
    """Build an ONNX graph; raises Refused with TensorRT's message where it cannot.

    An open batch is fixed to 1, or gets a profile of 1 to `batch` images, which is tuned for `batch`.
    `timing` is an earlier cache of the same device and version, empty for none. With None no cache is touched:
    TensorRT-RTX would look for a GPU. Ctrl-C ends the build at its next step.
    """
    with nvidia.logged(trt) as (logger, log):
        builder = trt.Builder(logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, logger)
        if not parser.parse(model):
            raise Refused(_parser_errors(parser))
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the inspector tells precisions
        config.clear_flag(trt.BuilderFlag.TF32)  # fp32 is fp32
        for tensor, rest in _dynamic_inputs(network):
            if batch == 1:
                tensor.shape = (1, *rest)
                continue
            profile = builder.create_optimization_profile()
            profile.set_shape(tensor.name, *((images, *rest) for images in (1, batch, batch)))
            config.add_optimization_profile(profile)
        if timing is not None:
            _set_timing_cache(config, timing)
        monitor = _monitor(trt, progress)
        config.progress_monitor = monitor
        serialised = builder.build_serialized_network(network, config)
        if monitor.interrupted:
            raise KeyboardInterrupt
        if serialised is None:
            raise Refused(nvidia.errors_in(log))
        kept = None if timing is None else bytes(config.get_timing_cache().serialize())
        return Built(bytes(serialised), kept, tuple(log))


def inspect(trt: _Module, engine: bytes) -> list[dict[str, str]]:
    """The engine's layers, read back from it on its device; raises Unusable where it cannot be read."""
    with nvidia.logged(trt) as (logger, log):
        opened = trt.Runtime(logger).deserialize_cuda_engine(engine)
        if opened is None:
            raise Unusable(f"the engine that was just built cannot be opened ({nvidia.errors_in(log)})")
        return nvidia.layers(opened.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))


def _parser_errors(parser: OnnxParser) -> str:
    errors = [parser.get_error(place) for place in range(parser.num_errors)]
    told = (f"{error.node_operator()} {error.node_name()}: {error.desc()}".strip(": ") for error in errors)
    return "; ".join(dict.fromkeys(told)) or "the parser gave no reason"


def _dynamic_inputs(network: INetworkDefinition) -> list[tuple[ITensor, tuple[int, ...]]]:
    """Inputs whose batch is open, with their other sides; a static graph takes no profile but an equal one."""
    found = []
    for place in range(network.num_inputs):
        tensor = network.get_input(place)
        shape = [tensor.shape[axis] for axis in range(len(tensor.shape))]
        if -1 in shape[1:]:
            raise Refused(f"input {tensor.name} has the shape {shape}; only its batch may be open")
        if shape[0] == -1:
            found.append((tensor, tuple(shape[1:])))
    return found


def _set_timing_cache(config: IBuilderConfig, timing: bytes) -> None:
    # A cache of another device or version is refused here, and an empty one is always taken.
    if not config.set_timing_cache(config.create_timing_cache(timing), ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _monitor(trt: _Module, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        """Tells `progress` of each step; an exception may not pass through TensorRT, so Ctrl-C is kept for later."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.interrupted = False
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            self._tell(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(phase_name, step + 1)
            return not self.interrupted  # False ends the build

        def phase_finish(self, phase_name: str) -> None:
            self._tell(phase_name, self.steps[phase_name])

        def _tell(self, phase: str, done: int) -> None:
            try:
                progress(phase, done, self.steps[phase])
            except KeyboardInterrupt:
                self.interrupted = True

    return Monitor()

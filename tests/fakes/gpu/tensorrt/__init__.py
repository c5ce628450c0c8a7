"""TensorRT of the tests: the names of stubs/tensorrt and no others, computing through ONNX Runtime.

An engine is a header and the ONNX file. FAKE_TENSORRT_VERSION chooses the version and the inspector's schema,
FAKE_TENSORRT_REFUSES makes the builder refuse graphs with float16 scales, as 10.16 does on Orin, or all quantised ones.
"""

from __future__ import annotations

import ctypes
import json
from typing import Any

import fake_gpu
import numpy as np
import onnx
import onnxruntime

__version__ = fake_gpu.settings("TENSORRT_VERSION", "10.3.0")

_MAGIC = b"fake-engine\0"
_FLOAT, _HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


class _Enum:
    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self._number = number

    def __int__(self) -> int:
        return self._number

    @classmethod
    def _fill(cls, *names: str) -> None:
        for number, name in enumerate(names):
            setattr(cls, name, cls(name, number))


class NetworkDefinitionCreationFlag(_Enum):
    pass


class BuilderFlag(_Enum):
    pass


class MemoryPoolType(_Enum):
    pass


class ProfilingVerbosity(_Enum):
    pass


class LayerInformationFormat(_Enum):
    pass


class TensorIOMode(_Enum):
    pass


class DataType(_Enum):
    pass


NetworkDefinitionCreationFlag._fill("STRONGLY_TYPED")
BuilderFlag._fill("TF32")
MemoryPoolType._fill("WORKSPACE")
ProfilingVerbosity._fill("DETAILED")
LayerInformationFormat._fill("JSON")
TensorIOMode._fill("INPUT", "OUTPUT")
DataType._fill("FLOAT")


class ILogger:
    class Severity(_Enum):
        pass

    def __init__(self) -> None:
        pass

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


ILogger.Severity._fill("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")


class IProgressMonitor:
    def __init__(self) -> None:
        pass


class Dims:
    def __init__(self, sides: list[int]) -> None:
        self._sides = sides

    def __len__(self) -> int:
        return len(self._sides)

    def __getitem__(self, index: int) -> int:
        return self._sides[index]


class IHostMemory(bytes):
    """bytes(IHostMemory) works because the real one is a buffer."""


class ITensor:
    def __init__(self, value: onnx.ValueInfoProto) -> None:
        self.name = value.name
        self._sides = value.type.tensor_type.shape.dim

    @property
    def shape(self) -> Dims:
        return Dims([side.dim_value or -1 for side in self._sides])

    @shape.setter
    def shape(self, sides: tuple[int, ...]) -> None:
        for side, wanted in zip(self._sides, sides):
            side.dim_value = wanted


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        assert flags == 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED), "the network is not strongly typed"
        self._model = onnx.ModelProto()

    @property
    def num_inputs(self) -> int:
        return len(self._model.graph.input)

    def get_input(self, index: int) -> ITensor:
        return ITensor(self._model.graph.input[index])


class IOptimizationProfile:
    def __init__(self) -> None:
        self._shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(self, input: str, min: tuple[int, ...], opt: tuple[int, ...], max: tuple[int, ...]) -> None:
        self._shapes[input] = (min, opt, max)


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def serialize(self) -> IHostMemory:
        return IHostMemory(self._content)


class IBuilderConfig:
    profiling_verbosity: ProfilingVerbosity
    progress_monitor: Any

    def __init__(self) -> None:
        self._pools: dict[str, int] = {}
        self._cleared: list[str] = []
        self._cache: ITimingCache | None = None
        self._profiles: list[IOptimizationProfile] = []

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self._pools[pool.name] = pool_size

    def clear_flag(self, flag: BuilderFlag) -> None:
        self._cleared.append(flag.name)

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache._content and not cache._content.startswith(__version__.encode()):
            return ignore_mismatch
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache:
        assert self._cache is not None
        return self._cache

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1


class Builder:
    def __init__(self, logger: ILogger) -> None:
        assert fake_gpu.asked, "TensorRT was touched before CUDA was asked for a device: it would crash here"
        self._logger = logger

    def create_network(self, flags: int) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        self._logger.log(ILogger.Severity.INFO, f"Building with {__version__}")
        self._logger.log(ILogger.Severity.VERBOSE, "a detail")
        assert config._pools["WORKSPACE"] < 1 << 30
        graph = network._model.graph
        dynamic = [value.name for value in graph.input if not value.type.tensor_type.shape.dim[0].dim_value]
        assert [name for profile in config._profiles for name in profile._shapes] == dynamic
        if _refused(graph):
            self._logger.log(
                ILogger.Severity.ERROR, "Could not infer output types for operation: dequantize weightsHalf f16"
            )
            return None
        monitor = config.progress_monitor
        monitor.phase_start("Building engine", None, 2)
        monitor.phase_start("Tactic selection", "Building engine", len(graph.node))
        for step in range(len(graph.node)):
            if not monitor.step_complete("Tactic selection", step):
                return None
        monitor.phase_finish("Tactic selection")
        monitor.phase_finish("Building engine")
        if config._cache is not None:
            config._cache = ITimingCache(f"{__version__} {len(graph.node)} layers".encode())
        if not dynamic:  # TensorRT infers the other shapes from its inputs'
            for value in graph.output:
                value.type.tensor_type.shape.dim[0].dim_value = 1
        profiles = [profile._shapes for profile in config._profiles]
        network._model.metadata_props.add(key="profiles", value=json.dumps(profiles))
        return IHostMemory(_MAGIC + __version__.encode() + b"\0" + network._model.SerializeToString())


def _refused(graph: onnx.GraphProto) -> bool:
    what = fake_gpu.settings("TENSORRT_REFUSES", "")
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    scales = [types[node.input[1]] for node in graph.node if node.op_type == "DequantizeLinear"]
    return bool(scales) and (what == "int8" or (what == "fp16 scales" and _HALF in scales))


class ParserError:
    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        return self._text

    def node_name(self) -> str:
        return "node_of_it"

    def node_operator(self) -> str:
        return "Conv"


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network = network
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse(self, model: bytes) -> bool:
        try:
            self._network._model.ParseFromString(model)
            onnx.checker.check_model(self._network._model)
        except Exception as error:
            self._errors.append(ParserError(str(error).splitlines()[0]))
        return not self._errors


class EngineInspector:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = onnx.shape_inference.infer_shapes(model)

    def get_engine_information(self, format: LayerInformationFormat) -> str:
        graph = self._model.graph
        types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info)}
        integer = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
        layers = []
        for node in graph.node:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear") or not node.input:
                continue
            half = types.get(node.input[0]) == _HALF
            if int(__version__.split(".")[0]) < 11:
                told = "Int8" if node.input[0] in integer else "FP16" if half else "FP32"
                tensor: dict[str, Any] = {"Format/Datatype": f"Row major linear {told} format"}
            else:
                told = "Int8" if node.input[0] in integer else "Half" if half else "Float"
                tensor = {"Format": "Row major linear format (kLINEAR)", "DataType": told}
            layers.append({"Name": node.name, "LayerType": node.op_type, "Inputs": [tensor], "Outputs": [tensor]})
        names = [value.name for value in (*graph.input, *graph.output)]
        if int(__version__.split(".")[0]) < 11:
            return json.dumps({"Layers": layers, "Bindings": names})
        return json.dumps({"Layers": layers, "I/O Tensors": [{"Name": name} for name in names]})


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._shape: tuple[int, ...] = ()
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            engine._model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        sides = self._engine.get_tensor_shape(name)
        self._shape = shape
        most = self._engine._profiles[0][name][2][0] if sides[0] == -1 else 1
        return shape[0] <= most and all(sides[axis] in (-1, side) for axis, side in enumerate(shape))

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return memory in fake_gpu.device

    def execute_async_v3(self, stream_handle: int) -> bool:
        stream = fake_gpu.streams[stream_handle]
        if stream.captured is not None and fake_gpu.settings("TENSORRT_CAPTURE", "1") == "0":
            return False
        images, addresses = self._shape[0], dict(self._addresses)  # a graph keeps what it was captured with
        stream.put(lambda: self._run(images, addresses))
        return True

    def _run(self, images: int, addresses: dict[str, int]) -> None:
        (given,), (wanted,) = self._engine._model.graph.input, self._engine._model.graph.output
        arrays = {
            value.name: np.ctypeslib.as_array(
                (ctypes.c_float * int(np.prod(sides))).from_address(addresses[value.name])
            ).reshape(sides)
            for value in (given, wanted)
            for sides in [[side.dim_value or images for side in value.type.tensor_type.shape.dim]]
        }
        arrays[wanted.name][...] = self._session.run(None, {given.name: arrays[given.name]})[0]


class ICudaEngine:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._values = [*model.graph.input, *model.graph.output]
        self._profiles = json.loads(next(each.value for each in model.metadata_props if each.key == "profiles"))

    @property
    def num_io_tensors(self) -> int:
        return len(self._values)

    def get_tensor_name(self, index: int) -> str:
        return str(self._values[index].name)

    def get_tensor_mode(self, name: str) -> Any:
        given = {value.name for value in self._model.graph.input}
        return TensorIOMode.INPUT if name in given else TensorIOMode.OUTPUT  # type: ignore[attr-defined]

    def get_tensor_dtype(self, name: str) -> Any:
        kind = next(value for value in self._values if value.name == name).type.tensor_type.elem_type
        return DataType.FLOAT if kind == _FLOAT else DataType("HALF", 1)  # type: ignore[attr-defined]

    def get_tensor_shape(self, name: str) -> Dims:
        return ITensor(next(value for value in self._values if value.name == name)).shape

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        return [Dims(list(sides)) for sides in self._profiles[profile_index][name]]

    def create_execution_context(self) -> IExecutionContext | None:
        return None if fake_gpu.settings("TENSORRT_MEMORY", "") == "full" else IExecutionContext(self)

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self._model)


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        assert fake_gpu.asked, "TensorRT was touched before CUDA was asked for a device: it would crash here"
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        if unsupported := fake_gpu.settings("TENSORRT_CANNOT_OPEN", ""):
            self._logger.log(ILogger.Severity.ERROR, unsupported)
            return None
        magic, version = serialized_engine[: len(_MAGIC)], serialized_engine[len(_MAGIC) :].split(b"\0")[0]
        if magic != _MAGIC or version.decode(errors="replace") != __version__:
            self._logger.log(ILogger.Severity.ERROR, "Serialization assertion header.magicTag == kMAGIC_TAG failed.")
            return None
        model = onnx.ModelProto()
        model.ParseFromString(serialized_engine[len(_MAGIC) + len(version) + 1 :])
        return ICudaEngine(model)

"""cuda-python's runtime API of the tests: every call gives (status, value, ...), as the real one does."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import fake_gpu

_Result = tuple[Any, ...]

cudaStreamNonBlocking = 1
cudaHostAllocDefault = 0
cudaHostAllocMapped = 2


class cudaMemcpyKind:
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode:
    cudaStreamCaptureModeThreadLocal = 1


class cudaDeviceAttr:
    cudaDevAttrIntegrated = 18
    cudaDevAttrComputeCapabilityMajor = 75
    cudaDevAttrComputeCapabilityMinor = 76


class _Handle:
    def __init__(self, stream: fake_gpu.Stream) -> None:
        self.stream = stream

    def __int__(self) -> int:
        return self.stream.handle


class _Graph:
    def __init__(self, work: list[Callable[[], None]]) -> None:
        self.work = work


def cudaGetDeviceCount() -> _Result:
    fake_gpu.asked = True
    status = fake_gpu.settings("GPU_STATUS", "0")
    if not status.isdigit():
        raise RuntimeError(status)  # as 12.6 does without libcuda
    return (int(status), None if int(status) else int(fake_gpu.settings("GPU_COUNT", "1")))


def cudaSetDevice(device: int) -> _Result:
    return (0 if device == 0 else 101,)


def cudaDeviceGetAttribute(attr: int, device: int) -> _Result:
    major, minor = fake_gpu.settings("GPU_SM", "8.7").split(".")
    return (0, {18: int(fake_gpu.settings("GPU_INTEGRATED", "0")), 75: int(major), 76: int(minor)}[attr])


def cudaGetDeviceProperties(device: int) -> _Result:
    return (0, SimpleNamespace(name=fake_gpu.settings("GPU_NAME", "Fake Orin").encode() + b"\0\0"))


def cudaRuntimeGetVersion() -> _Result:
    return (0, 12060)


def cudaDriverGetVersion() -> _Result:
    return (0, 13020)


def cudaStreamCreateWithFlags(flags: int) -> _Result:
    assert flags == cudaStreamNonBlocking
    return (0, _Handle(fake_gpu.Stream()))


def cudaStreamDestroy(stream: _Handle) -> _Result:
    del fake_gpu.streams[stream.stream.handle]
    return (0,)


def cudaStreamSynchronize(stream: _Handle) -> _Result:
    status = int(fake_gpu.settings("GPU_SYNCHRONIZE", "0"))
    if not status:
        stream.stream.wait()
    return (status,)


def cudaHostAlloc(size: int, flags: int) -> _Result:
    address = fake_gpu.allocate(fake_gpu.host, size)
    if flags == cudaHostAllocMapped:
        fake_gpu.device[address] = fake_gpu.host[address]
    return (0, address)


def cudaHostGetDevicePointer(pHost: int, flags: int) -> _Result:
    return (0 if pHost in fake_gpu.device else 1, pHost)


def cudaFreeHost(ptr: int) -> _Result:
    del fake_gpu.host[ptr]
    fake_gpu.device.pop(ptr, None)
    return (0,)


def cudaMalloc(size: int) -> _Result:
    return (0, fake_gpu.allocate(fake_gpu.device, size))


def cudaFree(devPtr: int) -> _Result:
    del fake_gpu.device[devPtr]
    return (0,)


def cudaMemcpyAsync(dst: int, src: int, count: int, kind: int, stream: _Handle) -> _Result:
    upload = kind == cudaMemcpyKind.cudaMemcpyHostToDevice
    stream.stream.put(lambda: fake_gpu.copy(dst, src, count, upload=upload))
    return (0,)


def cudaStreamBeginCapture(stream: _Handle, mode: int) -> _Result:
    assert not stream.stream.pending, "work that was enqueued before the capture would be lost"
    stream.stream.captured = []
    return (0,)


def cudaStreamEndCapture(stream: _Handle) -> _Result:
    work, stream.stream.captured = stream.stream.captured, None
    return (int(fake_gpu.settings("GPU_CAPTURE_STATUS", "0")), _Graph(work or []))


def cudaGraphInstantiate(graph: _Graph, flags: int) -> _Result:
    return (0, _Graph(list(graph.work)))


def cudaGraphDestroy(graph: _Graph) -> _Result:
    graph.work.clear()
    return (0,)


def cudaGraphLaunch(graphExec: _Graph, stream: _Handle) -> _Result:
    for work in graphExec.work:
        stream.stream.put(work)
    return (0,)


def cudaGraphExecDestroy(graphExec: _Graph) -> _Result:
    graphExec.work.clear()
    return (0,)

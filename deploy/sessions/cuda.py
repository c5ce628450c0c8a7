"""One GPU for one session: pinned memory, a stream of its own, and CUDA graphs where the bindings have them.

pycuda where it is installed, cuda-python (12.6 or newer) elsewhere; both behind `Cuda`. Nothing happens at import, and
pycuda.autoinit, which takes a context for the whole process, is not used: both work in the device's primary context,
which TensorRT uses too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lc2fer.errors import Lc2ferError
from lc2fer.nvidia import Device, Unusable, l4t


@dataclass(frozen=True, eq=False)
class Buffer:
    """A tensor in pinned host memory and its place on the device; valid until its `Cuda` is closed."""

    array: NDArray[np.float32]
    address: int  # on the device
    shared: bool  # the device reads and writes `array` itself: nothing to copy
    owner: Any = None  # what the bindings need to copy or free it


class Cuda(Protocol):
    """The first GPU, from `open_cuda` to `close`. All work goes into one stream, in order."""

    device: Device
    stream: int  # the handle, for TensorRT

    def buffer(self, shape: tuple[int, ...]) -> Buffer:
        """Float32 of that shape, zeros; shared with the device where it is integrated."""
        ...

    def upload(self, buffer: Buffer) -> None:
        """Enqueue the copy to the device; nothing for a shared buffer."""
        ...

    def download(self, buffer: Buffer) -> None:
        """Enqueue the copy from the device; nothing for a shared buffer."""
        ...

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None] | None:
        """What `enqueue` puts into the stream, as one call that replays it; None where that cannot be had."""
        ...

    def synchronize(self) -> None:
        """Wait for all that was enqueued."""
        ...

    def close(self) -> None: ...


def open_cuda() -> Cuda:
    """The first GPU; raises Unusable, before anything else is touched, where there is no driver or no GPU."""
    if find_spec("pycuda") is not None:
        return _PyCuda()
    if find_spec("cuda") is not None and find_spec("cuda.bindings") is not None:
        return _CudaPython()
    raise Unusable("neither pycuda nor cuda-python 12.6 or newer is installed")


def device() -> Device:
    """The first GPU's identity; raises Unusable like `open_cuda`."""
    cuda = open_cuda()
    try:
        return cuda.device
    finally:
        cuda.close()


class _CudaPython:
    """cuda-python's runtime API, which is the same from 12.6 to 13.x."""

    def __init__(self) -> None:
        from cuda.bindings import runtime

        self._runtime = runtime
        self._free: list[Callable[[], Any]] = []
        try:
            status, count = runtime.cudaGetDeviceCount()
        except RuntimeError as error:  # 12.6 raises where libcuda is missing
            raise Unusable(f"no NVIDIA driver (cudaGetDeviceCount: {error})") from None
        if int(status) or not count:
            reason = f"cudaGetDeviceCount: {int(status)}" if int(status) else "cudaGetDeviceCount found none"
            raise Unusable(f"{'no NVIDIA driver' if int(status) == 35 else 'no GPU'} ({reason})")
        self._do(runtime.cudaSetDevice, 0)
        attribute = runtime.cudaDeviceAttr
        major, minor, integrated = (
            self._do(runtime.cudaDeviceGetAttribute, wanted, 0)
            for wanted in (
                attribute.cudaDevAttrComputeCapabilityMajor,
                attribute.cudaDevAttrComputeCapabilityMinor,
                attribute.cudaDevAttrIntegrated,
            )
        )
        name = self._do(runtime.cudaGetDeviceProperties, 0).name
        self.device = Device(
            name=name.decode().strip("\0 ") if isinstance(name, bytes) else str(name),
            sm=f"{major}.{minor}",
            integrated=bool(integrated),
            l4t=l4t(),
            cuda=_version(self._do(runtime.cudaRuntimeGetVersion)),
            driver=_version(self._do(runtime.cudaDriverGetVersion)),
        )
        self._stream = self._do(runtime.cudaStreamCreateWithFlags, runtime.cudaStreamNonBlocking)
        self._free.append(lambda: runtime.cudaStreamDestroy(self._stream))
        self.stream = int(self._stream)

    def buffer(self, shape: tuple[int, ...]) -> Buffer:
        runtime = self._runtime
        count = int(np.prod(shape))
        flags = runtime.cudaHostAllocMapped if self.device.integrated else runtime.cudaHostAllocDefault
        host = int(self._do(runtime.cudaHostAlloc, 4 * count, flags))
        self._free.append(lambda: runtime.cudaFreeHost(host))
        array = np.ctypeslib.as_array((ctypes.c_float * count).from_address(host)).reshape(shape)
        array[...] = 0
        if self.device.integrated:
            return Buffer(array, int(self._do(runtime.cudaHostGetDevicePointer, host, 0)), True, host)
        memory = int(self._do(runtime.cudaMalloc, 4 * count))
        self._free.append(lambda: runtime.cudaFree(memory))
        return Buffer(array, memory, False, host)

    def upload(self, buffer: Buffer) -> None:
        if not buffer.shared:
            kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
            self._copy(buffer.address, buffer.owner, buffer, kind)

    def download(self, buffer: Buffer) -> None:
        if not buffer.shared:
            kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
            self._copy(buffer.owner, buffer.address, buffer, kind)

    def _copy(self, to: int, source: int, buffer: Buffer, kind: Any) -> None:
        self._do(self._runtime.cudaMemcpyAsync, to, source, buffer.array.nbytes, kind, self._stream)

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None] | None:
        runtime = self._runtime
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._do(runtime.cudaStreamBeginCapture, self._stream, mode)
        try:
            enqueue()
        except Lc2ferError:  # an engine with work on the host cannot be captured; it runs all the same
            runtime.cudaStreamEndCapture(self._stream)  # leaves the stream as it was
            return None
        status, graph = runtime.cudaStreamEndCapture(self._stream)
        if int(status):
            return None
        launchable = self._do(runtime.cudaGraphInstantiate, graph, 0)
        self._do(runtime.cudaGraphDestroy, graph)
        self._free.append(lambda: runtime.cudaGraphExecDestroy(launchable))
        return lambda: self._do(runtime.cudaGraphLaunch, launchable, self._stream)

    def synchronize(self) -> None:
        self._do(self._runtime.cudaStreamSynchronize, self._stream)

    def close(self) -> None:
        while self._free:
            self._free.pop()()  # the last made first

    def _do(self, call: Callable[..., Any], *arguments: Any) -> Any:
        status, *values = call(*arguments)
        if int(status):
            raise _failure(f"{call.__name__}: {int(status)}")
        return values[0] if values else None


class _PyCuda:
    """pycuda's driver API; it has no CUDA graphs."""

    def __init__(self) -> None:
        try:
            import pycuda.driver as driver

            driver.init()
        except Exception as error:  # ImportError without libcuda.so.1, pycuda's own errors without a driver or a GPU
            raise Unusable(f"no NVIDIA driver (pycuda: {error})") from None
        if not driver.Device.count():
            raise Unusable("no GPU (pycuda found none)")
        self._driver = driver
        gpu = driver.Device(0)
        self._context = gpu.retain_primary_context()
        self.device = Device(
            name=gpu.name(),
            sm="{}.{}".format(*gpu.compute_capability()),
            integrated=bool(gpu.get_attribute(driver.device_attribute.INTEGRATED)),
            l4t=l4t(),
            cuda=".".join(map(str, driver.get_version()[:2])),
            driver=_version(driver.get_driver_version()),
        )
        self._memory: list[Any] = []
        with self._current():
            self._stream = driver.Stream()
        self.stream = int(self._stream.handle)

    @contextmanager
    def _current(self) -> Iterator[None]:
        """The primary context for this thread: a session may be opened in one and run in another."""
        self._context.push()
        try:
            yield
        except self._driver.Error as error:
            raise _failure(f"pycuda: {error}") from None
        finally:
            self._driver.Context.pop()

    def buffer(self, shape: tuple[int, ...]) -> Buffer:
        driver, shared = self._driver, self.device.integrated
        flags = driver.host_alloc_flags.DEVICEMAP if shared else 0
        with self._current():
            array = driver.pagelocked_empty(shape, np.float32, mem_flags=flags)
            array[...] = 0
            # A DeviceAllocation, which frees itself, or the address of the array's own memory.
            memory: Any = array.base.get_device_pointer() if shared else driver.mem_alloc(array.nbytes)
        self._memory.append(memory)
        return Buffer(array, int(memory), shared, memory)

    def upload(self, buffer: Buffer) -> None:
        if not buffer.shared:
            with self._current():
                self._driver.memcpy_htod_async(buffer.owner, buffer.array, self._stream)

    def download(self, buffer: Buffer) -> None:
        if not buffer.shared:
            with self._current():
                self._driver.memcpy_dtoh_async(buffer.array, buffer.owner, self._stream)

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None] | None:
        return None

    def synchronize(self) -> None:
        with self._current():
            self._stream.synchronize()

    def close(self) -> None:
        if self._context is not None:
            self._context.push()
            self._memory.clear()  # the last reference frees
            self._stream = None
            self._context.detach()  # takes a context that is current off pycuda's stack
            self._context = None


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _failure(what: str) -> Lc2ferError:
    return Lc2ferError(
        f"CUDA failed ({what}). The GPU was working when the model was opened. Look at the kernel's log for NVIDIA's "
        "messages, and open the model again."
    )

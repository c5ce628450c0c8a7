"""deploy/sessions/cuda.py against a real driver: every call of it, both bindings where they are, and CUDA's errors.

python tests/gpu/memory.py cuda|pycuda
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from lc2fer.deploy.sessions import cuda as bindings

from lc2fer.errors import Lc2ferError
from lc2fer.nvidia import Unusable

_KERNEL = b"""
extern "C" __global__ void twice(const float* in, float* out, int count) {
    int place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place < count) out[place] = 2.0f * in[place];
}
"""
_COUNT = 3 * 100 * 100


def open_by(name: str) -> bindings.Cuda:
    """The first GPU, by cuda-python or by pycuda."""
    return bindings._PyCuda() if name == "pycuda" else bindings._CudaPython()


def kernel(gpu: bindings.Cuda) -> Callable[[int, int], None]:
    """Enqueues out = 2 * in, for two addresses on the device, into the session's stream."""
    from cuda.bindings import driver, nvrtc, runtime

    def do(found: tuple[Any, ...]) -> Any:
        if int(found[0]):
            raise Lc2ferError(f"{found[0]}")
        return found[1] if len(found) == 2 else found[1:]

    do(runtime.cudaFree(0))  # the primary context is current in this thread from here on
    program = do(nvrtc.nvrtcCreateProgram(_KERNEL, b"twice.cu", 0, [], []))
    flags = [f"--gpu-architecture=compute_{gpu.device.sm.replace('.', '')}".encode()]
    do(nvrtc.nvrtcCompileProgram(program, len(flags), flags))
    code = b" " * do(nvrtc.nvrtcGetPTXSize(program))
    do(nvrtc.nvrtcGetPTX(program, code))
    module = do(driver.cuModuleLoadData(np.frombuffer(code, np.uint8).ctypes.data))
    function = do(driver.cuModuleGetFunction(module, b"twice"))

    def launch(source: int, target: int) -> None:
        values = (np.array([source], np.uint64), np.array([target], np.uint64), np.array([_COUNT], np.int32))
        addresses = np.array([value.ctypes.data for value in values], np.uint64)
        grid = (-(-_COUNT // 256), 1, 1, 256, 1, 1)
        do(driver.cuLaunchKernel(function, *grid, 0, driver.CUstream(gpu.stream), addresses.ctypes.data, 0))

    return launch


def there_and_back(gpu: bindings.Cuda) -> None:
    """Pinned memory up, a kernel, down again, twice: at once and as a graph."""
    source, target = gpu.buffer((1, 3, 100, 100)), gpu.buffer((1, 3, 100, 100))
    assert not source.array.any(), "pinned memory is given as zeros"
    try:
        launch = kernel(gpu)
    except ImportError as error:
        print(f"  no kernel: {error}; copies alone")
        launch = None
    rng = np.random.default_rng(0)

    def enqueue() -> None:
        gpu.upload(source)
        if launch is not None:
            launch(source.address, target.address)
        gpu.download(target if launch is not None else source)

    for _ in range(3):
        source.array[...] = rng.random(source.array.shape, np.float32)
        wanted = 2 * source.array.copy()
        enqueue()
        gpu.synchronize()
        assert launch is None or (target.array == wanted).all()
    print("  pinned memory, copies, kernel: right 3 times")
    replay = gpu.capture(enqueue)
    print(f"  capture: {'a graph' if replay else 'none'}")
    for _ in range(100 if replay else 0):
        source.array[...] = rng.random(source.array.shape, np.float32)
        wanted = 2 * source.array.copy()
        replay()  # type: ignore[misc]
        gpu.synchronize()
        assert launch is None or (target.array == wanted).all()
    print("  replayed: right 100 times" if replay else "  not replayed")


def refused_work(gpu: bindings.Cuda) -> None:
    """A capture in which something fails leaves the stream usable."""

    def fails() -> None:
        raise Lc2ferError("made to fail")

    assert gpu.capture(fails) is None
    gpu.synchronize()
    print("  a capture that fails: none, and the stream works")


def too_much(gpu: bindings.Cuda) -> None:
    """More memory than there is, then as usual."""
    try:
        gpu.buffer((1 << 20, 1 << 20))
    except (Lc2ferError, MemoryError) as error:
        print(f"  4 TiB: {type(error).__name__}: {error}")
    else:
        raise AssertionError("4 TiB were given")
    gpu.buffer((4,))
    gpu.synchronize()


def main(name: str) -> None:
    """The command."""
    try:
        gpu = open_by(name)
    except (Unusable, ImportError) as error:
        print(f"{name}: {error}")
        return
    print(f"{name}: {gpu.device}")
    there_and_back(gpu)
    refused_work(gpu)
    too_much(gpu)
    gpu.close()
    gpu.close()
    print("  closed twice")
    for _ in range(200):
        again = open_by(name)
        again.buffer((256, 256))
        again.close()
    print("  opened and closed 200 times")
    if len(sys.argv) < 3:
        held = open_by(name)
        held.buffer((1024, 1024))
        done = subprocess.run([sys.executable, __file__, name, "second"], capture_output=True, text=True, timeout=60)
        print(f"  a second process beside it: {done.returncode} {done.stderr.strip()[-300:]}")
        held.close()


if __name__ == "__main__":
    main(sys.argv[1])

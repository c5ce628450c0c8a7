"""pycuda's driver API of the tests: it wants a context that is current, and complains in its own exceptions."""

from __future__ import annotations

import ctypes
import weakref
from types import SimpleNamespace
from typing import Any

import fake_gpu
import numpy as np

_current: list[Context] = []


class Error(Exception):
    pass


class device_attribute:
    INTEGRATED = 18


class host_alloc_flags:
    DEVICEMAP = 2


def init() -> None:
    fake_gpu.asked = True
    status = fake_gpu.settings("GPU_STATUS", "0")
    if status != "0":
        raise Error(f"cuInit failed: {status}")


def get_version() -> tuple[int, int, int]:
    return (12, 6, 0)


def get_driver_version() -> int:
    return 13020


class Context:
    def push(self) -> None:
        _current.append(self)

    @staticmethod
    def pop() -> None:
        _current.pop()

    def detach(self) -> None:
        _current.remove(self)


class Device:
    def __init__(self, number: int) -> None:
        assert number == 0

    @staticmethod
    def count() -> int:
        return int(fake_gpu.settings("GPU_COUNT", "1"))

    def name(self) -> str:
        return fake_gpu.settings("GPU_NAME", "Fake Orin")

    def compute_capability(self) -> tuple[int, int]:
        major, minor = fake_gpu.settings("GPU_SM", "8.7").split(".")
        return (int(major), int(minor))

    def get_attribute(self, attr: int) -> int:
        return int(fake_gpu.settings("GPU_INTEGRATED", "0"))

    def retain_primary_context(self) -> Context:
        return Context()


class Stream:
    def __init__(self) -> None:
        _check()
        self._stream = fake_gpu.Stream()
        self.handle = self._stream.handle

    def synchronize(self) -> None:
        _check()
        self._stream.wait()

    def __del__(self) -> None:
        fake_gpu.streams.pop(self.handle, None)


class DeviceAllocation:
    def __init__(self, count: int) -> None:
        self._address = fake_gpu.allocate(fake_gpu.device, count)

    def __int__(self) -> int:
        return self._address

    def __del__(self) -> None:
        fake_gpu.device.pop(self._address, None)


class _Pinned(np.ndarray[Any, np.dtype[np.float32]]):
    """Its base says where it is on the device, as that of pycuda's arrays does."""

    @property
    def base(self) -> Any:
        return SimpleNamespace(get_device_pointer=lambda: self.ctypes.data)


def pagelocked_empty(shape: tuple[int, ...], dtype: Any, mem_flags: int = 0) -> Any:
    _check()
    count = int(np.prod(shape))
    address = fake_gpu.allocate(fake_gpu.host, 4 * count)
    if mem_flags == host_alloc_flags.DEVICEMAP:
        fake_gpu.device[address] = fake_gpu.host[address]
    array = np.ctypeslib.as_array((ctypes.c_float * count).from_address(address)).reshape(shape).view(_Pinned)
    weakref.finalize(array, lambda: (fake_gpu.host.pop(address), fake_gpu.device.pop(address, None)))
    return array


def mem_alloc(count: int) -> DeviceAllocation:
    _check()
    return DeviceAllocation(count)


def memcpy_htod_async(dest: DeviceAllocation, src: Any, stream: Stream) -> None:
    _check()
    stream._stream.put(lambda: fake_gpu.copy(int(dest), src.ctypes.data, src.nbytes, upload=True))


def memcpy_dtoh_async(dest: Any, src: DeviceAllocation, stream: Stream) -> None:
    _check()
    stream._stream.put(lambda: fake_gpu.copy(dest.ctypes.data, int(src), dest.nbytes, upload=False))


def _check() -> None:
    if not _current:
        raise Error("invalid device context")

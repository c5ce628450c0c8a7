"""Which code of a depthwise convolution is the fastest to train on this GPU.

    python tests/gpu/depthwise.py FOLDER [--rehearse]

Writes FOLDER/depthwise.json, which the other parts go by.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lc2fer.network import model as networks

_FILE = "depthwise.json"


def choose(folder: Path) -> str:
    """Train on a GPU by the fastest code that was found, which is returned."""
    file = folder / _FILE
    if not file.is_file():
        return ""
    times = json.loads(file.read_text())
    fastest = min(times, key=times.get)
    if fastest != "channels_last":
        networks.DEPTHWISE["cuda"] = fastest
    return str(fastest)


def timed(run: Callable[[], Any], device: torch.device, count: int) -> float:
    """Seconds a call, of `count` calls after those that warm up; waits for the device at both ends."""
    for _ in range(8 if device.type == "cuda" else 1):
        run()
    wait(device)
    began = time.perf_counter()
    for _ in range(count):
        run()
    wait(device)
    return (time.perf_counter() - began) / count


def wait(device: torch.device) -> None:
    """For the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def depthwise(device: torch.device, count: int, images: int) -> dict[str, float]:
    """Milliseconds of a depthwise convolution, forwards and backwards, bf16 [images,64,49,49], in three codes."""
    grad = torch.randn(images, 64, 49, 49, device=device, dtype=torch.bfloat16)
    weight = torch.randn(64, 1, 7, 7, device=device, dtype=torch.bfloat16, requires_grad=True)
    bias = torch.zeros(64, device=device, dtype=torch.bfloat16, requires_grad=True)
    found = {}
    summed = torch.compile(networks._Depthwise.apply) if device.type == "cuda" else networks._Depthwise.apply

    def plain(x: Tensor) -> Tensor:
        return functional.conv2d(x, weight, bias, padding=3, groups=64)

    for name, layout, code in (
        ("channels_last", torch.channels_last, plain),
        ("contiguous", torch.contiguous_format, plain),
        ("summed", torch.channels_last, lambda x: summed(x, weight, bias)),
    ):
        x = torch.randn(images, 64, 49, 49, device=device, dtype=torch.bfloat16).contiguous(memory_format=layout)
        x.requires_grad_()
        slope = grad.contiguous(memory_format=layout)

        def run() -> None:
            code(x).backward(slope)  # noqa: B023 - called before the next turn

        found[name] = 1000 * timed(run, device, count)
    return found


if __name__ == "__main__":
    rehearsed = len(sys.argv) > 2
    here = torch.device("cpu" if rehearsed else "cuda")
    torch.backends.cudnn.benchmark = True
    times = depthwise(here, *((1, 2) if rehearsed else (20, 128)))
    (Path(sys.argv[1]) / _FILE).write_text(json.dumps(times))
    print(times)

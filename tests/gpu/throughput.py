"""Training throughput: images a second and memory by variant, size and batch, and what a step spends its time on.

python tests/gpu/throughput.py OUT/throughput.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
from accelerate import Accelerator
from depthwise import choose, timed, wait
from torch import Tensor

from lc2fer.network.model import build
from lc2fer.settings import Settings
from lc2fer.training.batches import Batches
from lc2fer.training.faces import Faces
from lc2fer.training.learner import Learner
from lc2fer.training.replay import Replay
from lc2fer.variants import variant

FACES = 21_403  # of an epoch, FER+'s D^u

# config, pixels, batch, compiled; the first stand for what people ask first, as time may end before the last
POINTS = [
    *(("C6", size, 128, True) for size in (100, 48)),
    *(("C6", size, 128, False) for size in (48, 64, 100)),
    *(("C6", 100, batch, False) for batch in (64, 256, 512)),
    ("C8", 100, 128, True),
    ("C5", 100, 128, True),
    ("C6", 64, 128, True),
    *(("C6", 100, batch, True) for batch in (256, 512, 64)),
]


def step_of(config: str, size: int, batch: int, compiled: bool, accelerator: Accelerator) -> Callable[[], Any]:
    """A training step, augmentation and AdamW included, on faces of noise that lie on the device as uint8."""
    device = accelerator.device
    settings = Settings(config, size=size, batch=batch, precision="bf16", compile=compiled, augment="paper")
    learner = Learner(settings, build(variant(config)), accelerator)
    pixels = torch.randint(0, 256, (4096, 3, size, size), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 7, (4096,), device=device)
    batches = Batches(settings, Faces(pixels, labels), torch.eye(7, device=device)[labels], [], accelerator.autocast)
    learner.model.train()

    def step(index: Tensor) -> tuple[Tensor, ...]:
        return learner.learn(*batches(index, size), None)

    replay = Replay(step) if device.type == "cuda" else step
    order = torch.randint(0, 4096, (batch,), device=device)
    return lambda: replay(order)


def profile(step: Callable[[], Any], device: torch.device) -> str:
    """The kernels of 30 steps, the longest first."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as watched:
        for _ in range(30 if device.type == "cuda" else 1):
            step()
        wait(device)
    key = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    return watched.key_averages().table(sort_by=key, row_limit=25, max_name_column_width=90)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=90, help="begin no point after so many")
    parser.add_argument("--rehearse", action="store_true")
    given = parser.parse_args()
    torch._dynamo.config.recompile_limit = 64
    found_depthwise = choose(given.out.parent)
    began = time.perf_counter()
    accelerator = Accelerator(cpu=given.rehearse, mixed_precision="bf16")
    device = accelerator.device
    found: dict[str, Any] = {
        "device": "cpu",
        "torch": torch.__version__,
        "rehearsal": given.rehearse,
        "depthwise": found_depthwise,
        "rows": [],
    }
    if device.type == "cuda":
        found["device"] = torch.cuda.get_device_name()

    def keep() -> None:
        given.out.write_text(json.dumps(found, indent=1) + "\n")

    for config, size, batch, compiled in [("C8", 32, 16, False)] if given.rehearse else POINTS:
        if time.perf_counter() - began > given.seconds:
            break
        start = time.perf_counter()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        try:
            step = step_of(config, size, batch, compiled, accelerator)
            seconds = timed(step, device, 2 if given.rehearse else 40)
        except Exception as error:  # the next point may work
            found["rows"].append(
                {"config": config, "size": size, "batch": batch, "compiled": compiled, "error": str(error)}
            )
            print(config, size, batch, compiled, type(error).__name__, str(error)[:300], flush=True)
            continue
        row = {
            "config": config,
            "size": size,
            "batch": batch,
            "compiled": compiled,
            "images_per_second": round(batch / seconds),
            "epoch_seconds": round(FACES / batch * seconds, 3),
            "peak_mib": round(torch.cuda.max_memory_allocated() / 2**20) if device.type == "cuda" else None,
            "first_steps_seconds": round(time.perf_counter() - start - 40 * seconds, 1),
        }
        found["rows"].append(row)
        print(row, flush=True)
        if len(found["rows"]) == 1:
            found["profile"] = profile(step, device)
            print(found["profile"][:6000], flush=True)
        keep()
    keep()


if __name__ == "__main__":
    main()

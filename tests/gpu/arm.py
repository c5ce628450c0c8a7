"""A run of lc2fer-train from packed faces: its flags, with what is learned from a file instead of a folder.

python tests/gpu/arm.py faces.npz --config C6 --data packed --out OUT --recipe best --size 48 --epochs 60 ...
"""

from __future__ import annotations

import sys
from pathlib import Path

import packed as packing
import torch
from depthwise import choose

from lc2fer import artifact as artifacts
from lc2fer.training import command
from lc2fer.training.batches import Batches
from lc2fer.training.log import Log
from lc2fer.training.train import Run


def main(file: str, arguments: list[str]) -> None:
    """The command."""
    given, settings = command.settings_of(arguments)
    choose(Path(file).parent)
    packed = packing.read(Path(file))
    out: Path = given.out
    run = Run(settings, [packed.described], out, None, packed.labels)
    resumed = run.resume()
    device = run.accelerator.device
    targets = packed.targets(settings.targets).to(device)
    batches = Batches(settings, packed.faces("fit", run.spec, device), targets, [], run.accelerator.autocast)
    validation = [packed.faces("validation", run.spec, device)]
    artifacts.write(out / "run.json", run.described)
    with Log(out, settings.epochs, resumed_after=run.progress.epoch if resumed else 0) as log:
        run.fit(batches, validation, log.row)
    refused = {side: step.refused for side, step in run._steps.items() if getattr(step, "refused", "")}
    peak = f", {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB" if device.type == "cuda" else ""
    print(f"{out.name}: best D^v {run.progress.best_accuracy:.4f}, {run.progress.seconds:.1f} s{peak} {refused or ''}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

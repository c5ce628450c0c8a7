"""Several networks trained side by side on one GPU: one batch, one answer of the teachers, a step of each.

    python tests/gpu/cohort.py --packed faces.npz --out OUT --members C7:0 C5:0 --seconds 170
    python tests/gpu/cohort.py --packed faces.npz --out OUT --members C6:0 C6:1 C6:2 C8:0 C5:0 --seconds 300 \
        --teachers OUT/C7-0/C7.safetensors OUT/C5-0/C5.safetensors

The schedule follows the clock: one cycle over the seconds that are given, small images first. Everything is compiled
and captured before the clock starts, with random teachers where theirs are not there yet.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import packed as packing
import torch
import torch._dynamo
from accelerate import Accelerator
from accelerate.utils import set_seed
from depthwise import choose
from torch import Tensor
from torch.nn import functional

from lc2fer.inputs import InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build
from lc2fer.settings import KEPT, OPTIMIZERS, Settings
from lc2fer.training import faces as train_data
from lc2fer.training.batches import Batches
from lc2fer.training.faces import Faces, Teacher
from lc2fer.training.learner import Learner
from lc2fer.training.replay import Replay, Step
from lc2fer.variants import variant

_WARM = 7  # steps at no learning rate: compiling and capturing


@dataclass(frozen=True)
class Place:
    """Where a run stands."""

    share: float  # of its time, 0..1
    epoch: int
    side: int


class Cohort:
    """The members, each in a folder `<config>-<seed>` of its own, and what they learn from."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.packed = packing.read(given.packed)
        gpu = torch.cuda.is_available()
        self.accelerator = Accelerator(cpu=not gpu, mixed_precision="bf16" if given.bf16 else "no")
        self.device = self.accelerator.device
        self.spec = InputSpec(size=given.sizes[-1], labels=self.packed.labels, alignment=self.packed.alignment)
        self.settings = Settings(
            given.members[0].split(":")[0],
            size=given.sizes[-1],
            epochs=given.epochs or 1,
            batch=given.batch,
            lr=given.lr,
            schedule="one-cycle",
            warm_up=given.warm_up,
            weight_decay=0.05,
            drop_path=0.0,
            augment="paper",
            erase=given.erase,
            optimizer=given.optimizer,
            targets="votes",
            distill=given.distill if given.teachers else 0.0,
            teach="augmented" if given.teachers else "once",
            teachers=tuple(str(path) for path in given.teachers),
            validation_images=self.packed.described.get("validation_images", 0),
            keep=given.keep,
            precision="bf16" if given.bf16 else "fp32",
            compile=given.compile,
        )
        self.learners: dict[str, Learner] = {}
        for member in given.members:
            config, seed = member.split(":")
            set_seed(int(seed))
            settings = replace(self.settings, config=config, seed=int(seed))
            network = build(variant(config), len(self.packed.labels), settings.drop_path)
            self.learners[f"{config}-{seed}"] = Learner(settings, network, self.accelerator)
        self.best = dict.fromkeys(self.learners, 0.0)

    # -- what is learned from -------------------------------------------------------------------------------------

    def load(self) -> None:
        """The faces onto the device, the procedural ones behind them, and the teachers' networks, yet untrained."""
        faces = self.packed.faces("fit", self.spec, self.device)
        targets = self.packed.targets("votes")
        self.real = len(targets)
        if self.given.drawn < 1:
            drawn = self._drawn()
            targets = torch.cat([targets, torch.eye(len(self.packed.labels))[drawn.labels.cpu()]])
            faces = Faces(torch.cat([faces.pixels, drawn.pixels]), torch.cat([faces.labels, drawn.labels]))
        self.validation = self.packed.faces("validation", self.spec, self.device)
        targets = targets.to(self.device)
        self.teachers = [
            Teacher(build(variant(name), len(self.packed.labels)).eval(), self.spec)
            for name in (path.name.split(".")[0] for path in self.given.teachers)
        ]
        autocast = self.accelerator.autocast
        self.alone = Batches(replace(self.settings, distill=0.0, teachers=()), faces, targets, [], autocast)
        self.taught = Batches(self.settings, faces, targets, self.teachers, autocast)
        if self.given.compile:
            self.taught.teachers = [
                Teacher(torch.compile(one.network, dynamic=False), one.spec)  # type: ignore[arg-type]
                for one in self.teachers
            ]

    def _drawn(self) -> Faces:
        from lc2fer.data import open_dataset
        from lc2fer.data.split import divide

        return train_data.faces(divide(open_dataset("synthetic")).fit, self.spec, self.device)

    def wait_for_teachers(self) -> None:
        """Take their weights as soon as they are there, in place: graphs keep the addresses."""
        for path, one in zip(self.given.teachers, self.teachers):
            while not path.with_name("done").is_file():
                time.sleep(0.2)
            trained = checkpoint.load(path).state_dict()
            with torch.no_grad():
                for name, value in one.network.state_dict().items():
                    value.copy_(trained[name])

    # -- the loop -------------------------------------------------------------------------------------------------

    def step(self, side: int) -> Step:
        """A step of every member at that size; returns their losses [members]."""
        batches = self.taught if side == self.given.sizes[-1] and self.teachers else self.alone

        def step(index: Tensor) -> tuple[Tensor, ...]:
            images, wanted = batches(index, side)
            return (torch.stack([one.learn(images, wanted, None)[0] for one in self.learners.values()]),)

        return Replay(step) if self.device.type == "cuda" else step

    def prepare(self) -> None:
        """Compile and capture; the weights do not move."""
        self.steps = {side: self.step(side) for side in self.given.sizes}
        for side, step in self.steps.items():
            began = time.perf_counter()
            for learner in self.learners.values():
                learner.model.train()
                learner.rate = 0.0
            for _ in range(_WARM if self.device.type == "cuda" else 1):
                step(torch.arange(self.given.batch, device=self.device))
            refused = getattr(step, "refused", "")
            say(
                f"{side} px: ready after {time.perf_counter() - began:.1f} s" + f"; no graph: {refused}" * bool(refused)
            )

    def train(self) -> None:
        """Until the time is over."""
        began, epoch, took = time.perf_counter(), 0, 0.0
        judged = began
        seconds: float = self.given.seconds
        while (now := time.perf_counter()) - began < seconds - took / 2:
            place = Place((now - began) / seconds, epoch, self._side((now - began) / seconds))
            losses = self._epoch(place, took)
            took = time.perf_counter() - now
            epoch += 1
            share = (time.perf_counter() - began) / seconds
            late = share > 0.9 and epoch % 2 == 0
            if late or time.perf_counter() - judged > self.given.judge or share + took / seconds >= 1:
                judged = time.perf_counter()
                self._judge(replace(place, share=min(share, 1.0), epoch=epoch), losses, judged - began)
        for name in self.learners:
            (self.given.out / name / "done").touch()

    def _side(self, share: float) -> int:
        sizes: Sequence[int] = self.given.sizes
        return sizes[0] if share < self.given.first else sizes[-1]

    def _epoch(self, place: Place, took: float) -> list[float]:
        count = len(self.alone.targets) if place.share >= self.given.drawn else self.real
        order = np.random.default_rng((self.settings.seed, place.epoch)).permutation(count)
        indices = torch.from_numpy(order).to(self.device)
        steps = count // self.given.batch
        span = took / self.given.seconds
        losses = []
        for learner in self.learners.values():
            learner.model.train()
        for step in range(steps):
            share = min(place.share + span * step / steps, 1 - 1e-6)
            rate = self.settings.learning_rate(int(1e6 * share), 1_000_000)
            for learner in self.learners.values():
                learner.rate = rate
            (loss,) = self.steps[place.side](indices[step * self.given.batch : (step + 1) * self.given.batch])
            losses.append(loss.clone())
        return torch.stack(losses).mean(0).tolist()

    def _judge(self, place: Place, losses: Sequence[float], seconds: float) -> None:
        pixels = self.validation.pixels
        if place.side != self.spec.size:
            small = [
                functional.interpolate(part.float(), size=place.side, mode="bilinear", antialias=True)
                for part in pixels.split(512)
            ]
            pixels = torch.cat(small)
        row: dict[str, Any] = {"seconds": round(seconds, 1), "epoch": place.epoch, "side": place.side}
        final = place.side == self.spec.size
        for (name, learner), loss in zip(self.learners.items(), losses):
            accuracy, cross_entropy = learner.evaluate(Faces(pixels, self.validation.labels))
            row |= {
                f"{name} loss": round(loss, 5),
                f"{name} D^v": round(accuracy, 5),
                f"{name} D^v loss": round(cross_entropy, 5),
            }
            if final and (accuracy >= self.best[name] or self.given.keep == "last"):
                self.best[name] = accuracy
                self._keep(learner, name, row)
        with (self.given.out / self.given.log).open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if not file.tell():
                writer.writeheader()
            writer.writerow(row)
        say(" ".join(f"{key} {value}" for key, value in row.items() if "loss" not in key))

    def _keep(self, learner: Learner, name: str, row: dict[str, Any]) -> None:
        training = asdict(learner.settings) | {
            "data": [self.packed.described] + [{"name": "synthetic"}] * (self.given.drawn < 1),
            "epoch": row["epoch"],
            "validation_accuracy": row[f"{name} D^v"],
            "seconds": row["seconds"],
            "beside": list(self.learners),
            "sizes": self.given.sizes,
            "share_at_first_size": self.given.first,
            "device": torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu",
        }
        config = learner.settings.config
        checkpoint.save(learner.judged, self.given.out / name, config, input_spec=self.spec, training=training)


def say(text: str) -> None:
    """A line of the log, with the time of day."""
    print(time.strftime("%H:%M:%S"), text, flush=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packed", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--members", nargs="+", required=True, metavar="CONFIG:SEED")
    parser.add_argument("--teachers", nargs="+", type=Path, default=[])
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--sizes", nargs=2, type=int, default=[48, 100])
    parser.add_argument("--first", type=float, default=0.35, help="share of the time at the first size")
    parser.add_argument("--drawn", type=float, default=1.0, help="share of the time from which procedural faces are in")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="adamw")
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--warm-up", type=float, default=0.1)
    parser.add_argument("--erase", type=float, default=0.0)
    parser.add_argument("--distill", type=float, default=0.5)
    parser.add_argument("--judge", type=float, default=30.0, help="seconds between two looks at D^v")
    parser.add_argument("--keep", choices=KEPT, default="best", help="of the looks at the second size")
    parser.add_argument("--log", default="log.csv", help="its name in --out")
    parser.add_argument(
        "--wait", type=Path, help="a file to wait for before the clock starts, which may hold other --seconds"
    )
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    given = parser.parse_args()
    torch._dynamo.config.recompile_limit = 64  # a size and a variant each
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / given.log).with_suffix(".json").write_text(json.dumps(vars(given), default=str, indent=1))
    choose(given.packed.parent)
    cohort = Cohort(given)
    cohort.load()
    say("faces are on the device")
    cohort.prepare()
    cohort.wait_for_teachers()
    while given.wait and not given.wait.exists():
        time.sleep(0.2)
    if given.wait and given.wait.read_text().strip():
        given.seconds = float(given.wait.read_text())
    say(f"begins, {given.seconds} s")
    cohort.train()
    say(" ".join(f"{name} {best:.4f}" for name, best in cohort.best.items()))


if __name__ == "__main__":
    main()

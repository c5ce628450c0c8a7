"""Training: from data sets to a checkpoint.

Every epoch starts from (seed, epoch) alone, so a run that was killed and resumed ends in the same weights.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, set_seed
from torch import Tensor

from lc2fer import artifact as artifacts
from lc2fer.artifact import Artifact
from lc2fer.data.split import images_kept
from lc2fer.errors import TrainingError, UsageError
from lc2fer.inputs import LABELS, InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build, grow
from lc2fer.reading import Reading
from lc2fer.settings import BALANCED, Settings
from lc2fer.storage import alone
from lc2fer.training import faces as train_data
from lc2fer.training import state
from lc2fer.training.balance import balanced
from lc2fer.training.batches import Batches
from lc2fer.training.faces import Faces
from lc2fer.training.learner import Learner
from lc2fer.training.log import Log
from lc2fer.training.replay import Replay, Step
from lc2fer.training.sources import open_sources
from lc2fer.training.state import Progress
from lc2fer.variants import variant

_FEW = 5000  # images
FIRST = 50  # steps whose losses are written down, to see that a run is repeated bit for bit


class Run:
    """One training run in one folder: `state.safetensors` to resume from, `<config>.safetensors` the best so far."""

    def __init__(
        self,
        settings: Settings,
        data: list[dict[str, Any]],
        out: Path,
        init: train_data.Teacher | None,
        labels: tuple[str, ...] = LABELS,
        alignment: str = "none",
    ):
        self.settings = settings
        self.out = out
        alone = not (torch.cuda.is_available() or torch.backends.mps.is_available())
        precision = "bf16" if settings.precision == "bf16" else "no"
        self.accelerator = Accelerator(cpu=alone, mixed_precision=precision, kwargs_handlers=_meeting())
        if settings.batch % self.accelerator.num_processes:
            raise UsageError(
                f"--batch {settings.batch} cannot be shared by {self.accelerator.num_processes} processes. Expected a "
                f"multiple of {self.accelerator.num_processes}. Change --batch."
            )
        aligned = {} if alignment == "none" else {"alignment": alignment}
        self.described = asdict(settings) | {"data": data, "labels": list(labels)} | aligned
        self.spec = InputSpec(size=settings.size, labels=labels, alignment=alignment)
        self.progress = Progress()
        set_seed(settings.seed)
        network = build(variant(settings.config), len(labels), settings.drop_path)
        if init is not None:
            grow(network, init.network, [init.spec.labels.index(n) if n in init.spec.labels else None for n in labels])
        if settings.compile:
            _check_compiler(self.accelerator.device)
        self.learner = Learner(settings, network, self.accelerator)
        self._steps: dict[int, Step] = {}

    # -- state on disk -------------------------------------------------------------------------------------------

    def resume(self) -> bool:
        """Take up the run that lies in the folder, if one does; raises what `state.read` raises."""
        found = state.read(self.out, self.described, self.learner.tensors())
        if found is None:
            return False
        tensors, self.progress = found
        self.learner.take_up(tensors)
        return True

    def keep_state(self) -> None:
        """Write what `resume` reads, in one step."""
        state.keep(self.out, self.learner.tensors(), self.progress)

    def keep_best(self, accuracies: list[float]) -> Artifact:
        """Write the checkpoint of the weights that were judged."""
        training = self.described | {
            "epoch": self.progress.best_epoch,
            "validation_accuracy": self.progress.best_accuracy,
            "validation_accuracies": accuracies,
            "seconds": round(self.progress.seconds, 1),
        }
        judged = self.learner.judged
        return checkpoint.save(judged, self.out, self.settings.config, input_spec=self.spec, training=training)

    def balance(self, batches: Batches, validation: Sequence[Faces]) -> None:
        """Add to the best checkpoint's manifest its setting in which rare classes count more."""
        path = self.out / f"{self.settings.config}.safetensors"
        if not path.is_file() or BALANCED in (training := artifacts.load(path).training or {}):
            return
        network = checkpoint.load(path).to(self.accelerator.device)
        logits = np.concatenate([train_data.logits(network, part) for part in validation])
        labels = np.concatenate([part.labels.cpu().numpy() for part in validation])
        counts = np.bincount(batches.faces.labels.cpu().numpy(), minlength=logits.shape[1])
        training = {**training, BALANCED: balanced(logits, labels, counts)}
        checkpoint.save(network, self.out, self.settings.config, input_spec=self.spec, training=training)

    # -- the loop ------------------------------------------------------------------------------------------------

    def fit(self, batches: Batches, validation: Sequence[Faces], report: Callable[[dict[str, Any]], None]) -> None:
        """Train until the epochs are done or patience ends; D^v is judged and a row reported every `judge_every`."""
        settings, progress = self.settings, self.progress
        count = len(batches.faces.labels)
        steps = count // settings.batch
        if steps == 0:
            raise UsageError(
                f"--batch {settings.batch} is larger than the {count} training images. Expected at least one batch. "
                "Lower --batch."
            )
        while progress.epoch < settings.epochs and progress.stale < settings.patience:
            began = time.perf_counter()
            learned = []
            for _ in range(min(settings.judge_every, settings.epochs - progress.epoch)):
                learned.append(self._epoch(batches, steps))
                progress.epoch += 1
            loss, accuracy = np.mean(learned, axis=0).tolist()
            scores, val_accuracy, val_loss = self.judge(validation)
            if not math.isfinite(val_loss):  # the last step may have ruined the weights after a finite loss
                raise self._not_finite(val_loss, f"epoch {progress.epoch}, on the validation images")
            progress.seconds += time.perf_counter() - began
            better = (val_accuracy, -val_loss) > (progress.best_accuracy, -progress.best_loss)
            better |= settings.keep == "last"
            if better:
                progress.best_epoch = progress.epoch
                progress.best_accuracy = val_accuracy
                progress.best_loss = val_loss
            if self.accelerator.is_main_process:
                if better:
                    self.keep_best([score[0] for score in scores])
                report(
                    {
                        "epoch": progress.epoch,
                        "loss": loss,
                        "accuracy": accuracy,
                        "validation_loss": val_loss,
                        "validation_accuracy": val_accuracy,
                        "learning_rate": self.learner.rate,
                        "seconds": time.perf_counter() - began,
                    }
                    | {f"validation_accuracy_{place}": score[0] for place, score in enumerate(scores)}
                )
                self.keep_state()
            self.accelerator.wait_for_everyone()

    def judge(self, validation: Sequence[Faces]) -> tuple[list[tuple[float, float]], float, float]:
        """Accuracy and loss of each data set's D^v, then those over all their images."""
        scores = [self.learner.evaluate(part) for part in validation]
        sizes = [len(part.labels) for part in validation]
        accuracy, loss = np.average(scores, axis=0, weights=sizes).tolist()
        return scores, accuracy, loss

    def _epoch(self, batches: Batches, steps: int) -> tuple[float, float]:
        """Mean loss and accuracy; on a GPU nothing waits for the device before the last step."""
        settings, epoch = self.settings, self.progress.epoch
        device = self.accelerator.device
        ranks = self.accelerator.num_processes
        order = train_data.order(batches.faces.labels.cpu().numpy(), settings, epoch).to(device)
        set_seed(((settings.seed * 1_000_003 + epoch) * ranks + self.accelerator.process_index) % 2**32)
        share = settings.batch // ranks
        side = settings.train_size(epoch)
        if side not in self._steps:
            self._steps[side] = self._step(batches, side)
        losses = torch.zeros(steps, device=device)
        correct = torch.zeros((), device=device)
        self.learner.model.train()
        look_every = 1 if device.type == "cpu" else steps
        for step in range(steps):
            self.learner.rate = settings.learning_rate(epoch * steps + step, settings.epochs * steps)
            begin = step * settings.batch + self.accelerator.process_index * share
            loss, hits = self._steps[side](order[begin : begin + share])
            losses[step] = loss
            correct += hits
            self.learner.average(epoch * steps + step)
            if (step + 1) % look_every == 0:
                self._stop_at_nan(losses[: step + 1], epoch)
            self.step_done(epoch, step + 1, steps)
        losses = self.accelerator.reduce(losses, "mean")
        if epoch == 0 and self.accelerator.is_main_process:
            self._keep_first(losses[:FIRST].tolist())
        correct = self.accelerator.reduce(correct, "sum")
        return losses.mean().item(), correct.item() / (steps * settings.batch)

    def _step(self, batches: Batches, side: int) -> Step:
        """A step at that size of image: its loss and its right answers; as a CUDA graph where that is possible."""
        labels = batches.faces.labels
        weights = None
        if self.settings.balance == "loss":
            known = labels.cpu().numpy()
            weights = torch.from_numpy(train_data.balance(known, batches.targets.shape[1])).float().to(labels.device)

        def step(index: Tensor) -> tuple[Tensor, Tensor]:
            loss, answers = self.learner.learn(*batches(index, side), weights)
            return loss, (answers == labels[index]).sum()

        alone = self.accelerator.num_processes == 1
        mixing = self.settings.mixup or self.settings.cutmix  # whose coin is the host's
        return Replay(step) if labels.device.type == "cuda" and alone and not mixing else step

    def _keep_first(self, losses: list[float]) -> None:
        """Write the first losses, and what they depend on beside the settings and the images."""
        environment = {
            "device": str(self.accelerator.device),
            "processes": self.accelerator.num_processes,
            "threads": torch.get_num_threads(),
            "machine": platform.machine(),
            "vector_instructions": torch.backends.cpu.get_cpu_capability(),
            "tools": dict(artifacts.tool_versions("torch", "numpy", "accelerate")),
        }
        artifacts.write(self.out / "first_losses.json", {"environment": environment, "losses": losses})

    def _stop_at_nan(self, losses: Tensor, epoch: int) -> None:
        bad = torch.nonzero(~torch.isfinite(losses)).flatten()
        if len(bad):
            raise self._not_finite(losses[bad[0]].item(), f"epoch {epoch + 1}, step {bad[0].item() + 1}")

    def _not_finite(self, loss: float, where: str) -> TrainingError:
        kept = (
            f"The best checkpoint so far, of epoch {self.progress.best_epoch}, is kept in {self.out}"
            if self.progress.best_epoch
            else "There was no finished epoch to keep"
        )
        return TrainingError(
            f"The loss became {loss} in {where}. "
            f"A finite loss was expected. {kept}; lower --lr, or train with --precision fp32."
        )

    def step_done(self, epoch: int, step: int, steps: int) -> None:
        """Replaced by the command's progress bar."""


def _meeting() -> list[Any]:
    """Over gloo where a machine has more processes than GPUs: NCCL refuses two on one."""
    processes, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if not 0 < gpus < processes:
        return []
    os.environ["LOCAL_RANK"] = str(int(os.environ["LOCAL_RANK"]) % gpus)
    return [InitProcessGroupKwargs(backend="gloo")]


def _check_compiler(device: torch.device) -> None:
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise UsageError(
            f"--compile was passed, and there is no {compiler}. torch.compile needs a C++ compiler on a CPU. "
            "Install g++, name yours in the variable CXX, or leave --compile out."
        )


def train(
    settings: Settings,
    data: list[str],
    out: Path,
    *,
    init: Path | None,
    teachers: Sequence[Path] = (),
    images: str,
    restart: bool,
    alignment: str = "none",
    reading: Reading = Reading(),  # noqa: B008
) -> dict[str, Any]:
    """Train, or go on training, in the folder `out`; returns what became of it.

    `init` is a checkpoint to start from, of this variant or of one with fewer blocks, `teachers` are checkpoints of any
    variants, `images` which pictures of RAF-DB's official layout, `alignment` how the faces were cut out. Raises
    UsageError where the folder holds another run, DataError and ArtifactError for bad images and weights, TrainingError
    where the loss stops being finite.
    """
    weights = out / f"{settings.config}.safetensors"
    for path in (*([] if init is None else [init]), *teachers):
        if path.resolve() == weights.resolve():
            raise UsageError(
                f"{path} was given to learn from, and the run would write its own weights there. Another place was "
                "expected, for the first epoch would replace it. Choose another --out."
            )
    start, kept = None, 0
    if init is not None:
        start = train_data.teacher(init, settings.config)
        kept = images_kept(start.training)
        settings = replace(settings, init=artifacts.hash_file(init))
    masters = [train_data.teacher(path) for path in teachers]
    votes = settings.targets == "votes"
    sources = open_sources(data, images, reading, settings.limit, settings.validation_images, votes=votes)
    masters = [one.answers_to(sources.labels, path) for one, path in zip(masters, teachers)]
    with alone(out, "training"):
        if restart:
            state.forget(out)
        targets = train_data.targets(sources.datasets, sources.parts, settings.targets)
        run = Run(settings, sources.described(settings.targets, targets), out, start, sources.labels, alignment)
        resumed = run.resume()
        if not resumed and not restart:
            state.refuse_others(weights, run.described)
        device = run.accelerator.device
        faces = sources.faces(run.spec, device)
        if masters and settings.teach == "once" and run.progress.epoch < settings.epochs:
            answers = train_data.answers(masters, sources.samples, device, run.accelerator.autocast)
            targets = torch.lerp(targets, answers, settings.distill)
        online = masters if settings.teach == "augmented" else []
        batches = Batches(settings, faces, targets.to(device), online, run.accelerator.autocast)
        validation = sources.validation(run.spec, device)
        begins = settings.init is not None and run.progress.epoch == 0
        known = run.judge(validation)[1] if begins else None  # what was known already
        if run.accelerator.is_main_process:
            before = state.epochs(out) if resumed else settings.epochs
            artifacts.write(out / "run.json", run.described)
            artifacts.write(out / "split.json", sources.record)
            with Log(out, settings.epochs, resumed_after=run.progress.epoch if resumed else 0) as log:
                for note in sources.notes:
                    log.say(note)
                log.say(
                    f"{settings.config}: {len(faces.labels)} images to train on, "
                    f"{sum(len(part.labels) for part in validation)} to validate, on {device}"
                    + (f"; resumed after epoch {run.progress.epoch}" if resumed else "")
                )
                if before != settings.epochs and settings.schedule != "constant":
                    log.say(
                        f"The run had --epochs {before}, by which its learning rate rose and fell, and has "
                        f"{settings.epochs} from here. Its weights will not be those of an unbroken run."
                    )
                counts = np.bincount(faces.labels.cpu().numpy(), minlength=len(run.spec.labels))
                log.say("of each class: " + ", ".join(f"{name} {n:,}" for name, n in zip(run.spec.labels, counts)))
                if settings.init is None and len(faces.labels) < _FEW and not resumed:
                    log.say(
                        "So few images seldom suffice to learn from random weights. --init FILE starts from trained "
                        "ones, --init bundled from those of C5, C6 and C8."
                    )
                if kept not in (0, settings.validation_images):
                    log.say(
                        f"{init} was trained on its D^v too, but for {kept:,} images. If these are the same data, pass "
                        f"--validation-images {kept}: else images are validated on that it was trained on."
                    )
                if known is not None:
                    log.say(f"before the first epoch {known:.1%} of the validation images are right")
                run.step_done = log.step  # type: ignore[method-assign]
                run.fit(batches, validation, log.row)
                run.balance(batches, validation)
        else:
            run.fit(batches, validation, lambda row: None)
    return {
        "artifact": str(weights),
        "epochs": run.progress.epoch,
        "best_epoch": run.progress.best_epoch,
        "validation_accuracy": round(run.progress.best_accuracy, 6),
        "seconds": round(run.progress.seconds, 1),
    }

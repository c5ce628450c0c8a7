"""Training: from data sets to a checkpoint.

Every epoch starts from (seed, epoch) alone, so a run that was killed and resumed ends in the same weights.
"""

from __future__ import annotations

import copy
import math
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.nn import functional

from lc2fer import artifact as artifacts
from lc2fer.artifact import Artifact
from lc2fer.errors import TrainingError, UsageError
from lc2fer.inputs import LABELS, InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import Network, build, grow, normalize
from lc2fer.reading import Reading
from lc2fer.settings import Settings
from lc2fer.training import faces as train_data
from lc2fer.training import state
from lc2fer.training.augment import augmentation, erased, mixed
from lc2fer.training.faces import Faces
from lc2fer.training.log import Log
from lc2fer.training.sources import open_sources
from lc2fer.training.state import Progress
from lc2fer.variants import variant

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # that AdamW keeps of each parameter
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
        self.accelerator = Accelerator(cpu=alone, mixed_precision=precision)  # cpu: processes meet over gloo
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
        groups = list(train_data.parameter_groups(network, settings))
        optimizer = torch.optim.AdamW(groups, settings.lr, weight_decay=settings.weight_decay)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = network
        self.judged = network if settings.ema == 0 else copy.deepcopy(network).to(self.accelerator.device)
        self.model, self.optimizer = self.accelerator.prepare(network, optimizer)
        if settings.compile:
            _check_compiler(self.accelerator.device)
            self.model = torch.compile(self.model, dynamic=False)  # Inductor fails on an open image size
        self.augment = augmentation(settings.augment)

    # -- state on disk -------------------------------------------------------------------------------------------

    def resume(self) -> bool:
        """Take up the run that lies in the folder, if one does; raises what `state.read` raises."""
        found = state.read(self.out, self.described, self._tensors())
        if found is None:
            return False
        tensors, self.progress = found
        for prefix, network in self._kept.items():
            network.load_state_dict({key: tensors[f"{prefix}.{key}"] for key in network.state_dict()})
        optimizer = self.optimizer.state_dict()
        optimizer["state"] = {
            index: {name: tensors[f"optimizer.{index}.{name}"] for name in _MOMENTS}
            for index in range(len(list(self.network.parameters())))
        }
        self.optimizer.load_state_dict(optimizer)
        return True

    @property
    def _kept(self) -> dict[str, Network]:
        return {"network": self.network} | ({} if self.judged is self.network else {"averaged": self.judged})

    def _tensors(self) -> dict[str, Tensor]:
        """What is to be kept; the optimizer's before its first step as empty ones, of the same shapes."""
        tensors = {
            f"{prefix}.{key}": value.contiguous()
            for prefix, network in self._kept.items()
            for key, value in network.state_dict().items()
        }
        known = self.optimizer.state_dict()["state"]
        learned = (value for group in self.optimizer.param_groups for value in group["params"])
        for index, value in enumerate(learned):
            empty = {"step": torch.zeros(()), "exp_avg": torch.empty_like(value), "exp_avg_sq": torch.empty_like(value)}
            found = known.get(index, empty)
            tensors |= {f"optimizer.{index}.{name}": found[name].detach().contiguous() for name in _MOMENTS}
        return tensors

    def keep_state(self) -> None:
        """Write what `resume` reads, in one step."""
        state.keep(self.out, self._tensors(), self.progress)

    def keep_best(self, accuracies: list[float]) -> Artifact:
        """Write the checkpoint of the weights that were judged."""
        training = self.described | {
            "epoch": self.progress.best_epoch,
            "validation_accuracy": self.progress.best_accuracy,
            "validation_accuracies": accuracies,
            "seconds": round(self.progress.seconds, 1),
        }
        return checkpoint.save(self.judged, self.out, self.settings.config, input_spec=self.spec, training=training)

    # -- the loop ------------------------------------------------------------------------------------------------

    def fit(
        self, faces: Faces, targets: Tensor, validation: Sequence[Faces], report: Callable[[dict[str, Any]], None]
    ) -> None:
        """Train on faces and targets [N,classes] until the epochs are done or patience ends, reporting each epoch."""
        steps = len(faces.labels) // self.settings.batch
        if steps == 0:
            raise UsageError(
                f"--batch {self.settings.batch} is larger than the {len(faces.labels)} training images. Expected at "
                "least one batch. Lower --batch."
            )
        while self.progress.epoch < self.settings.epochs and self.progress.stale < self.settings.patience:
            began = time.perf_counter()
            loss, accuracy = self._epoch(faces, targets, steps)
            scores = [self.evaluate(part) for part in validation]
            sizes = [len(part.labels) for part in validation]
            val_accuracy = float(np.average([score[0] for score in scores], weights=sizes))
            val_loss = float(np.average([score[1] for score in scores], weights=sizes))
            if not math.isfinite(val_loss):  # the last step may have ruined the weights after a finite loss
                raise self._not_finite(val_loss, f"epoch {self.progress.epoch + 1}, on the validation images")
            self.progress.epoch += 1
            self.progress.seconds += time.perf_counter() - began
            better = (val_accuracy, -val_loss) > (self.progress.best_accuracy, -self.progress.best_loss)
            if better:
                self.progress.best_epoch = self.progress.epoch
                self.progress.best_accuracy = val_accuracy
                self.progress.best_loss = val_loss
            if self.accelerator.is_main_process:
                if better:
                    self.keep_best([score[0] for score in scores])
                report(
                    {
                        "epoch": self.progress.epoch,
                        "loss": loss,
                        "accuracy": accuracy,
                        "validation_loss": val_loss,
                        "validation_accuracy": val_accuracy,
                        "learning_rate": self.optimizer.param_groups[0]["lr"],
                        "seconds": time.perf_counter() - began,
                    }
                    | {f"validation_accuracy_{place}": score[0] for place, score in enumerate(scores)}
                )
                self.keep_state()
            self.accelerator.wait_for_everyone()

    def _epoch(self, faces: Faces, targets: Tensor, steps: int) -> tuple[float, float]:
        settings, epoch = self.settings, self.progress.epoch
        device = self.accelerator.device
        ranks = self.accelerator.num_processes
        known = faces.labels.cpu().numpy()
        order = train_data.order(known, settings, epoch).to(device)
        weights = None
        if settings.balance == "loss":
            weights = torch.from_numpy(train_data.balance(known, targets.shape[1])).float().to(device)
        set_seed(((settings.seed * 1_000_003 + epoch) * ranks + self.accelerator.process_index) % 2**32)
        share = settings.batch // ranks
        side = settings.train_size(epoch)
        losses = torch.zeros(steps, device=device)
        correct = torch.zeros((), device=device)
        self.model.train()
        look_every = 1 if device.type == "cpu" else 20  # reading a loss back stalls a GPU
        for step in range(steps):
            for group in self.optimizer.param_groups:
                group["lr"] = settings.learning_rate(epoch * steps + step, settings.epochs * steps)
            begin = step * settings.batch + self.accelerator.process_index * share
            index = order[begin : begin + share]
            images, wanted = self._prepared(faces.pixels[index].float(), targets[index], side)
            self.optimizer.zero_grad()
            losses[step], answers = self._backward(images, wanted, weights)
            self.optimizer.step()
            if self.judged is not self.network:
                self._average(epoch * steps + step)
            correct += (answers == faces.labels[index]).sum()
            if (step + 1) % look_every == 0 or step + 1 == steps:
                self._stop_at_nan(losses[: step + 1], epoch)
                self.step_done(epoch, step + 1, steps)
        losses = self.accelerator.reduce(losses, "mean")
        if epoch == 0 and self.accelerator.is_main_process:
            self._keep_first(losses[:FIRST].tolist())
        correct = self.accelerator.reduce(correct, "sum")
        return losses.mean().item(), correct.item() / (steps * settings.batch)

    def _backward(self, images: Tensor, targets: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Add the batch's gradients, on a CPU part by part; returns its mean loss, and its answers int64 [N]."""
        smoothing = self.settings.label_smoothing
        total = torch.zeros((), device=images.device)
        answers = []
        size = train_data.at_once(images.device, len(images))
        for begin in range(0, len(images), size):
            part, wanted = images[begin : begin + size], targets[begin : begin + size]
            last = begin + size == len(images)
            with nullcontext() if last else self.accelerator.no_sync(self.model):  # processes meet once a batch
                with self.accelerator.autocast():
                    logits = self.model(normalize(part).contiguous(memory_format=torch.channels_last))
                    loss = functional.cross_entropy(logits, wanted, weights, reduction="sum", label_smoothing=smoothing)
                    loss = loss / len(images)
                self.accelerator.backward(loss)
            total += loss.detach()
            answers.append(logits.detach().argmax(1))
        return total, torch.cat(answers)

    def _keep_first(self, losses: list[float]) -> None:
        """Write the first losses, and what they depend on beside the settings and the images."""
        environment = {
            "device": str(self.accelerator.device),
            "processes": self.accelerator.num_processes,
            "threads": torch.get_num_threads(),
            "machine": platform.machine(),
            "vector_instructions": torch.backends.cpu.get_cpu_capability(),
            "tools": dict(artifacts.tool_versions("torch", "numpy", "accelerate", "kornia")),
        }
        artifacts.write(self.out / "first_losses.json", {"environment": environment, "losses": losses})

    def _prepared(self, images: Tensor, targets: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """A batch as it is learned: float pixels [N,3,side,side], targets [N,classes]."""
        settings = self.settings
        images = self.augment(images)
        if settings.erase:
            images = erased(images, settings.erase)
        if side != settings.size:
            images = functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
        if settings.mixup or settings.cutmix:
            images, targets = mixed(images, targets, settings.mixup, settings.cutmix)
        return images, targets

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Move the averaged weights towards the present ones; faster at first, when there is little to average."""
        share = 1 - min(self.settings.ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.judged.parameters()), list(self.network.parameters()), share)

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

    @torch.inference_mode()
    def evaluate(self, faces: Faces) -> tuple[float, float]:
        """Top-1 accuracy and mean cross-entropy, over all processes."""
        self.judged.eval()
        device = self.accelerator.device
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        totals = torch.zeros(2, device=device)
        for chosen in torch.arange(rank, len(faces.labels), ranks, device=device).split(train_data.at_once(device)):
            images = normalize(faces.pixels[chosen]).contiguous(memory_format=torch.channels_last)
            with self.accelerator.autocast():
                logits = self.judged(images)
            labels = faces.labels[chosen]
            totals[0] += (logits.argmax(1) == labels).sum()
            totals[1] += nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
        correct, loss = (self.accelerator.reduce(totals, "sum") / len(faces.labels)).tolist()
        return correct, loss


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
    start = None
    if init is not None:
        start = train_data.teacher(init, settings.config)
        settings = replace(settings, init=artifacts.hash_file(init))
    masters = [train_data.teacher(path) for path in teachers]
    sources = open_sources(data, images, reading, settings.limit)
    masters = [one.answers_to(sources.labels, path) for one, path in zip(masters, teachers)]
    with state.alone(out):
        if restart:
            state.forget(out)
        run = Run(settings, sources.described, out, start, sources.labels, alignment)
        resumed = run.resume()
        device = run.accelerator.device
        faces = sources.faces(run.spec, device)
        targets = train_data.targets(sources.datasets, sources.parts, settings.targets)
        if masters and run.progress.epoch < settings.epochs:
            answers = train_data.answers(masters, sources.samples, device, run.accelerator.autocast)
            targets = torch.lerp(targets, answers, settings.distill)
        targets = targets.to(device)
        validation = sources.validation(run.spec, device)
        if run.accelerator.is_main_process:
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
                run.step_done = log.step  # type: ignore[method-assign]
                run.fit(faces, targets, validation, log.row)
        else:
            run.fit(faces, targets, validation, lambda row: None)
    return {
        "artifact": str(out / f"{settings.config}.safetensors"),
        "epochs": run.progress.epoch,
        "best_epoch": run.progress.best_epoch,
        "validation_accuracy": round(run.progress.best_accuracy, 6),
        "seconds": round(run.progress.seconds, 1),
    }

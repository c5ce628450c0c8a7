"""One network that learns: its weights, their running average, AdamW or Muon beside it, and a step of all."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional

from lc2fer.network.model import Network, normalize
from lc2fer.settings import Settings
from lc2fer.training import faces as train_data
from lc2fer.training.faces import Faces
from lc2fer.training.muon import Muon, is_pointwise

_ADAMW = ("step", "exp_avg", "exp_avg_sq")  # that it keeps of each parameter
_MUON = ("momentum",)


class Learner:
    """A network on its device, in channels_last, and its optimizers; `judged` are the weights that are scored and kept.

    On a GPU the learning rate and AdamW's counts lie in the device's memory, so that a step can be captured as a graph.
    """

    def __init__(self, settings: Settings, network: Network, accelerator: Accelerator) -> None:
        self.settings = settings
        self.accelerator = accelerator
        device = accelerator.device
        gpu = device.type == "cuda"
        torch.backends.cudnn.benchmark = gpu  # every step has the same shapes
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = network
        self.judged = network if settings.ema == 0 else copy.deepcopy(network)
        rate = torch.tensor(settings.lr, device=device) if gpu else settings.lr
        matrices = [one for one in network.parameters() if settings.optimizer == "muon" and is_pointwise(one)]
        adamw = torch.optim.AdamW(
            list(_groups(network, settings, matrices)),
            rate,
            weight_decay=settings.weight_decay,
            capturable=gpu,
            fused=True if gpu else None,
        )
        adamw._warned_capturable_if_run_uncaptured = True  # the first steps are
        self.optimizers = [accelerator.prepare(adamw)]
        if matrices:
            self.optimizers.append(accelerator.prepare(Muon(matrices, rate, settings.weight_decay)))
        # Alone it needs no wrapper, and several of one variant share what is compiled.
        self.model = accelerator.prepare(network) if accelerator.num_processes > 1 else network
        if settings.compile:
            self.model = torch.compile(self.model, dynamic=False)  # Inductor fails on an open image size

    # -- learning ------------------------------------------------------------------------------------------------

    @property
    def rate(self) -> float:
        """The learning rate."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    @rate.setter
    def rate(self, value: float) -> None:
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(value)
            else:
                group["lr"] = value

    def learn(self, images: Tensor, targets: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """One step on pixels 0..255 [N,3,H,W] and targets [N,classes], on a CPU part by part.

        Returns the mean loss, and the answers int64 [N]; `weights` are the classes' [classes].
        """
        for optimizer in self.optimizers:
            optimizer.zero_grad()
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
        for optimizer in self.optimizers:
            optimizer.step()
        return total, torch.cat(answers)

    @torch.no_grad()
    def average(self, step: int) -> None:
        """Move the averaged weights towards the present ones; faster at first, when there is little to average."""
        if self.judged is self.network:
            return
        share = 1 - min(self.settings.ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.judged.parameters()), list(self.network.parameters()), share)

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
            totals[1] += functional.cross_entropy(logits.float(), labels, reduction="sum")
        correct, loss = (self.accelerator.reduce(totals, "sum") / len(faces.labels)).tolist()
        return correct, loss

    # -- state ---------------------------------------------------------------------------------------------------

    @property
    def _kept(self) -> dict[str, Network]:
        return {"network": self.network} | ({} if self.judged is self.network else {"averaged": self.judged})

    def tensors(self) -> dict[str, Tensor]:
        """What is to be kept; the optimizers' before their first step as empty ones, of the same shapes."""
        tensors = {
            f"{prefix}.{key}": value.contiguous()
            for prefix, network in self._kept.items()
            for key, value in network.state_dict().items()
        }
        for optimizer, moments in self._moments():
            known = optimizer.state_dict()["state"]
            for index, (value, keys) in enumerate(moments):
                empty = {name: torch.zeros(()) if name == "step" else torch.empty_like(value) for name in keys}
                found = known.get(index, empty)
                tensors |= {key: found[name].detach().contiguous() for name, key in keys.items()}
        return tensors

    def take_up(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        for prefix, network in self._kept.items():
            network.load_state_dict({key: tensors[f"{prefix}.{key}"] for key in network.state_dict()})
        for optimizer, moments in self._moments():
            state = optimizer.state_dict()
            state["state"] = {
                index: {name: _laid_out(tensors[key], value) for name, key in keys.items()}
                for index, (value, keys) in enumerate(moments)
            }
            optimizer.load_state_dict(state)

    def _moments(self) -> Iterator[tuple[torch.optim.Optimizer, list[tuple[Tensor, dict[str, str]]]]]:
        """Each optimizer, and of its parameters, in its state's order, how their moments are called in `tensors`."""
        place = 0
        for optimizer, names in zip(self.optimizers, (_ADAMW, _MUON)):
            learned = [value for group in optimizer.param_groups for value in group["params"]]
            numbered = enumerate(learned, place)
            yield (
                optimizer,
                [(value, {name: f"optimizer.{number}.{name}" for name in names}) for number, value in numbered],
            )
            place += len(learned)


def _groups(network: Network, settings: Settings, others: list[nn.Parameter]) -> Iterator[dict[str, object]]:
    """Of AdamW, without the `others`: all alike, or no decay of what is no matrix or kernel (biases, norms, GRN)."""
    elsewhere = set(map(id, others))
    left = [parameter for parameter in network.parameters() if id(parameter) not in elsewhere]
    if settings.decay == "all":
        yield {"params": left}
        return
    for decay, wanted in ((settings.weight_decay, True), (0.0, False)):
        yield {"params": [one for one in left if (one.ndim > 1) == wanted], "weight_decay": decay}


def _laid_out(tensor: Tensor, value: Tensor) -> Tensor:
    """In the order of memory of the parameter: AdamW's fused form wants both alike."""
    return torch.empty_like(value).copy_(tensor) if tensor.shape == value.shape else tensor

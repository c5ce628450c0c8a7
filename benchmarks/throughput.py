"""lc2fer-bench --mode throughput: images a second of models that are asked by many, beside the stock ways, in one run.

A launch opens every model at once, each in a process of its own, and lets them take turns, every other round backwards:
what the machine does meanwhile, it does to all. The first launch also searches, for each model, how many callers, with
how many images a call, and how many threads of its engine give most; all launches measure that.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from tabulate import tabulate  # type: ignore[import-untyped]

from lc2fer.artifact import Artifact, load, staged, write
from lc2fer.data import open_dataset
from lc2fer.errors import Lc2ferError
from lc2fer.reading import Reading
from lc2fer.text import stderr_console

from .judging import spread
from .judging.spread import Spread
from .measuring import machine
from .measuring.conditions import pinned
from .measuring.images import Images, preparer, test_set
from .measuring.models import labels_of, make
from .measuring.worker import Worker

VERSION = 1
REPORT = "throughput.json"
CALLERS = (1, 2, 4)
IMAGES = (1, 8, 32)  # a call
SEARCH_S = 0.25  # a point
ROUNDS, TURN_S = 12, 0.25  # that count; --seconds makes the turns longer
# What a user would measure instead, with the options that make the session do it that way.
STOCK: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "stock-onnx-fp32": {"engine_batch": 32},
        "stock-openvino-fp16": {"throughput_hint": True},
        "stock-openvino-int8": {"throughput_hint": True},
    }
)
_PATIENCE = (300.0, "a quarter of a second")  # seconds for a turn, or a model's opening; what a turn takes


@dataclass(frozen=True)
class Point:
    """A way to ask."""

    callers: int
    images: int  # a call
    threads: int  # of the engine

    def __str__(self) -> str:
        return f"{self.callers} x {self.images} x {self.threads}"


@dataclass(frozen=True)
class Turn:
    """What a model answered in one turn."""

    images: int
    ns: int
    calls_ns: tuple[int, ...]

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.ns * 1e9


@dataclass
class Model:
    """A contender: what it is, where it was found best, and its turns by launch and round."""

    variant: str
    artifact: Artifact
    options: Mapping[str, Any]
    searched: dict[Point, float] = field(default_factory=dict)  # images a second
    launches: list[list[Turn]] = field(default_factory=list)

    @property
    def target(self) -> str:
        return self.artifact.target

    @property
    def stock(self) -> bool:
        return self.target in STOCK

    @property
    def best(self) -> Point:
        return max(self.searched, key=lambda point: self.searched[point])

    @property
    def images_per_s(self) -> Spread:
        """Of each launch the median over its rounds."""
        return spread.of([float(np.median([turn.rate for turn in rounds])) for rounds in self.launches])

    def over(self, other: Model) -> Spread:
        """Images a second over another's: of a launch the median of its rounds' ratios."""
        pairs = zip(self.launches, other.launches)
        return spread.of([float(np.median([a.rate / b.rate for a, b in zip(ours, theirs)])) for ours, theirs in pairs])

    def call_ms(self, percent: float) -> float:
        """How long a call took under that load."""
        calls = [call for rounds in self.launches for turn in rounds for call in turn.calls_ns]
        return float(np.percentile(calls, percent)) / 1e6

    def to_json(self) -> dict[str, Any]:
        """The report's form: what was found, and every turn."""
        found = self.images_per_s
        return {
            "model": self.variant,
            "target": self.target,
            "sha256": self.artifact.sha256,
            "options": dict(self.options),
            "best": asdict(self.best),
            "searched": [{**asdict(point), "images_per_s": rate} for point, rate in self.searched.items()],
            "images_per_s": {"value": found.value, "low": found.low, "high": found.high},
            "call_ms": {"p50": self.call_ms(50), "p99": self.call_ms(99)},
            "launches": [[[turn.images, turn.ns] for turn in rounds] for rounds in self.launches],
        }


def main(chosen: Namespace, arguments: Sequence[str]) -> dict[str, Any]:
    """Measure; the table goes to standard output and with every turn into the report, the summary is returned."""
    console = stderr_console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    found = machine.detect()
    dataset = open_dataset(chosen.data, chosen.images, Reading.of(vars(chosen)))
    samples, _ = test_set(dataset, chosen.data, chosen.limit, labels_of(chosen))
    models: list[Model] = []
    failures: list[dict[str, str]] = []
    path = chosen.out / REPORT
    report: dict[str, Any] = {}
    with staged(chosen.out) as work:
        images = preparer(samples, 0, work)
        for variant, artifacts in _contenders(chosen, failures):
            own = [Model(variant, artifact, STOCK.get(artifact.target, {})) for artifact in artifacts]
            for number in range(chosen.launches):
                if own:
                    _launch(own, chosen, images(own[0].artifact.input_spec), work, failures, search=number == 0)
                    say(f"{variant}: launch {number + 1} of {chosen.launches}")
            models += own
            report = {
                "version": VERSION,
                "machine": found.to_json(),
                "command": list(arguments),
                "rows": [model.to_json() for model in models],
                "failures": failures,
            }
            write(path, report)  # after each variant: who stops keeps what there is
    for failure in failures:
        say(f"{failure['model']} {failure['target']}: {failure['error']}")
    if not models:
        raise Lc2ferError(
            f"None of {len(failures)} models could be measured. One was expected at least. Mend what is said above."
        )
    print(table(models))
    keys = ("model", "target", "best", "images_per_s", "call_ms")
    document = {"report": str(path), "rows": [{key: row[key] for key in keys} for row in report["rows"]]}
    return document | {"exit_code": 1} if chosen.strict and failures else document


def table(models: Sequence[Model]) -> str:
    """A line for each model; ours also as a multiple of the best stock one of the same variant."""
    rows = []
    for model in models:
        rivals = [each for each in models if each.stock and each.variant == model.variant]
        rival = max(rivals, key=lambda each: each.images_per_s.value, default=None)
        times = "" if rival is None or model.stock else _shown(model.over(rival), 2)
        call = f"{model.call_ms(50):.2f} / {model.call_ms(99):.2f}"
        rows.append([model.variant, model.target, str(model.best), _shown(model.images_per_s, 0), call, times])
    header = ["model", "target", "callers x images x threads", "images/s", "a call, p50 / p99 ms", "of the best stock"]
    return str(tabulate(rows, header, disable_numparse=True))


def _shown(found: Spread, digits: int) -> str:
    text = f"{found.value:,.{digits}f}"
    return text if found.low is None else f"{text} ({found.low:,.{digits}f} to {found.high:,.{digits}f})"


def _contenders(chosen: Namespace, failures: list[dict[str, str]]) -> Iterator[tuple[str, list[Artifact]]]:
    """The models of each variant, the stock ones last; what cannot be made is told."""
    if chosen.models:
        given = [load(path) for path in chosen.models]
        for variant in dict.fromkeys(artifact.variant for artifact in given):
            yield variant, [artifact for artifact in given if artifact.variant == variant]
        return
    for config in chosen.configs:
        wanted = [*(target for target in chosen.targets if target != "torch"), *STOCK]
        made = make(
            config,
            wanted,
            weights=chosen.weights,
            data=chosen.data,
            images=chosen.images,
            reading=Reading.of(vars(chosen)),
            out=chosen.out,
        )
        ready = []
        for target, artifact in made.items():
            if isinstance(artifact, Artifact):
                ready.append(artifact)
            else:
                failures.append(_failure(config, target, artifact))
        if not ready:
            raise next(error for error in made.values() if isinstance(error, Lc2ferError))
        yield config, ready


def _launch(
    models: list[Model],
    chosen: Namespace,
    images: Images,
    work: Path,
    failures: list[dict[str, str]],
    *,
    search: bool,
) -> None:
    """Turns of all models; where `search`, each is tried before, also with one thread, which may be best for many.

    A model that fails goes from `models` to `failures`; the others are measured on.
    """

    @contextmanager
    def failing(model: Model) -> Iterator[None]:
        try:
            yield
        except Lc2ferError as error:
            models[:] = [other for other in models if other is not model]
            failures.append(_failure(model.variant, model.target, error))

    def started(model: Model, threads: int) -> Worker:
        job = {
            "artifact": str(model.artifact.path.absolute()),
            "threads": threads,
            "options": dict(model.options),
            "cores": pinned(chosen.threads),
            "size": images.size,
            "inputs": images.timed,
            "pixels": str(images.path.absolute()),
        }
        return Worker(
            "lc2fer.benchmarks.measuring.many",
            job,
            purpose=f"measures {model.variant} {model.target}",
            environment={"OMP_NUM_THREADS": str(threads)},
            log=work / f"{model.artifact.name}-{threads}.log",
        )

    for model in list(models) if search else ():
        with failing(model):
            for threads in sorted({1, chosen.threads}):
                with started(model, threads) as worker:
                    worker.answer(*_PATIENCE)
                    for callers, count in product(CALLERS, IMAGES):
                        point = Point(callers, count, threads)
                        model.searched[point] = _turn(worker, point, SEARCH_S).rate
    with ExitStack() as stack:
        running = []
        for model in list(models):
            with failing(model):
                worker = stack.enter_context(started(model, model.best.threads))
                worker.answer(*_PATIENCE)
                model.launches.append([])
                running.append((model, worker))
        seconds = max(TURN_S, chosen.seconds / ROUNDS)
        for number in range(ROUNDS):
            for model, worker in running[:: 1 if number % 2 == 0 else -1]:
                if any(model is other for other in models):
                    with failing(model):
                        model.launches[-1].append(_turn(worker, model.best, seconds))


def _failure(model: str, target: str, error: Exception) -> dict[str, str]:
    return {"model": model, "target": target, "error": f"{type(error).__name__}: {error}"}


def _turn(worker: Worker, point: Point, seconds: float) -> Turn:
    worker.send({"event": "turn", "callers": point.callers, "images": point.images, "seconds": seconds})
    message = worker.answer(*_PATIENCE)
    return Turn(message["images"], message["ns"], tuple(message["calls_ns"]))

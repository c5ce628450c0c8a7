"""A run: each configuration's models made, then launched in turn, round after round, into a report.

A round launches every row of a configuration once, alternately forwards and backwards, so that whatever the machine
does meanwhile it does to all rows, and rows can be compared launch by launch. Where ratios are what is wanted, against
stock routes, the models then also run side by side in short turns.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from lc2fer import recorded
from lc2fer.artifact import Artifact
from lc2fer.data import SYNTHETIC, open_dataset, records
from lc2fer.errors import ArtifactError, Lc2ferError, UsageError
from lc2fer.inputs import InputSpec
from lc2fer.reading import Reading
from lc2fer.targets import RATE, STOCK
from lc2fer.text import stderr_console

from .judging.validity import judge
from .measuring import machine
from .measuring.conditions import pinned
from .measuring.images import Images, preparer, test_set
from .measuring.journal import Journal
from .measuring.launch import Scored, Settings, evaluate, measure, measure_and_score
from .measuring.models import given, labels_of, make, weights_of
from .measuring.turns import take_turns
from .report.document import PARENT, VERSION, Failure, Launch, Parent, Rate, Report, Row, Turns
from .report.machine import Machine
from .views.thumbnails import thumbnails


def run(chosen: argparse.Namespace, arguments: Sequence[str], work: Path) -> tuple[Report, Journal]:
    """The report of the command's arguments, and the journal to remove once it is written; `work` holds its files.

    Raises the first row's error where there is no row at all, and DataError for images that cannot be used.
    """
    found = machine.detect()
    dataset = open_dataset(chosen.data, chosen.images, Reading.of(vars(chosen)))
    samples, data = test_set(dataset, chosen.data, chosen.limit, labels_of(chosen))
    settings = Settings(chosen.threads, chosen.launches, chosen.runs, chosen.seconds, cores=pinned(chosen.threads))
    identity = {
        "version": VERSION,
        "machine": found.identity,
        "data": data.fingerprint,
        "settings": asdict(settings),
        "robustness": chosen.robustness,
        "kernels": os.environ.get("LC2FER_CPU"),  # which of them run
    }
    journal = Journal(chosen.out, identity)
    rows = _Run(chosen, found, settings, preparer(samples, chosen.robustness, work, data.label_names), journal, work)
    for note in dataset.notes:
        rows.say(note)
    for config, artifacts in given(chosen.models).items():
        rows.given(config, artifacts)
    for config in chosen.configs if not chosen.models else ():
        rows.configuration(config, chosen.targets)
    if not rows.rows and rows.first_error is not None:
        raise rows.first_error
    if chosen.thumbnails or chosen.data == SYNTHETIC:
        data = replace(data, thumbnails=thumbnails(samples, rows.rows, rows.parents))
    report = Report(
        machine=found,
        data=data,
        rows=tuple(rows.rows),
        parents=tuple(rows.parents),
        failures=tuple(rows.failures),
        rate=rows.rate,
        turns=tuple(rows.turns),
        command=tuple(arguments),
    )
    return report, journal


class _Run:
    """The rows so far."""

    def __init__(
        self,
        chosen: argparse.Namespace,
        found: Machine,
        settings: Settings,
        images: Callable[[InputSpec], Images],
        journal: Journal,
        work: Path,
    ) -> None:

        self.rows: list[Row] = []
        self.parents: list[Parent] = []
        self.failures: list[Failure] = []
        self.rate: Rate | None = None
        self.turns: list[Turns] = []
        self.first_error: Lc2ferError | None = None
        self._chosen = chosen
        self._machine = found
        self._settings = settings
        self._images = images
        self._journal = journal
        self._work = work
        self._said: list[str] = []
        self._console = stderr_console()
        if len(journal):
            self.say(f"{len(journal)} launches of a run that was stopped are taken over from {chosen.out}.")

    def configuration(self, config: str, targets: list[str]) -> None:
        """Make and measure one configuration's targets; the others are compared with the parent's answers."""
        chosen = self._chosen
        wanted = [PARENT, *(target for target in targets if target != PARENT)]
        if chosen.peers:
            wanted += chosen.peers
            if any(target in STOCK for target in chosen.peers) and self.rate is None:
                wanted.append(RATE)
        made = make(
            config,
            wanted,
            weights=chosen.weights,
            data=chosen.data,
            images=chosen.images,
            reading=Reading.of(vars(chosen)),
            out=chosen.out,
            said=self._said,
        )
        checkpoint = made[PARENT]
        if isinstance(checkpoint, Artifact):
            records.agree(chosen.data, checkpoint.input_spec.alignment)
        weights = weights_of(checkpoint)
        artifacts = {}
        for target in wanted:
            artifact = made[target]
            if isinstance(artifact, Artifact):
                artifacts[target] = artifact
            else:
                self._failed(config, target, artifact)
        if PARENT in artifacts and PARENT not in targets:
            self._parent_alone(config, artifacts.pop(PARENT))
        self._measure(config, artifacts, weights)

    def given(self, config: str, artifacts: dict[str, Artifact]) -> None:
        """Measure models that are there; a checkpoint among them is the others' parent."""
        for artifact in artifacts.values():
            records.agree(self._chosen.data, artifact.input_spec.alignment)
        parent = artifacts.get(PARENT)
        self._measure(config, artifacts, weights_of(parent))

    def _measure(self, config: str, artifacts: dict[str, Artifact], weights: str) -> None:
        launches = self._rounds(config, artifacts)
        for target, (found, scored) in launches.items():
            if target == RATE:
                self.rate = Rate(_macs(artifacts[target]), tuple(found))
            elif scored is not None:
                self._row(artifacts[target], weights, found, scored)
        if self._chosen.peers:
            self._take_turns(config, [artifacts[row.target] for row in self.rows if row.variant == config])
        self._tell(config)

    def _rounds(self, config: str, artifacts: dict[str, Artifact]) -> dict[str, tuple[list[Launch], Scored | None]]:
        """Launches and answers by target; a target that fails leaves the rounds and has no entry."""
        found: dict[str, tuple[list[Launch], Scored | None]] = {target: ([], None) for target in artifacts}
        for number in range(self._settings.launches):
            for target in list(found) if number % 2 == 0 else list(found)[::-1]:
                try:
                    launch, scored = self._launch(artifacts[target], number)
                except Lc2ferError as error:
                    self._failed(config, target, error)
                    del found[target]
                    continue
                launches, first = found[target]
                launches.append(launch)
                found[target] = launches, first or scored
                p50_ms = float(np.median(launch.samples_ns)) / 1e6
                self.say(f"{config} {target}: launch {number + 1} of {self._settings.launches}, p50 {p50_ms:.3f} ms")
        return found

    def _launch(self, artifact: Artifact, number: int) -> tuple[Launch, Scored | None]:
        known = self._journal.launch(artifact.target, artifact.sha256, number)
        if known is not None:
            return known
        images = self._images(artifact.input_spec)
        if artifact.target == RATE:
            _macs(artifact)
        if number == 0 and artifact.target != RATE:
            launch, scored = measure_and_score(artifact, images, self._settings, self._work)
        else:
            launch, scored = measure(artifact, images, self._settings, self._work), None
        self._journal.add(artifact.target, artifact.sha256, number, launch, scored)
        return launch, scored

    def _take_turns(self, config: str, artifacts: Sequence[Artifact]) -> None:
        """Time a configuration's models once more, side by side: their ratios are of this, and nothing else is."""
        hashes = [artifact.sha256 for artifact in artifacts]
        launches = []
        for number in range(self._settings.launches if len(artifacts) > 1 else 0):
            rounds = self._journal.turns(hashes, number)
            if rounds is None:
                try:
                    images = self._images(artifacts[0].input_spec)
                    rounds = take_turns([(artifact, self._settings) for artifact in artifacts], images, self._work)
                except Lc2ferError as error:
                    self._failed(config, "turns", error)
                    return
                self._journal.add_turns(hashes, number, rounds)
            launches.append(rounds)
            self.say(f"{config}: launch {number + 1} of {self._settings.launches} in turns")
        if launches:
            self.turns.append(Turns(config, tuple(artifact.target for artifact in artifacts), tuple(launches)))

    def _row(self, artifact: Artifact, weights: str, found: Sequence[Launch], scored: Scored) -> None:
        try:
            row = Row.of(artifact, weights, found, scored.outputs, scored.perturbed)
        except Lc2ferError as error:
            self._failed(artifact.variant, artifact.target, error)
            return
        self.rows.append(row)
        if row.target in recorded.TARGETS:
            self._record(artifact, found)
        if row.target == PARENT:
            self.parents.append(Parent(row.variant, row.sha256, scored.outputs, scored.perturbed))

    def _record(self, artifact: Artifact, found: Sequence[Launch]) -> None:
        """Keep a run of a TensorRT engine as a file of its own, which the table of docs/tensorrt.md is made from."""
        after = found[-1].after
        clocks = {"cpu": after.clock_mhz, "gpu": after.gpu_mhz}
        try:
            run = recorded.of(
                artifact,
                [sample for launch in found for sample in launch.samples_ns],
                [sample for launch in found for sample in launch.warm_up_ns],
                executed=found[0].executed or {},
                power_mode=self._machine.power_mode,
                clocks_mhz={name: mhz for name, mhz in clocks.items() if mhz is not None},
            )
        except UsageError as error:  # too few samples
            self.say(f"{artifact.name} was not recorded. {error}")
            return
        self.say(f"{recorded.write(self._chosen.out / 'recorded', run)} holds the run of {artifact.name}.")

    def _parent_alone(self, config: str, artifact: Artifact) -> None:
        try:
            scored = evaluate(artifact, self._images(artifact.input_spec), self._settings, self._work)
        except Lc2ferError as error:
            self._failed(config, PARENT, error)
            return
        self.parents.append(Parent(config, artifact.sha256, scored.outputs, scored.perturbed))
        self.say(f"{config} {PARENT}: scored, to compare the others with it")

    def _failed(self, config: str, target: str, error: Lc2ferError) -> None:
        self.first_error = self.first_error or error
        self.failures.append(Failure(config, target, type(error).__name__, str(error)))
        self.say(f"{config} {target}: {type(error).__name__}")

    def _tell(self, config: str) -> None:
        states = [
            f"{row.target} {judge(row.launches, self._machine).state}" for row in self.rows if row.variant == config
        ]
        self.say(f"{config}: {', '.join(states) or 'no row'}")

    def say(self, text: str) -> None:
        self._said.append(text)
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _macs(artifact: Artifact) -> int:
    macs = (artifact.device or {}).get("macs")
    if not isinstance(macs, int) or macs < 1:
        raise ArtifactError(
            f"{artifact.manifest_path} says {macs!r} for device.macs. Expected the multiply-accumulates of a run. "
            "Export it again."
        )
    return macs

"""What a run of the harness found: raw samples and per-image answers, as versioned JSON.

What people read (percentiles, shares, tables) is computed from it (`table`) and never stored in it.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lc2fer import artifact as artifacts
from lc2fer.artifact import Artifact
from lc2fer.errors import MALFORMED, ArtifactError

from . import answers, schema
from .answers import Outputs
from .graph import operators
from .machine import Conditions, Machine, Memory

# 1: one launch a row, no conditions around it. 2: several launches, three clock scopes, conditions, operators.
# 3: turns; what a board takes when idle, its power mode, GPU clock and temperature. 4: logits of disturbed images.
# 5: the kernels' variant.
VERSION = 5
_OLDEST = 2  # that is read
PARENT = "torch"  # the target that the others of its configuration are compared with

FEWEST_INPUTS = 64  # of a launch: one image over and over again hides what depends on the data and the cache
_SIZE_LIMIT = 1 << 30  # bytes

Samples = tuple[int, ...]  # round trips, ns


@dataclass(frozen=True)
class Launch:
    """One fresh process's timing of one model at batch 1, as it was taken. Every sample is kept, in order."""

    samples_ns: tuple[int, ...]  # round trip: Session.run, from an array to an array
    compute_ns: tuple[int, ...]  # the engine alone, its input in place; empty where the session cannot tell it apart
    frame_ns: tuple[int, ...]  # decode, prepare, run, decide: from a picture file's bytes to a class
    warm_up_ns: tuple[int, ...]
    settled: bool  # whether the warm-up became steady
    throughput: tuple[int, int]  # (runs, ns) back to back with no clock between them
    import_s: float  # the engine's own code
    load_s: float  # reading the files and checking their hashes
    compile_s: float  # opening the session
    first_s: float  # the first run
    memory: Memory
    threads: int
    cores: tuple[int, ...]  # that it was pinned to; empty: it was not
    inputs: int  # images that it rotated over
    executed: Mapping[str, int] | None  # layers by the precision that they ran in; None: the engine does not tell
    before: Conditions
    after: Conditions
    others_cores: float | None  # mean number of cores that other work kept busy meanwhile; None: not readable
    energy_mj: float | None  # of the whole package or board, an inference, while `throughput` was measured
    idle_watts: float | None = None  # what the same took just before the process was started
    kernels: str | None = None  # the variant of lc2fer/kernels that ran: "avx2"; None: the model has none of them

    def to_json(self) -> dict[str, Any]:
        """The report's form."""
        return {
            **vars(self),
            "memory": self.memory.to_json(),
            "before": self.before.to_json(),
            "after": self.after.to_json(),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Launch:
        """The inverse of `to_json`."""
        lists = ("samples_ns", "compute_ns", "frame_ns", "warm_up_ns", "throughput", "cores")
        return cls(
            **{
                **fields,
                **{name: tuple(fields[name]) for name in lists},
                "memory": Memory.from_json(fields["memory"]),
                "before": Conditions.from_json(fields["before"]),
                "after": Conditions.from_json(fields["after"]),
            }
        )


@dataclass(frozen=True, eq=False)
class Row:
    """One model on the report's machine."""

    name: str
    target: str
    variant: str
    sha256: str
    parent_sha256: str | None
    size_bytes: int
    input_size: int  # pixels a side
    precision: str  # as asked for when it was made
    weights: str  # trained | random | unknown
    graph: Mapping[str, int] | None  # operators of the file by type; None: it is no graph
    launches: tuple[Launch, ...]
    outputs: Outputs
    perturbed: Mapping[str, Outputs]  # factor -> answers to the first images of D^e under it

    @classmethod
    def of(
        cls,
        artifact: Artifact,
        weights: str,
        launches: Sequence[Launch],
        outputs: Outputs,
        perturbed: Mapping[str, Outputs],
    ) -> Row:
        """The row of an artifact; `weights` are those that the configuration's checkpoint says it has."""
        return cls(
            name=artifact.name,
            target=artifact.target,
            variant=artifact.variant,
            sha256=artifact.sha256,
            parent_sha256=artifact.parent_sha256,
            size_bytes=artifact.size_bytes,
            input_size=artifact.input_spec.size,
            precision="fp32" if artifact.recipe is None else artifact.recipe.precision,
            weights=weights,
            graph=operators(artifact.path),
            launches=tuple(launches),
            outputs=outputs,
            perturbed=perturbed,
        )

    def to_json(self) -> dict[str, Any]:
        """The report's form."""
        return {
            **vars(self),
            "launches": [launch.to_json() for launch in self.launches],
            "outputs": self.outputs.to_json(),
            "perturbed": answers.to_json(self.perturbed),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Row:
        """The inverse of `to_json`."""
        return cls(
            **{
                **fields,
                "launches": tuple(Launch.from_json(launch) for launch in fields["launches"]),
                "outputs": Outputs.from_json(fields["outputs"]),
                "perturbed": answers.from_json(fields["perturbed"]),
            }
        )


@dataclass(frozen=True)
class Rate:
    """The machine's own 8-bit matrix product, timed as a row is: what a row's speed is a fraction of."""

    macs: int  # multiply-accumulates a run
    launches: tuple[Launch, ...]

    def to_json(self) -> dict[str, Any]:
        """The report's form."""
        return {"macs": self.macs, "launches": [launch.to_json() for launch in self.launches]}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Rate:
        """The inverse of `to_json`."""
        return cls(fields["macs"], tuple(Launch.from_json(launch) for launch in fields["launches"]))


@dataclass(frozen=True)
class Turns:
    """What a configuration's models took when they were open side by side and ran in turn."""

    variant: str
    targets: tuple[str, ...]
    launches: tuple[tuple[tuple[Samples, ...], ...], ...]  # launch -> round -> samples by target

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Turns:
        """Of a report's object, whose other direction is `dataclasses.asdict`; raises ValueError where any is empty."""
        launches = tuple(
            tuple(tuple(tuple(samples) for samples in turn) for turn in rounds) for rounds in fields["launches"]
        )
        found = cls(fields["variant"], tuple(fields["targets"]), launches)
        turns = [turn for rounds in launches for turn in rounds]
        if not all(launches) or not all(len(turn) == len(found.targets) and all(turn) for turn in turns):
            raise ValueError(f"the turns of {found.variant} lack samples")
        return found


@dataclass(frozen=True, eq=False)
class Parent:
    """The network that a configuration's other rows are compared with."""

    variant: str
    sha256: str
    outputs: Outputs
    perturbed: Mapping[str, Outputs]  # as a row's

    def to_json(self) -> dict[str, Any]:
        """The report's form."""
        return {**vars(self), "outputs": self.outputs.to_json(), "perturbed": answers.to_json(self.perturbed)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Parent:
        """The inverse of `to_json`."""
        perturbed = answers.from_json(fields["perturbed"])
        return cls(**{**fields, "outputs": Outputs.from_json(fields["outputs"]), "perturbed": perturbed})


@dataclass(frozen=True)
class Failure:
    """A row that could not be made, and why."""

    variant: str
    target: str
    error: str  # the error's type
    text: str


@dataclass(frozen=True)
class Data:
    """D^e as it was scored: images in the order of their files' hashes, which no layout or listing changes."""

    name: str
    fingerprint: str  # of files and labels, in order: equal where predictions can be compared image by image
    available: int  # images in the whole of D^e
    images: tuple[str, ...]
    labels: tuple[int, ...]  # class ids
    label_names: tuple[str, ...]
    thumbnails: Mapping[str, str] = field(default_factory=dict)  # place in `images` -> JPEG in base64


@dataclass(frozen=True, eq=False)
class Report:
    """Rows of models on one machine and one D^e."""

    machine: Machine
    data: Data
    rows: tuple[Row, ...]
    parents: tuple[Parent, ...] = ()
    failures: tuple[Failure, ...] = ()
    rate: Rate | None = None
    turns: tuple[Turns, ...] = ()  # of each configuration whose models were timed in turn
    command: tuple[str, ...] = ()  # the arguments that made it

    def to_json(self) -> dict[str, Any]:
        """The file's content."""
        return {
            "version": VERSION,
            "machine": {**self.machine.to_json(), "identity": self.machine.identity},
            "data": asdict(self.data),
            "rows": [row.to_json() for row in self.rows],
            "parents": [parent.to_json() for parent in self.parents],
            "failures": [asdict(failure) for failure in self.failures],
            "rate": None if self.rate is None else self.rate.to_json(),
            "turns": [asdict(turns) for turns in self.turns],
            "command": list(self.command),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Report:
        """The inverse of `to_json`; raises ArtifactError for other versions and damaged documents."""
        try:
            version = document["version"]
            _check_version(version, document)
            machine = {name: value for name, value in document["machine"].items() if name != "identity"}
            data = document["data"]
            report = cls(
                machine=Machine.from_json(machine),
                data=Data(**{**data, **{name: tuple(data[name]) for name in ("images", "labels", "label_names")}}),
                rows=tuple(Row.from_json(row) for row in document["rows"]),
                parents=tuple(Parent.from_json(parent) for parent in document["parents"]),
                failures=tuple(Failure(**failure) for failure in document["failures"]),
                rate=None if document["rate"] is None else Rate.from_json(document["rate"]),
                turns=tuple(Turns.from_json(turns) for turns in document["turns"]) if version >= 3 else (),
                command=tuple(document["command"]),
            )
            images = len(report.data.labels)
            answered: list[Row | Parent] = [*report.rows, *report.parents]
            counts = {len(one.outputs.predictions) for one in answered}
            few = {len(found.predictions) for one in answered for found in one.perturbed.values()}
            if not counts <= {images} or len(report.data.images) != images or max(few, default=0) > images:
                raise ValueError(f"answers to {sorted(counts | few)} images for {images} labels")
            schema.check(report, "report")
            return report
        except (*MALFORMED, binascii.Error) as error:
            raise ArtifactError(
                f"The report is damaged ({type(error).__name__}: {error}). Expected what lc2fer-bench writes. "
                "Run lc2fer-bench again."
            ) from None


def _check_version(version: Any, document: Mapping[str, Any]) -> None:
    known = version in range(_OLDEST, VERSION + 1)
    if known and (version >= 4 or not any(one["perturbed"] for one in (*document["rows"], *document["parents"]))):
        return
    more = " and disturbed images, which had no logits then" if known else ""
    raise ArtifactError(
        f"The report has version {version!r}{more}. This version of lc2fer reads {_OLDEST} to {VERSION}. "
        "Read it with the version that wrote it, or run lc2fer-bench again."
    )


def write(path: Path, report: Report) -> None:
    """Write a report in one step: a reader finds the old one or the new one."""
    artifacts.write(path, report.to_json())


def read(path: Path) -> Report:
    """The report in that file; raises ArtifactError where it is missing, too large, damaged or of another version."""
    try:
        if path.stat().st_size > _SIZE_LIMIT:
            raise ArtifactError(
                f"{path} has {path.stat().st_size:,} bytes. A report has at most {_SIZE_LIMIT:,}. Name another file."
            )
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing. Expected a report. Make it with lc2fer-bench.") from None
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{path} is not JSON ({error}). Expected what lc2fer-bench writes. Run lc2fer-bench again."
        ) from None
    if not isinstance(document, dict) or "version" not in document:
        raise ArtifactError(
            f"{path} is no report. Expected report.json, which lc2fer-bench writes without --accuracy-only. Name that "
            "one, or run lc2fer-bench again."
        )
    try:
        return Report.from_json(document)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from None

"""What a run of the harness found: raw samples and per-image answers, as versioned JSON.

What people read (percentiles, shares, tables) is computed from it (`table`) and never stored in it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer import artifact as artifacts
from lc2fer import metrics
from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError

from .machine import Machine
from .memory import Memory

VERSION = 1
PARENT = "torch"  # the target that the others of its configuration are compared with

_SIZE_LIMIT = 1 << 30  # bytes


@dataclass(frozen=True, eq=False)
class Outputs:
    """A model's answers to all images of D^e, in the report's order."""

    predictions: tuple[int, ...]  # class ids
    logits: NDArray[np.float32]  # [N, 7]

    @classmethod
    def of(cls, logits: NDArray[np.float32]) -> Outputs:
        """Raises ValueError for anything but finite float32 [N, classes]."""
        if logits.dtype != np.float32 or logits.ndim != 2 or not np.isfinite(logits).all():
            raise ValueError(f"logits of {logits.dtype} {list(logits.shape)}")
        return cls(tuple(metrics.predictions(logits).tolist()), logits)

    def to_json(self) -> dict[str, Any]:
        """Logits bit by bit: base64 of their little-endian bytes, row by row."""
        data = base64.b64encode(self.logits.astype("<f4").tobytes()).decode("ascii")
        return {
            "predictions": list(self.predictions),
            "logits": {"dtype": "float32", "shape": list(self.logits.shape), "base64": data},
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Outputs:
        """Raises ValueError where predictions and logits do not belong together."""
        data = np.frombuffer(base64.b64decode(fields["logits"]["base64"], validate=True), "<f4")
        outputs = cls.of(data.reshape(fields["logits"]["shape"]).astype(np.float32))
        if outputs.predictions != tuple(fields["predictions"]):
            raise ValueError("predictions that are not the largest logits")
        return outputs


@dataclass(frozen=True)
class Measurement:
    """One process's timing of one model at batch 1, as it was taken."""

    samples_ns: tuple[int, ...]  # each run of the session, in order, none left out
    warm_up_ns: tuple[int, ...]
    import_s: float  # the engine's own code
    load_s: float  # opening the session: reading, compiling
    first_s: float  # the first run
    memory: Memory
    threads: int
    inputs: int  # images that it rotated over
    executed: Mapping[str, int] | None  # layers by the precision that they ran in; None: the engine does not tell
    load_average: float | None  # before it
    degraded: tuple[str, ...]  # why it is not to be taken at face value

    @property
    def state(self) -> str:
        return "DEGRADED" if self.degraded else "VALID"

    def to_json(self) -> dict[str, Any]:
        """The report's form."""
        return {
            **{name: value for name, value in vars(self).items() if name != "memory"},
            "memory_bytes": self.memory.to_json(),
            "state": self.state,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Measurement:
        """The inverse of `to_json`."""
        kept = {name: value for name, value in fields.items() if name not in ("state", "memory_bytes")}
        for name in ("samples_ns", "warm_up_ns", "degraded"):
            kept[name] = tuple(fields[name])
        memory = fields["memory_bytes"]
        return cls(**{**kept, "memory": Memory(memory["kind"], dict(memory["phases"]))})


@dataclass(frozen=True, eq=False)
class Row:
    """One model on the report's machine."""

    name: str
    target: str
    variant: str
    sha256: str
    parent_sha256: str | None
    size_bytes: int
    precision: str  # as asked for when it was made
    weights: str  # trained | random | unknown
    measurement: Measurement
    outputs: Outputs

    @classmethod
    def of(cls, artifact: Artifact, weights: str, measurement: Measurement, outputs: Outputs) -> Row:
        """The row of an artifact; `weights` are those that the configuration's checkpoint says it has."""
        return cls(
            name=artifact.name,
            target=artifact.target,
            variant=artifact.variant,
            sha256=artifact.sha256,
            parent_sha256=artifact.parent_sha256,
            size_bytes=artifact.size_bytes,
            precision="fp32" if artifact.recipe is None else artifact.recipe.precision,
            weights=weights,
            measurement=measurement,
            outputs=outputs,
        )

    def to_json(self) -> dict[str, Any]:
        """The report's form."""
        kept = {name: value for name, value in vars(self).items() if name not in ("measurement", "outputs")}
        return {**kept, "measurement": self.measurement.to_json(), "outputs": self.outputs.to_json()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Row:
        """The inverse of `to_json`."""
        return cls(
            **{
                **fields,
                "measurement": Measurement.from_json(fields["measurement"]),
                "outputs": Outputs.from_json(fields["outputs"]),
            }
        )


@dataclass(frozen=True, eq=False)
class Parent:
    """The network that a configuration's other rows are compared with."""

    variant: str
    sha256: str
    outputs: Outputs


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


@dataclass(frozen=True, eq=False)
class Report:
    """Rows of models on one machine and one D^e."""

    machine: Machine
    data: Data
    rows: tuple[Row, ...]
    parents: tuple[Parent, ...] = ()
    failures: tuple[Failure, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The file's content."""
        return {
            "version": VERSION,
            "machine": {**self.machine.to_json(), "identity": self.machine.identity},
            "data": asdict(self.data),
            "rows": [row.to_json() for row in self.rows],
            "parents": [{**vars(parent), "outputs": parent.outputs.to_json()} for parent in self.parents],
            "failures": [asdict(failure) for failure in self.failures],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Report:
        """The inverse of `to_json`; raises ArtifactError for other versions and damaged documents."""
        try:
            version = document["version"]
            if version != VERSION:
                raise ArtifactError(
                    f"The report has version {version!r}. This version of lc2fer reads {VERSION}. "
                    "Read it with the version that wrote it."
                )
            machine = {name: value for name, value in document["machine"].items() if name != "identity"}
            data = document["data"]
            report = cls(
                machine=Machine.from_json(machine),
                data=Data(**{**data, **{name: tuple(data[name]) for name in ("images", "labels", "label_names")}}),
                rows=tuple(Row.from_json(row) for row in document["rows"]),
                parents=tuple(
                    Parent(**{**parent, "outputs": Outputs.from_json(parent["outputs"])})
                    for parent in document["parents"]
                ),
                failures=tuple(Failure(**failure) for failure in document["failures"]),
            )
            outputs = [row.outputs for row in report.rows] + [parent.outputs for parent in report.parents]
            counts = {len(answers.predictions) for answers in outputs}
            if not counts <= {len(report.data.labels)} or len(report.data.images) != len(report.data.labels):
                raise ValueError(f"answers to {sorted(counts)} images for {len(report.data.labels)} labels")
            return report
        except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
            raise ArtifactError(
                f"The report is damaged ({type(error).__name__}: {error}). Expected what lc2fer-bench writes. "
                "Run lc2fer-bench again."
            ) from None


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
    except ValueError as error:
        raise ArtifactError(
            f"{path} is not JSON ({error}). Expected what lc2fer-bench writes. Run lc2fer-bench again."
        ) from None
    if not isinstance(document, dict):
        raise ArtifactError(f"{path} holds no object. Expected what lc2fer-bench writes. Run lc2fer-bench again.")
    return Report.from_json(document)

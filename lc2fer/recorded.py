"""Runs of engines on real GPUs, recorded: one JSON file a run, and the table that the documentation shows of them.

lc2fer-bench writes them on a machine with a GPU; nothing here needs one. While a folder holds none, its table says
"not measured".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lc2fer import artifact as artifacts
from lc2fer.artifact import Artifact
from lc2fer.errors import MALFORMED, ArtifactError, UsageError
from lc2fer.targets import ENGINES

FORMAT = 1
TARGETS = tuple(name for name in ENGINES if name.startswith("trt-"))
_SIZE_LIMIT = 16 << 20  # bytes
_FEWEST = 100  # samples below which a percentile means little


@dataclass(frozen=True)
class Run:
    """One engine's timing on one GPU, as it was taken."""

    variant: str
    target: str
    device: str
    sm: str
    l4t: str | None  # None: no Jetson
    tensorrt: str
    cuda: str
    driver: str
    power_mode: str | None
    clocks_mhz: Mapping[str, float]  # "gpu", "cpu", "emc": while it ran
    onnx_sha256: str  # of the graph that the engine was built from
    engine_sha256: str
    executed: Mapping[str, int]  # layers by precision
    warm_up_ns: tuple[int, ...]
    samples_ns: tuple[int, ...]  # round trips at batch 1, in order, none left out

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise UsageError(
                f"A run of {self.target!r} was to be recorded. Expected one of {', '.join(TARGETS)}: recorded runs are "
                "TensorRT's. Record another target with lc2fer-bench's own report."
            )
        if len(self.samples_ns) < _FEWEST or min(self.samples_ns) <= 0:
            raise UsageError(
                f"{len(self.samples_ns)} samples were to be recorded. At least {_FEWEST} positive durations were "
                "expected. Run longer."
            )

    @property
    def name(self) -> str:
        """The file's stem: what was run, on what, with what."""
        return f"{self.variant}-{self.target}-{self.device}-{self.tensorrt}".replace(" ", "-").replace("/", "-")

    def to_json(self) -> dict[str, Any]:
        """The file's content."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Run:
        """The inverse of `to_json`; raises ArtifactError where a field is missing, unknown or of another format."""
        try:
            if fields["format"] != FORMAT:
                raise ValueError(f"format {fields['format']!r}")
            kept = {name: value for name, value in fields.items() if name != "format"}
            for name in ("warm_up_ns", "samples_ns"):
                kept[name] = tuple(int(value) for value in kept[name])
            return cls(**kept)
        except (*MALFORMED, UsageError) as error:
            raise ArtifactError(
                f"The recorded run is damaged ({type(error).__name__}: {error}). Expected the fields of Run in format "
                f"{FORMAT}. Record it again."
            ) from None


def of(
    artifact: Artifact,
    samples_ns: Sequence[int],
    warm_up_ns: Sequence[int],
    *,
    executed: Mapping[str, int],
    power_mode: str | None,
    clocks_mhz: Mapping[str, float],
) -> Run:
    """The run of an engine whose manifest says where it was built, and which is run there alone.

    Raises UsageError for artifacts that are no engine of TensorRT, or one that was built on no GPU.
    """
    device = artifact.device or {}
    if artifact.kind != "tensorrt" or not device.get("name") or artifact.parent_sha256 is None:
        raise UsageError(
            f"{artifact.path.name} was to be recorded. An engine that was built on a GPU was expected. "
            "Measure it with lc2fer-bench's own report."
        )
    return Run(
        variant=artifact.variant,
        target=artifact.target,
        device=device["name"],
        sm=device["sm"],
        l4t=device["l4t"],
        tensorrt=device["version"],
        cuda=device["cuda"],
        driver=device["driver"],
        power_mode=power_mode,
        clocks_mhz=dict(clocks_mhz),
        onnx_sha256=artifact.parent_sha256,
        engine_sha256=artifact.files[0].sha256,
        executed=dict(executed),
        warm_up_ns=tuple(warm_up_ns),
        samples_ns=tuple(samples_ns),
    )


def write(folder: Path, run: Run) -> Path:
    """Write a run in one step under its own name; returns the file."""
    path = folder / f"{run.name}.json"
    artifacts.write(path, run.to_json())
    return path


def read(folder: Path) -> list[Run]:
    """All runs of a folder in the order of their names; raises ArtifactError, naming the file, for a damaged one."""
    runs = []
    for path in sorted(folder.glob("*.json")):
        try:
            if path.stat().st_size > _SIZE_LIMIT:
                raise ArtifactError(
                    f"The recorded run has {path.stat().st_size:,} bytes. At most {_SIZE_LIMIT:,} were expected. "
                    "Record it again."
                )
            runs.append(Run.from_json(json.loads(path.read_text(encoding="utf-8"))))
        except ArtifactError as error:
            raise ArtifactError(f"{path}: {error}") from None
        except (ValueError, RecursionError) as error:
            raise ArtifactError(
                f"{path}: The recorded run is not JSON ({error}). Expected what lc2fer-bench writes. Record it again."
            ) from None
    return runs


def table(runs: Sequence[Run]) -> str:
    """Markdown: each run's median and 90th percentile, and "not measured" for every target that has none."""
    rows = []
    for target in TARGETS:
        found = [run for run in runs if run.target == target]
        rows += [
            [
                run.target,
                run.variant,
                f"{run.device}, SM {run.sm}" + (f", L4T {run.l4t}" if run.l4t else ""),
                run.tensorrt,
                f"{median(run.samples_ns) / 1e6:.2f}",
                f"{sorted(run.samples_ns)[int(0.9 * len(run.samples_ns))] / 1e6:.2f}",
                ", ".join(f"{count} {name}" for name, count in run.executed.items()),
                run.onnx_sha256[:12],
            ]
            for run in found
        ] or [[target, "", "not measured", *[""] * 5]]
    heads = ["target", "variant", "device", "TensorRT", "p50 ms", "p90 ms", "layers", "ONNX sha256"]
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

"""The models to measure, made where they are missing, in a process of their own.

An exporter in the harness's own process would share its libraries' pages with the measured one, which lowers that one's
PSS, and would leave its threads running beside it.
"""

from __future__ import annotations

import traceback
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from lc2fer import artifact as artifacts
from lc2fer import header
from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError, Lc2ferError, UsageError
from lc2fer.inputs import LABELS
from lc2fer.reading import Reading
from lc2fer.text import remark

from ..report.document import PARENT
from .worker import Link, Message, Worker, WorkerError, revived, serve


def make(
    config: str,
    targets: Sequence[str],
    *,
    weights: Path | None,
    data: str,
    images: str,
    reading: Reading = Reading(),  # noqa: B008
    out: Path,
    said: Sequence[str] = (),
) -> dict[str, Artifact | Lc2ferError]:
    """Each target's artifact, or the error that kept it from being made; one that dies takes no other along.

    Remarks in `said` were made before and are not made again.
    """
    made: dict[str, Artifact | Lc2ferError] = {}
    while waiting := [target for target in targets if target not in made]:
        job = {
            "config": config,
            "targets": waiting,
            "weights": None if weights is None else str(weights),
            "data": data,
            "images": images,
            "reading": reading.to_json(),
            "out": str(out),
            "said": list(said),
        }
        with Worker("lc2fer.benchmarks.measuring.models", job) as worker:
            for target in waiting:
                worker.purpose = f"makes {config} {target}"
                try:
                    made[target] = _answer(worker.receive() or {}, f"Making {config} {target}")
                except WorkerError as error:
                    made[target] = error
                    break  # its process is gone
                except Lc2ferError as error:
                    made[target] = error
    return made


def given(paths: Sequence[Path]) -> dict[str, dict[str, Artifact]]:
    """Configuration -> target -> the model of that file, a checkpoint first: it is the others' parent.

    Raises UsageError where two would be one row, and ArtifactError for a model beside a checkpoint that it was not made
    from.
    """
    loaded = [artifacts.load(path) for path in paths]
    found: dict[str, dict[str, Artifact]] = {artifact.variant: {} for artifact in loaded}
    for artifact in sorted(loaded, key=lambda artifact: artifact.target != PARENT):
        row = found[artifact.variant]
        if artifact.target in row:
            raise UsageError(
                f"{row[artifact.target].path} and {artifact.path} are both {artifact.variant} {artifact.target}. A "
                "report has one row of each. Measure them apart and put the reports beside each other with "
                "lc2fer-bench compare."
            )
        parent = row.get(PARENT, artifact)
        origins = (artifact.sha256, artifact.parent_sha256, (artifact.proof or {}).get("reference_sha256"))
        if parent.sha256 not in origins:
            raise ArtifactError(
                f"{artifact.path} was not made from {parent.path}. Models of the same weights were expected beside a "
                "checkpoint. Leave one of them out."
            )
        row[artifact.target] = artifact
    return found


def weights_of(checkpoint: Artifact | Lc2ferError | None) -> str:
    """Whether they are trained or random; unknown where there is no checkpoint that says it."""
    if not isinstance(checkpoint, Artifact):
        return "unknown"
    return "random" if (checkpoint.training or {}).get("weights") == "random" else "trained"


def labels_of(chosen: Namespace) -> tuple[str, ...] | None:
    """What the models of a command's arguments tell apart: the first one's labels, the given weights', or those of what
    is bundled.

    None for weights that do not say it, or a folder; whoever makes the models of them refuses these.
    """
    if chosen.models:
        return artifacts.load(chosen.models[0]).input_spec.labels
    if chosen.weights is None:
        return LABELS
    if chosen.weights.is_dir():
        return None
    if chosen.weights.with_suffix(".json").is_file():
        return artifacts.load(chosen.weights).input_spec.labels
    return header.read(chosen.weights).labels


def _answer(message: Message, who: str) -> Artifact:
    if message["event"] == "failed":
        raise revived(message["type"], message["text"], who)
    return artifacts.load(Path(message["path"]))


def main(link: Link, job: Message) -> None:
    """Make the job's targets in order, with one answer each: `made` with a path, or `failed` with an error."""
    from lc2fer.spokes import exporter

    weights = None if job["weights"] is None else Path(job["weights"])
    said: set[str] = set(job["said"])

    def say(text: str) -> None:  # what holds for all targets is said once
        if text not in said:
            remark(text)
        said.add(text)

    source = exporter(
        job["config"],
        Path(job["out"]),
        weights=weights,
        data=job["data"],
        images=job["images"],
        reading=Reading.of(job["reading"]),
        say=say,
    )
    for target in job["targets"]:
        try:
            source.check(target)
            artifact = source.export(target)
            link.send(event="made", path=str(artifact.path))
        except Exception as error:
            if not isinstance(error, Lc2ferError):
                traceback.print_exc()
            link.send(event="failed", type=type(error).__name__, text=str(error))


if __name__ == "__main__":
    serve(main)

"""A float or INT8, decided on the device: INT8 has to answer the golden faces as its parent does, and be faster."""

from __future__ import annotations

import json
import shlex
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer import artifact as artifacts
from lc2fer.artifact import Artifact
from lc2fer.errors import MALFORMED, ArtifactError, ParityError, TargetUnavailable, UsageError
from lc2fer.nvidia import MOST_IMAGES
from lc2fer.session import Session, open_session
from lc2fer.spokes import make_engine
from lc2fer.targets import FILES, TARGETS

from . import golden
from .bundle import Bundle

FORMAT = 1
CHOICE = "choice.json"
MIN_SPEEDUP = 1.05  # that INT8 needs; less is within what a device's clocks do by themselves
_ROUNDS, _RUNS = 7, 40
_WARM_UP_S = 0.5

# Engine -> target -> the bundle's forms that it may be made from, the preferred one first.
ENGINES: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "tensorrt": {name: TARGETS[name].parents for name in ("trt-fp16", "trt-int8")},
        "onnxruntime": {name: (name,) for name in FILES if TARGETS[name].kind == "onnx"},
        "native": {name: (name,) for name in FILES if TARGETS[name].kind == "native"},
    }
)


@dataclass(frozen=True)
class Candidate:
    """A model that was tried: its golden verdict, and the median of a call's time in ms, where it was measured.

    A call has one image, or as many as the engine was built for.
    """

    file: str
    target: str
    sha256: str
    refused: str | None
    verdict: Mapping[str, Any] | None
    p50_ms: float | None


@dataclass(frozen=True)
class Choice:
    """What is to run on this device, and why."""

    engine: str
    threads: int | None
    file: str
    why: str
    candidates: tuple[Candidate, ...]
    max_batch: int = 1  # images that its engines take at once

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}


def choose(
    unpacked: Bundle,
    engine: str,
    *,
    threads: int | None,
    say: Callable[[str], None],
    max_batch: int | None = None,
) -> Choice:
    """Build what the engine needs in the bundle's folder, judge it, measure it, and keep the verdict in CHOICE.

    TensorRT's engines take 1 to `max_batch` images at once (None: 1), and are measured with as many. A kept verdict is
    used again while the models, their engine and the threads are the same. Raises UsageError for a batch that cannot
    be, TargetUnavailable where the engine cannot run here, ParityError where no model answers as the trained network
    does.
    """
    if max_batch is not None and (engine != "tensorrt" or not 1 <= max_batch <= MOST_IMAGES):
        raise UsageError(
            f"--max-batch {max_batch} was given for {engine}. Expected 1 to {MOST_IMAGES}, for tensorrt: other models "
            "take any batch. Correct or leave out --max-batch."
        )
    most = max_batch or 1
    images, reference = unpacked.golden
    own = {artifact.target: (artifact, model) for model in unpacked.models for artifact in [unpacked.artifact(model)]}
    made: dict[str, Artifact] = {}
    refused: dict[str, str] = {}
    verdicts: dict[str, golden.Verdict] = {}
    absent: set[str] = set()  # of the refused, those that this device lacks the engine of
    wanted = {target: forms for target, forms in ENGINES[engine].items() if set(forms) <= set(own)}
    if not wanted:
        raise ArtifactError(
            f"{unpacked.folder} carries none of {', '.join(ENGINES[engine])}, which {engine} runs. A bundle with one "
            "was expected. Make it anew with this version, or build with another --engine."
        )
    for target, forms in wanted.items():
        needed = min(own[form][1].sqnr_db for form in forms)

        def prove(artifact: Artifact, target: str = target, needed: float = needed) -> golden.Verdict:
            with open_session(artifact, threads=threads) as session:
                verdict = golden.judge(artifact.path.name, reference, session.run(images), needed)
            verdicts[target] = verdict
            if not verdict.passed:
                raise ParityError(
                    f"{artifact.path.name} answers {len(verdict.wrong)} of {verdict.decided} golden faces otherwise "
                    f"than the trained network, at {verdict.sqnr_db} dB where {needed} are needed. It was not kept. "
                    "Report it with the bundle's name and the device."
                )
            return verdict

        try:
            if engine == "tensorrt":
                sources = [own[form][0] for form in forms]
                made[target] = make_engine(target, sources, unpacked.folder, prove, say, most)
                if target not in verdicts:  # an engine that was built before
                    prove(made[target])
            else:
                prove(own[target][0])
                made[target] = own[target][0]
        except (ParityError, TargetUnavailable) as error:
            refused[target] = str(error)
            if isinstance(error, TargetUnavailable):
                absent.add(target)
            if target not in absent or engine != "tensorrt":
                say(str(error))
    if not made and absent == refused.keys():
        why = refused[target]
        if engine != "tensorrt":
            raise TargetUnavailable(why)
        raise TargetUnavailable(
            f"{why.split('. ')[0]}. TensorRT 10.3 or newer and its GPU were expected. Run lc2fer-deploy doctor and "
            "mend what it names, or build with --engine onnxruntime."
        )
    if not made:
        raise ParityError(" ".join(refused.values()))
    kept = _kept(unpacked.folder / CHOICE, (engine, threads, most), made, refused)
    if kept is not None:
        say(f"{kept.file}: chosen before, from the same models")
        return kept
    times = _measure(list(made.values()), np.resize(images, (most, *images.shape[1:])), threads)
    candidates = tuple(
        Candidate(
            file=made[target].path.name if target in made else f"{unpacked.variant}-{target}",
            target=target,
            sha256=made[target].sha256 if target in made else "",
            refused=refused.get(target),
            verdict=verdicts[target].to_json() if target in verdicts else None,
            p50_ms=times.get(made[target].path.name) if target in made else None,
        )
        for target in wanted
    )
    choice = replace(_decide(engine, threads, candidates), max_batch=most)
    artifacts.write(unpacked.folder / CHOICE, choice.to_json())
    return choice


def chosen(folder: Path) -> Choice:
    """The kept verdict; raises ArtifactError where there is none, or it is damaged."""
    path = folder / CHOICE
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields.pop("format") != FORMAT:
            raise ValueError("of another format")
        if Path(fields["file"]).name != fields["file"]:
            raise ValueError(f"{fields['file']!r} is no plain name")
        candidates = tuple(Candidate(**each) for each in fields.pop("candidates"))
        return Choice(candidates=candidates, **fields)
    except FileNotFoundError:
        raise ArtifactError(
            f"{folder} has no {CHOICE}. Expected the verdict of a build. "
            f"Run: lc2fer-deploy build {shlex.quote(str(folder))}"
        ) from None
    except MALFORMED as error:
        raise ArtifactError(
            f"{path} is damaged ({error}). Expected what lc2fer-deploy build writes. Remove it and build again."
        ) from None


def _decide(engine: str, threads: int | None, candidates: Sequence[Candidate]) -> Choice:
    """The fastest INT8 where it beats the fastest float by MIN_SPEEDUP, or no float passed; else that float."""
    times = {each.target: each.p50_ms for each in candidates if each.p50_ms is not None}
    files = {each.target: each.file for each in candidates}
    eights = [target for target in times if TARGETS[target].precision == "int8"]
    eight = min(eights, key=lambda target: times[target], default=None)
    real = min(times.keys() - eights, key=lambda target: times[target], default=None)
    if real is None or eight is None:
        both = len({TARGETS[each.target].precision == "int8" for each in candidates}) == 2
        lacks = "answers as the trained network does" if both else "is made for this engine"
        best, why = real or eight, f"nothing of the other precision {lacks}"
    else:
        speedup = times[real] / times[eight]
        best = eight if speedup >= MIN_SPEEDUP else real
        precision = TARGETS[real].precision.upper()
        why = f"INT8 is {speedup:.2f} times as fast as {precision}, and needs {MIN_SPEEDUP}"
    assert best is not None  # something was made
    return Choice(engine, threads, files[best], why, tuple(candidates))


def _kept(
    path: Path, asked: tuple[str, int | None, int], made: Mapping[str, Artifact], refused: Mapping[str, str]
) -> Choice | None:
    try:
        there = chosen(path.parent)
    except ArtifactError:
        return None
    same = (
        (there.engine, there.threads, there.max_batch) == asked
        and {each.target: each.sha256 for each in there.candidates if each.refused is None}
        == {target: artifact.sha256 for target, artifact in made.items()}
        and {each.target for each in there.candidates if each.refused is not None} == set(refused)
    )
    return there if same else None


def _measure(models: Sequence[Artifact], batch: NDArray[np.float32], threads: int | None) -> dict[str, float]:
    """Medians in ms of a call with the batch, in rounds by turns, so that a device that heats up slows all of them."""
    with ExitStack() as stack:
        sessions = [(each.path.name, stack.enter_context(open_session(each, threads=threads))) for each in models]
        for _, session in sessions:
            until = time.perf_counter() + _WARM_UP_S
            while time.perf_counter() < until:
                session.run(batch)
        samples: dict[str, list[float]] = {name: [] for name, _ in sessions}
        for turn in range(_ROUNDS):
            for name, session in sessions if turn % 2 == 0 else sessions[::-1]:
                samples[name] += _times(session, batch)
    return {name: round(1000 * statistics.median(found), 4) for name, found in samples.items()}


def _times(session: Session, batch: NDArray[np.float32]) -> list[float]:
    found = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        session.run(batch)
        found.append(time.perf_counter() - start)
    return found

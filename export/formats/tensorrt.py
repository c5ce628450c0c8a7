"""From ONNX files that are proven to an engine that is: which library, which attempts, reuse, and the manifest.

Engines are built on the GPU that runs them. TensorRT-RTX builds its engines without one: those are compiled here, and
their manifest says that they ran nowhere until they are built again on a machine with a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from rich.progress import Progress

from lc2fer import artifact as artifacts
from lc2fer import nvidia
from lc2fer.artifact import Artifact
from lc2fer.errors import TargetUnavailable
from lc2fer.nvidia import RTX, TENSORRT, Device, Library, Unusable, WrongVersion
from lc2fer.text import stderr_console

from . import present
from . import tensorrt_builder as tensorrt

RAN = "ran on this device and agreed with the trained network"
COMPILED = "compiled by TensorRT-RTX's builder on a CPU; it has run nowhere"


class Proof(Protocol):
    """What an engine's manifest says of how close it came."""

    @property
    def sqnr_db(self) -> float: ...

    @property
    def agreement(self) -> float: ...

    def to_json(self) -> dict[str, Any]: ...


Prove = Callable[[Artifact], Proof]
Say = Callable[[str], None]


def make(target: str, sources: Sequence[Artifact], out: Path, prove: Prove, say: Say, max_batch: int = 1) -> Artifact:
    """The engine of the first of the ONNX artifacts that builds, proven, or reused; it takes 1 to `max_batch` images.

    Raises TargetUnavailable where this machine cannot build it, or its TensorRT refuses every source: with the reason
    of each, and what to do. The sources stay where they are, each made and proven before.
    """
    library = _library(target)
    try:
        trt, here = _available(library)
    except Unusable as reason:
        raise _refusal(library, target, sources, reason) from None
    path = out / f"{sources[0].variant}-{target}.engine"
    there = present.found(path)
    if there is not None and _still_true(there, library, trt.__version__, here, sources, max_batch):
        say(f"{path.name}: reused, its sources, {library.name} and device are the same")
        return there
    timing = None if here is None else _timing(there, trt.__version__, here)
    attempts: list[dict[str, str]] = []
    for source in sources:
        attempt = {"source": source.name, "sha256": source.sha256}
        try:
            with _shown(path.name) as progress:
                graph = source.path.read_bytes()
                built = tensorrt.build(trt, graph, timing=timing, progress=progress, batch=max_batch)
        except tensorrt.Refused as refusal:
            attempts.append({**attempt, "outcome": "refused", "message": str(refusal)})
            say(f"{path.name}: {library.name} {trt.__version__} refuses {source.path.name}: {refusal}")
            continue
        attempts.append({**attempt, "outcome": "built", "message": ""})
        return _published(path, target, library, trt, here, source, built, attempts, max_batch, prove, say)
    told = "; ".join(f"{attempt['source']}: {attempt['message']}" for attempt in attempts)
    raise TargetUnavailable(
        f"{library.name} {trt.__version__} refuses {'every form' if len(attempts) > 1 else 'the graph'} of "
        f"{sources[0].variant}-{target} ({told}). A graph that it builds was expected; nothing else was built instead. "
        f"Export {target.split('-')[0]}-fp16, and report this message."
    )


def check(target: str, variant: str) -> None:
    """Raise TargetUnavailable where `make` would, whatever the sources: they need not be made to know it."""
    library = _library(target)
    try:
        _available(library)
    except Unusable as reason:
        if library is RTX or isinstance(reason, WrongVersion):
            raise _refusal(library, target, (), reason) from None
        raise TargetUnavailable(
            f"TensorRT cannot be used here: {reason}. Engines are built on the device that runs them: make a bundle "
            f"with lc2fer-deploy bundle --config {variant}, copy it there and run lc2fer-deploy build {variant}.bundle."
        ) from None


def _library(target: str) -> Library:
    return RTX if target.startswith("rtx-") else TENSORRT


def _available(library: Library) -> tuple[Any, Device | None]:
    """The library and the GPU, or Unusable; the GPU is asked for first, because TensorRT crashes without one."""
    if library is RTX:
        trt = library.load()
        try:
            return trt, nvidia.device()
        except Unusable:
            return trt, None
    library.find()
    here = nvidia.device()
    return library.load(), here


def _refusal(library: Library, target: str, sources: Sequence[Artifact], reason: Unusable) -> TargetUnavailable:
    if library is RTX:
        return TargetUnavailable(
            f"TensorRT-RTX cannot be used here: {reason}. It builds engines without a GPU where it is installed. "
            "Run: pip install 'lc2fer[rtx]'."
        )
    if isinstance(reason, WrongVersion):
        return TargetUnavailable(
            f"TensorRT cannot be used here: {reason}. {_made(sources)}Install one of the versions named and run this "
            "command again."
        )
    variant = sources[0].variant
    return TargetUnavailable(
        f"TensorRT cannot be used here: {reason}. Engines are built on the device that runs them. {_made(sources)}Take "
        f"{'it' if len(sources) == 1 else 'them'} there in a bundle (lc2fer-deploy bundle --config {variant}), or "
        f"alone and run: /usr/src/tensorrt/bin/trtexec --stronglyTyped --onnx={sources[0].path.name} "
        f"--saveEngine={variant}-{target}.engine"
    )


def _made(sources: Sequence[Artifact]) -> str:
    if not sources:
        return ""
    names = " and ".join(source.path.name for source in sources)
    return f"{sources[0].path.parent / names} {'is' if len(sources) == 1 else 'are'} made and proven. "


def _published(
    path: Path,
    target: str,
    library: Library,
    trt: Any,
    here: Device | None,
    source: Artifact,
    built: tensorrt.Built,
    attempts: Sequence[Mapping[str, str]],
    max_batch: int,
    prove: Prove,
    say: Say,
) -> Artifact:
    """Write engine, timing cache and log, prove the engine where there is a GPU, and give them their names."""
    device: dict[str, Any] = {
        "library": library.module,
        "version": trt.__version__,
        **(dict.fromkeys(Device.__dataclass_fields__) if here is None else here.to_json()),
        "attempts": list(attempts),
        "max_batch": max_batch,
        "executed_precisions": None,
        "layers": None,
        "checked": COMPILED if here is None else RAN,
    }
    if here is not None:
        try:
            device["layers"] = tensorrt.inspect(trt, built.engine)
        except Unusable as reason:
            raise TargetUnavailable(
                f"{library.name} {trt.__version__} built {path.name}, and {reason}. A GPU that it supports was "
                f"expected, and {here.name} has SM {here.sm}; nothing was kept. Build it on the machine that will run "
                "it, or where there is no GPU."
            ) from None
        device["executed_precisions"] = nvidia.executed(device["layers"])
    with artifacts.staged(path.parent) as staging:
        contents = {path.name: built.engine, f"{path.stem}.log": "".join(f"{line}\n" for line in built.log).encode()}
        if built.timing is not None:
            contents[f"{path.stem}.timing"] = built.timing
        for name, content in contents.items():
            (staging / name).write_bytes(content)
        made = replace(
            source,
            path=staging / path.name,
            kind="tensorrt",
            target=target,
            files=tuple(artifacts.record_of(staging / name) for name in contents),
            parent_sha256=source.sha256,
            proof=None,
            device=device,
            tools=artifacts.tool_versions(),
        )
        proof = None if here is None else prove(made)
        made = artifacts.publish(replace(made, proof=None if proof is None else proof.to_json()), path.parent)
    how = f"from {source.path.name} by {library.name} {trt.__version__}"
    if proof is None or here is None:
        say(f"{path.name}: {how}: {COMPILED}")
    else:
        say(f"{path.name}: {how} on {here.name}: {proof.sqnr_db:.1f} dB, {proof.agreement:.1%} agreement")
    return made


def _still_true(
    there: Artifact,
    library: Library,
    version: str,
    here: Device | None,
    sources: Sequence[Artifact],
    max_batch: int,
) -> bool:
    """Whether the engine was made of these sources, after the same refusals, by this library on this device."""
    known = there.device or {}
    if known.get("library") != library.module or known.get("version") != version or not known.get("attempts"):
        return False
    tried = [attempt["sha256"] for attempt in known["attempts"]]
    same_device = known["name"] is None if here is None else there.proof is not None
    return (
        same_device
        and tried == [source.sha256 for source in sources[: len(tried)]]
        and there.tools == artifacts.tool_versions()
        and known.get("max_batch", 1) == max_batch
        and (here is None or not nvidia.disagreements(known, here, version))
    )


def _timing(there: Artifact | None, version: str, here: Device) -> bytes:
    """The timing cache of an earlier engine of this device; empty where there is none."""
    if there is None or there.device is None or nvidia.disagreements(there.device, here, version):
        return b""
    path = there.path.with_suffix(".timing")
    return path.read_bytes() if path.is_file() else b""


@contextmanager
def _shown(name: str) -> Iterator[tensorrt.Progress]:
    """A line on the terminal for each phase of the build; nothing where stderr is a file."""
    console = stderr_console()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def tell(phase: str, done: int, steps: int) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(f"{name}: {phase}", total=steps)
            bars.update(tasks[phase], completed=done, total=steps)

        yield tell

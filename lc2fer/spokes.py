"""The spokes, reached by name: how the hub's users make artifacts, measure them, and ask a Jetson.

`export`, `benchmarks` and `deploy` never import each other; what one needs of another it asks for here, and only then
is the other imported.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from lc2fer.artifact import Artifact
from lc2fer.errors import TargetUnavailable
from lc2fer.reading import Reading


class Exporter(Protocol):
    """All exports of one variant from one set of weights into one folder."""

    def check(self, target: str) -> None:
        """Raise TargetUnavailable where the target cannot be made on this machine, without making its sources."""
        ...

    def export(self, target: str) -> Artifact:
        """The artifact of that target, made or reused; raises what lc2fer.export.pipeline.Pipeline.export does."""
        ...


def exporter(
    config: str,
    out: Path,
    *,
    weights: Path | None,
    data: str,
    images: str,
    reading: Reading = Reading(),  # noqa: B008
    calibration_images: int | None = None,
    say: Callable[[str], None],
) -> Exporter:
    """The exporter of a variant; importing it needs torch and the packages of the targets that it is asked for."""
    pipeline: Any = importlib.import_module("lc2fer.export.pipeline").Pipeline
    made: Exporter = pipeline(
        config,
        out,
        weights=weights,
        data=data,
        images=images,
        reading=reading,
        calibration_images=calibration_images,
        say=say,
    )
    return made


def make_engine(
    target: str,
    sources: Sequence[Artifact],
    out: Path,
    prove: Callable[[Artifact], Any],
    say: Callable[[str], None],
    max_batch: int = 1,
) -> Artifact:
    """The TensorRT engine of the first of these ONNX artifacts that builds here; neither torch nor onnx is needed.

    It takes 1 to `max_batch` images at once.

    `prove` gets the engine before it is kept and returns what its manifest is to say (sqnr_db, agreement, to_json), or
    raises ParityError. Raises what lc2fer.export.formats.tensorrt.make does.
    """
    make: Callable[..., Artifact] = importlib.import_module("lc2fer.export.formats.tensorrt").make
    return make(target, sources, out, prove, say, max_batch)


_PACKAGES = ("scipy", "psutil")  # of the harness


def measure(models: Sequence[Path], options: Sequence[str]) -> dict[str, Any]:
    """What lc2fer-bench returns for these model files and further arguments of its own.

    Raises TargetUnavailable where the harness's packages are missing, and what lc2fer-bench raises.
    """
    missing = [name for name in _PACKAGES if not installed(name)]
    if missing:
        raise TargetUnavailable(
            f"The packages that measuring needs are not all installed ({', '.join(missing)} missing). scipy and psutil "
            "were expected. Run: pip install 'lc2fer[bench]'."
        )
    main: Callable[[list[str]], dict[str, Any]] = importlib.import_module("lc2fer.benchmarks.command").main
    return main(["--models", *map(str, models), *options])


def installed(package: str) -> bool:
    """Whether a package is there; it is not imported."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


class Board(Protocol):
    """What a Jetson says of itself: a part of lc2fer.deploy.device.jetson.Jetson."""

    @property
    def module(self) -> str: ...

    @property
    def power_mode(self) -> str | None: ...  # nvpmodel's: "MAXN_SUPER"

    @property
    def gpu_mhz(self) -> tuple[int, int] | None: ...  # now, and at most

    @property
    def temperatures(self) -> Mapping[str, float]: ...  # degrees C by sensor


def board() -> Board | None:
    """This board now, None on other machines; asks files and nvpmodel."""
    found: Board | None = importlib.import_module("lc2fer.deploy.device.jetson").detect()
    return found


def watts() -> float | None:
    """What the whole module takes now."""
    found: float | None = importlib.import_module("lc2fer.deploy.device.jetson").watts()
    return found

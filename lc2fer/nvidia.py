"""What building, opening and reporting TensorRT engines have in common; TensorRT is given, or imported by name."""

from __future__ import annotations

import importlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

MOST_IMAGES = 256  # of an engine's batch; the largest tensor, of C7, then has 1.3 GB

_L4T = Path("/etc/nv_tegra_release")


class Unusable(Exception):
    """Why an engine library or a GPU cannot be used here, as a clause; the caller makes the sentence for its user."""


class WrongVersion(Unusable):
    """The library is there in a version that this project is not written for."""


@dataclass(frozen=True)
class Library:
    """One of NVIDIA's two engine libraries and the versions that this project is written for."""

    module: str
    name: str
    oldest: tuple[int, int]
    below: tuple[int, int]

    def find(self) -> None:
        """Raise Unusable where the package is not installed; nothing is imported."""
        if find_spec(self.module) is None:
            raise Unusable(f"the package {self.module} is not installed")

    def load(self) -> Any:
        """The module; raises Unusable where it is missing, broken or of another version."""
        self.find()
        try:
            module = importlib.import_module(self.module)
        except (ImportError, OSError) as error:
            raise Unusable(
                f"the package {self.module} is installed and cannot be imported ({str(error).splitlines()[0]})"
            ) from None
        numbers = re.findall(r"\d+", module.__version__)
        found = (int(numbers[0]), int(numbers[1])) if len(numbers) > 1 else (0, 0)
        if not self.oldest <= found < self.below:
            raise WrongVersion(
                f"{self.name} {module.__version__} is installed, and {'.'.join(map(str, self.oldest))} to "
                f"{self.below[0] - 1}.x is what this version of lc2fer is written for"
            )
        return module


TENSORRT = Library("tensorrt", "TensorRT", (10, 3), (12, 0))
RTX = Library("tensorrt_rtx", "TensorRT-RTX", (1, 7), (2, 0))
LIBRARIES = MappingProxyType({library.module: library for library in (TENSORRT, RTX)})


@dataclass(frozen=True)
class Device:
    """A GPU and what its engines depend on."""

    name: str
    sm: str  # compute capability, "8.7"
    integrated: bool  # shares its memory with the CPU, as on a Jetson
    l4t: str | None  # Jetson's Linux, "36.4.0"
    cuda: str  # of the runtime library
    driver: str  # newest CUDA that the driver supports

    def to_json(self) -> dict[str, Any]:
        """The manifest's form."""
        return asdict(self)


def device() -> Device:
    """The first GPU of this machine, asked of CUDA alone; raises Unusable where there is none."""
    found: Device = importlib.import_module("lc2fer.deploy.sessions.cuda").device()
    return found


def l4t() -> str | None:
    """The release of Jetson's Linux, "36.4.0"; None on other machines."""
    try:
        words = _L4T.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"# R(\d+) .*REVISION: ([\d.]+)", words)
    return None if found is None else f"{found[1]}.{found[2]}"


def disagreements(manifest: Mapping[str, Any], here: Device, version: str) -> list[str]:
    """What an engine was built for and this machine is not, "SM 8.7 (here 8.9)"; empty where the engine fits.

    A newer driver runs what an older one built, so neither it nor CUDA is compared; L4T is, as it brings both.
    """
    wanted: list[tuple[str, str, str | None]] = [("version", LIBRARIES[manifest["library"]].name, version)]
    if manifest["name"] is not None:  # TensorRT-RTX builds for a family of GPUs, on none of them
        wanted += [("name", "device", here.name), ("sm", "SM", here.sm), ("l4t", "L4T", here.l4t)]
    return [f"{label} {manifest[key]} (here {found})" for key, label, found in wanted if manifest[key] != found]


# -- the log ----------------------------------------------------------------------------------------------------------

_LOGGERS: dict[str, Any] = {}


@contextmanager
def logged(trt: Any) -> Iterator[tuple[Any, list[str]]]:
    """TensorRT's logger and the lines "WARNING: text" that it is given meanwhile, details left out.

    One logger a process: TensorRT keeps the first it is given while any of its objects lives and ignores the others.
    """
    if trt.__name__ not in _LOGGERS:
        _LOGGERS[trt.__name__] = _logger(trt)
    logger = _LOGGERS[trt.__name__]
    before = logger.lines
    lines: list[str] = []
    logger.lines = lines
    try:
        yield logger, lines
    finally:
        logger.lines = before


def _logger(trt: Any) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity.name != "VERBOSE":
                self.lines.append(f"{severity.name}: {msg}")

    return Logger()


def errors_in(lines: Sequence[str]) -> str:
    """The errors among a log's lines, one after the other; the last line where there is none."""
    found = [line.partition(": ")[2] for line in lines if line.startswith(("ERROR", "INTERNAL_ERROR"))]
    return "; ".join(found or lines[-1:]) or "it gave no reason"


# -- the inspector ----------------------------------------------------------------------------------------------------

# In what a tensor's type or format is called, from the most to the least specific.
_PRECISIONS = (
    ("int8", ("int8",)),
    ("bf16", ("bf16", "bfloat16")),
    ("fp16", ("fp16", "half", "float16")),
    ("fp8", ("fp8",)),
    ("fp32", ("fp32", "float")),
    ("int32", ("int32",)),
    ("int64", ("int64",)),
    ("bool", ("bool",)),
)


_MOVES = {"Reformat", "NoOp", "Constant", "Shuffle", "Signal", "Wait"}  # layers that compute nothing


def layers(information: str) -> list[dict[str, str]]:
    """Name, type and precision of each layer, from the engine inspector's JSON.

    TensorRT 10 writes "Format/Datatype" into each tensor and 11 "Format" and "DataType"; a layer is a bare name where
    the engine keeps no details. Its precision is that of its first input, which is what a convolution multiplies.
    Raises ValueError for anything else.
    """
    try:
        return [_layer(entry) for entry in json.loads(information)["Layers"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no layers: {type(error).__name__} {error}") from None


def _layer(entry: Any) -> dict[str, str]:
    if isinstance(entry, str):
        return {"name": entry, "type": "unknown", "precision": "unknown"}
    tensors = [*entry.get("Inputs", []), *entry.get("Outputs", [])]
    told = str(_first(tensors[0], "DataType", "Datatype", "Format/Datatype", "Format")).lower() if tensors else ""
    precision = next((name for name, words in _PRECISIONS if any(word in told for word in words)), "unknown")
    return {"name": entry["Name"], "type": entry.get("LayerType", "unknown"), "precision": precision}


def _first(tensor: Mapping[str, Any], *keys: str) -> Any:
    return next((tensor[key] for key in keys if key in tensor), "")


def executed(found: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """Number of computing layers by the precision that they run in."""
    return dict(Counter(layer["precision"] for layer in found if layer["type"] not in _MOVES))

"""The one way by which other parts of the project measure models; the harness is reached by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lc2fer.errors import TargetUnavailable

_PACKAGES = ("scipy", "psutil")


def measure(models: Sequence[Path], options: Sequence[str]) -> dict[str, Any]:
    """What lc2fer-bench returns for these model files and further arguments of its own.

    Raises TargetUnavailable where the harness's packages are missing, and what lc2fer-bench raises.
    """
    missing = [name for name in _PACKAGES if not _installed(name)]
    if missing:
        raise TargetUnavailable(
            f"The packages that measuring needs are not all installed ({', '.join(missing)} missing). scipy and psutil "
            "were expected. Run: pip install 'lc2fer[bench]'."
        )
    main: Callable[[list[str]], dict[str, Any]] = importlib.import_module("lc2fer.benchmarks.command").main
    return main(["--models", *map(str, models), *options])


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False

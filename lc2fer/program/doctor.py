"""lc2fer doctor: what is installed here, what each missing extra would give, and the command for it."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from importlib import metadata
from typing import Any

from tabulate import tabulate  # type: ignore[import-untyped]

from lc2fer import extras, kernels, threads
from lc2fer.errors import TargetUnavailable, UsageError
from lc2fer.extras import Extra
from lc2fer.kernels import build
from lc2fer.storage import cache_folder

_SYSTEM = {"tensorrt", "camera"}  # what JetPack brings without pip


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(
        prog="lc2fer doctor",
        description="Tell what is installed here, what each missing extra would give, and the command that brings it. "
        "On a device, lc2fer-deploy doctor also looks at cameras, power, memory and disk.",
    )
    parser.add_argument("--json", action="store_true", help="only the last line")
    return parser


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command; returns the last line's document."""
    given = parser().parse_args(arguments)
    found = extras.here()
    about = _about()
    if not given.json:
        print(tabulate(list(about.items()), tablefmt="plain"))
        print()
        print(tabulate([_line(one) for one in found], ("extra", "", "what for", "here, or how"), disable_numparse=True))
    return {**about, "extras": {one.name: {"found": one.found, "missing": one.missing} for one in found}}


def _about() -> dict[str, str]:
    return {
        "lc2fer": metadata.version("lc2fer"),
        "Python": f"{platform.python_version()} in {sys.prefix}",
        "machine": f"{platform.system()} on {platform.machine()}, {threads.usable_cores()} of {os.cpu_count()} cores",
        "fused kernels": _kernels(),
        "cache": _cache(),
    }


def _kernels() -> str:
    try:
        if build.present("onnxruntime") is not None:
            return f"ready, for {', '.join(kernels.here('onnxruntime'))}"
        build.check("onnxruntime")
    except build.Lacking as lacking:
        return f"cannot be had: {lacking}"
    except (TargetUnavailable, UsageError) as error:  # it cannot be loaded; LC2FER_CPU
        return str(error)
    return "compiled once, in some 30 s, when they are first needed"


def _cache() -> str:
    try:
        folder = cache_folder()
    except UsageError as error:
        return str(error)
    place = folder if folder.is_dir() else next(one for one in folder.parents if one.is_dir())
    return f"{folder}, {shutil.disk_usage(place).free / 1e9:.1f} GB free (LC2FER_CACHE moves it)"


def _line(extra: Extra) -> list[str]:
    if not extra.missing:
        return [extra.name, "here", extra.purpose, ", ".join(f"{name} {one}" for name, one in extra.found.items())]
    system = " (or the system's own: lc2fer-deploy doctor)" if extra.name in _SYSTEM else ""
    return [extra.name, "-", extra.purpose, extra.command + system]

"""The commands: each runs one module's `main` and prints, last, one line of compact JSON.

Exit codes: 0 done (or what the document says as `exit_code`), 1 a gate failed, 2 usage or bad input, 3 target
unavailable here, 4 a gate that is undecided, 130 interrupted.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lc2fer.errors import Lc2ferError
from lc2fer.session import refuse_telemetry

# Command -> the module whose main(arguments) returns the last line's document, and the extras that it needs.
COMMANDS = MappingProxyType(
    {
        "train": ("lc2fer.training.command", "train"),
        "export": ("lc2fer.export.command", "export,openvino"),
        "bench": ("lc2fer.benchmarks.command", "export,openvino,bench"),
        "explain": ("lc2fer.explain.command", "train,export,explain"),
        "predict": ("lc2fer.predict", "export"),
        "deploy": ("lc2fer.deploy.command", "export"),
    }
)


def run(command: str, arguments: list[str] | None = None) -> int:
    """Run a command as a user does and return its exit code; never a traceback, unless --debug asks for it."""
    module, extras = COMMANDS[command]
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    refuse_telemetry()
    try:
        main: Callable[[list[str]], Mapping[str, Any]] = importlib.import_module(module).main
        document = main(arguments)
        if os.environ.get("RANK", "0") == "0":  # of several training processes, the first speaks
            print(json.dumps(document, separators=(",", ":"), allow_nan=False), flush=True)
    except SystemExit as leaving:  # argparse: --help or a wrong flag
        return leaving.code if isinstance(leaving.code, int) else 2
    except BaseException as error:
        if debug:
            traceback.print_exc()
        text, code = _explain(error, extras)
        print(text, file=sys.stderr, flush=True)
        return code
    return int(document.get("exit_code", 0))


def _explain(error: BaseException, extras: str) -> tuple[str, int]:
    if isinstance(error, Lc2ferError):
        return f"{type(error).__name__}: {error}", error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted. Finished files are kept; nothing half-written is left.", 130
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains once more while leaving
        return "The reader of this command's output went away.", 141
    if isinstance(error, ModuleNotFoundError):
        return (
            f"TargetUnavailable: The package {error.name} is not installed. This command needs the extras [{extras}]. "
            f"Run: pip install 'lc2fer[{extras}]'.",
            3,
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The disk is full. Room for the new files was expected. Free some space and run the command again.", 2
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.filename}: {error.strerror}. Check the path and its permissions.", 2
    return (
        f"Unexpected {type(error).__name__}: {error}. This is a defect of lc2fer. Run the command again with --debug "
        "and report what it prints.",
        2,
    )


def train() -> int:
    return run("train")


def export() -> int:
    return run("export")


def bench() -> int:
    return run("bench")


def explain() -> int:
    return run("explain")


def predict() -> int:
    return run("predict")


def deploy() -> int:
    return run("deploy")

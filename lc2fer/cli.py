"""The commands, each also under `lc2fer`: each runs one module's `main` and prints, last, one line of compact JSON.

Where standard output is no terminal, it gets only JSON; tables go to standard error.

Exit codes: 0 done (or what the document says as `exit_code`), 1 a gate failed, 2 usage or bad input, 3 target
unavailable here, 4 a gate that is undecided, 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any

import lc2fer
from lc2fer.errors import NO_MEMORY, Lc2ferError
from lc2fer.leaving import Terminated, tidily, with_code
from lc2fer.next_steps import after
from lc2fer.storage import unwritable
from lc2fer.telemetry import refuse_telemetry
from lc2fer.text import print_json, printable, quietly, remark, safe_outputs, tables_apart

# Command -> the module whose main(arguments) returns the last line's document, and the extras that it needs.
COMMANDS = MappingProxyType(
    {
        "train": ("lc2fer.training.command", "train"),
        "export": ("lc2fer.export.command", "export,openvino"),
        "bench": ("lc2fer.benchmarks.command", "export,openvino,bench"),
        "explain": ("lc2fer.explain.command", "train,export,explain"),
        "predict": ("lc2fer.predicting.command", "export"),
        "faces": ("lc2fer.predicting.faces_command", "export"),
        "deploy": ("lc2fer.deploy.command", "export"),
        "data": ("lc2fer.data.command", ""),
        "doctor": ("lc2fer.program.doctor", ""),
        "completion": ("lc2fer.program.completion", "completion"),
    }
)
SCRIPTS = ("train", "export", "bench", "explain", "predict", "faces", "deploy")  # that are also lc2fer-NAME
SAYS = MappingProxyType(
    {
        "predict": "the expressions of the faces in pictures, folders and films",
        "faces": "a folder of photographs into a folder of aligned faces",
        "data": "check: what would be read of a folder of faces, and what refused",
        "train": "train a variant on a folder of faces",
        "export": "make a model for a target and prove that it agrees with the trained network",
        "bench": "measure models; compare, gate and choose from reports",
        "explain": "a page of what a network confuses and where it looks",
        "deploy": "bundle for a device; there build, verify, run a camera; serve",
        "doctor": "what is installed here, and the command for what is not",
        "completion": "make a shell complete all this",
    }
)
FLAGS = MappingProxyType(
    {
        "--version": "print the version",
        "--quiet": "no progress and no remarks; errors, results and the last line stay",
        "--debug": "with an error, also the traceback",
    }
)

# What a device runs, and the extras that bring a package there.
_ON_DEVICES = ("predict", "faces", "deploy")
_BRINGS = MappingProxyType(
    {
        "cv2": "camera",
        "onnxruntime": "cpu",
        "openvino": "openvino",
        "tensorrt": "tensorrt",
        "starlette": "web",
        "uvicorn": "web",
        "paho": "mqtt",
        "scipy": "bench",
        "psutil": "bench",
        "cryptography": "sign",
    }
)

_BASE = ("numpy", "PIL", "rich", "tabulate")  # what every installation has

_UNMAPPED = re.compile(r"[^\s/]*\.so\S*: failed to map segment[^\n.]*")  # the loader's: memory, or a disk without exec
_STREAM = "iostream error"  # C++'s word for a write that failed; it does not say why
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT)


def run(command: str, arguments: list[str] | None = None) -> int:
    """Run a command as a user does and return its exit code; never a traceback, unless --debug asks for it."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["--version"]:
        print(f"lc2fer {lc2fer.__version__}")
        return 0
    debug, quiet = "--debug" in arguments, "--quiet" in arguments
    arguments = [argument for argument in arguments if argument not in ("--debug", "--quiet")]
    refuse_telemetry()
    with tidily(), safe_outputs(), quietly() if quiet else nullcontext():
        return with_code(_run(command, arguments, debug=debug))


def main(arguments: list[str] | None = None) -> int:
    """lc2fer COMMAND ...: every command under one name; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    place = next((at for at, word in enumerate(arguments) if not word.startswith("-")), len(arguments))
    before, rest = arguments[:place], arguments[place + 1 :]
    wrong = [flag for flag in before if flag not in (*FLAGS, "-h", "--help")]
    if wrong or (place < len(arguments) and arguments[place] not in COMMANDS):
        word = wrong[0] if wrong else arguments[place]
        print(
            f"UsageError: {printable(word)} is no command of lc2fer. Expected one of {', '.join(SAYS)}. "
            "Run: lc2fer --help.",
            file=sys.stderr,
        )
        return 2
    if "--version" in before:
        return run("doctor", ["--version"])
    if place == len(arguments) or "-h" in before or "--help" in before:
        print(_overview())
        return 0
    return run(arguments[place], [*before, *rest])


def _overview() -> str:
    commands = "\n".join(f"  {command:<12}{says}" for command, says in SAYS.items())
    flags = "\n".join(f"  {flag:<12}{says}" for flag, says in FLAGS.items())
    return (
        f"usage: lc2fer [--version] [--quiet] [--debug] COMMAND ...\n\n{commands}\n\n{flags}\n\n"
        "lc2fer COMMAND --help tells the rest; lc2fer-predict is the same as lc2fer predict, and so on."
    )


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a command, for completion and documents; nothing heavy is imported."""
    found: argparse.ArgumentParser = importlib.import_module(COMMANDS[command][0]).parser()
    return found


def _run(command: str, arguments: list[str], *, debug: bool) -> int:
    try:
        main: Callable[[list[str]], Mapping[str, Any]] = importlib.import_module(COMMANDS[command][0]).main
        with nullcontext() if {"-h", "--help"} & set(arguments) else tables_apart():  # help is what was asked for
            document = main(arguments)
        if os.environ.get("RANK", "0") == "0":  # of several training processes, the first speaks
            print_json(json.dumps(document, separators=(",", ":"), allow_nan=False))
            watched = sys.stderr is not None and sys.stderr.isatty()  # a service may have closed both outputs
            if watched and not document.get("exit_code") and (line := after(command, arguments, document)):
                remark(f"Next: {line}")
    except SystemExit as leaving:  # argparse: --help or a wrong flag
        return leaving.code if isinstance(leaving.code, int) else 2
    except BaseException as error:
        if debug:
            traceback.print_exc()
        text, code = _explain(error, command)
        try:
            print(_lines(error, text), file=sys.stderr, flush=True)
        except OSError:  # nobody reads it, or its disk is full
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        return code
    return int(document.get("exit_code", 0))


def _lines(error: BaseException, text: str) -> str:
    """What is printed: one line, but for an error that lists something."""
    said: tuple[str, ...] = getattr(error, "lines", ())
    lines = (f"{type(error).__name__}: {said[0]}", *said[1:]) if len(said) > 1 else (text,)
    return "\n".join(map(printable, lines))


def _explain(error: BaseException, command: str) -> tuple[str, int]:
    if isinstance(error, Lc2ferError) and not any(words in str(error) for words in NO_MEMORY):
        return f"{type(error).__name__}: {error}", error.exit_code
    error = _lack(error)
    if isinstance(error, KeyboardInterrupt):
        what, code = ("Ended by SIGTERM", 143) if isinstance(error, Terminated) else ("Interrupted", 130)
        return f"{what}. Finished files are kept; nothing half-written is left.", code
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains once more while leaving
        return "The reader of this command's output went away.", 141
    if isinstance(error, ImportError) and (error.name or "").split(".")[0] == "lc2fer":
        return (
            f"TargetUnavailable: This installation lacks a part of lc2fer ({error}). The whole package was expected. "
            "Install it again.",
            3,
        )
    if isinstance(error, ModuleNotFoundError):
        return _missing((error.name or str(error)).split(".")[0], command), 3
    if isinstance(error, ImportError) and ".so" in str(error):
        unmapped = _UNMAPPED.search(str(error))
        said = unmapped[0] if unmapped else str(error).rstrip(".")
        return (
            f"TargetUnavailable: A package's library cannot be loaded ({said}). The libraries that "
            "it needs, and memory for them, were expected. Raise ulimit -v and end other programs, or install the "
            "package again.",
            3,
        )
    # safetensors wraps the system's errors in one of its own
    number = error.errno if isinstance(error, OSError) else _number_in(error)
    if isinstance(error, MemoryError) or number == errno.ENOMEM or any(words in str(error) for words in NO_MEMORY):
        said = next((words for words in NO_MEMORY if words in str(error)), str(error).split("\n")[0].rstrip("."))
        return (
            f"Memory ran out{f' ({said})' if said else ''}. "
            "Room for what was asked for was expected. End other programs, or pass fewer or smaller images.",
            2,
        )
    if _STREAM in str(error):
        return (
            f"A file could not be written ({_STREAM}). A disk with room, and one that works, was expected; what was "
            "there before is kept. Look at it with df and dmesg, and run the command again.",
            2,
        )
    if number == errno.ENOSPC:
        return "The disk is full. Room for the new files was expected. Free some space and run the command again.", 2
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return f"{error.filename} is no folder. A folder, or a new name, was expected. Choose another place.", 2
    if isinstance(error, OSError):
        cache = unwritable(error.filename) if number in _READ_ONLY else None
        return cache or _refused_by_the_system(error), 2
    if number is not None:
        return f"{os.strerror(number)}: {str(error).rstrip('.')}. A file was to be written. Check its folder.", 2
    return (
        f"Unexpected {type(error).__name__}: {error}. This is a defect of lc2fer. Run the command again with --debug "
        "and report what it prints.",
        2,
    )


def _lack(error: BaseException) -> BaseException:
    """The memory or the library that was lacking, where an exporter wrapped it in an error of its own."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, (MemoryError, ImportError)):
            return found
        found = found.__cause__
    return error


def _refused_by_the_system(error: OSError) -> str:
    name = "A file" if error.filename is None else error.filename
    if error.errno == errno.EIO:
        return (
            f"{name}: {error.strerror}. A disk that keeps what is written was expected; what was there before is kept. "
            "Look at the disk (dmesg), or choose another place."
        )
    if error.errno == errno.EROFS:
        return f"{name}: {error.strerror}. A place that can be written was expected. Choose another one."
    return (
        f"{type(error).__name__}: {name}: {error.strerror or error}. A path that can be used was expected. "
        "Check it and its permissions."
    )


def _missing(package: str, command: str) -> str:
    """What brings a package: on a device its own extra, and not one that brings torch."""
    if package in _BASE:
        name = "pillow" if package == "PIL" else package
        return (
            f"TargetUnavailable: The package {name} is not installed. Every command needs it; it was expected to come "
            f"with lc2fer. Run: pip install {name}."
        )
    extras = _BRINGS.get(package, COMMANDS[command][1]) if command in _ON_DEVICES else COMMANDS[command][1]
    jetson = " On a Jetson: sudo apt install python3-opencv." if extras == "camera" else ""
    return (
        f"TargetUnavailable: The package {package} is not installed. This command needs the extras [{extras}]. "
        f"Run: pip install 'lc2fer[{extras}]'.{jetson}"
    )


def _number_in(error: BaseException) -> int | None:
    """The system's error number that Rust names in its text, as safetensors does."""
    found = re.search(r"\(os error ([0-9]+)\)", str(error))
    return None if found is None else int(found[1])


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


def faces() -> int:
    return run("faces")


def deploy() -> int:
    return run("deploy")

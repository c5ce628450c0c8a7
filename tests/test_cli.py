"""The commands' frame: exit codes, texts, the last line, and tracebacks only where they are asked for."""

from __future__ import annotations

import errno
import json
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from lc2fer import cli, errors
from lc2fer.leaving import Terminated
from lc2fer.text import print_json


class SafetensorError(Exception):
    """What safetensors makes of the system's errors."""


Command = Callable[[Any], None]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Makes lc2fer-train run that function instead."""

    def install(main: Any) -> None:
        module = types.ModuleType("lc2fer.training.command")
        module.main = main  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "lc2fer.training.command", module)

    return install


def raising(error: BaseException) -> Callable[[list[str]], Any]:
    def main(arguments: list[str]) -> Any:
        raise error

    return main


def wrapped(error: BaseException) -> RuntimeError:
    """As PyTorch's exporter does it."""
    outer = RuntimeError("Failed to export the model.")
    outer.__cause__ = error
    return outer


def test_the_last_line_is_the_document(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    def main(arguments: list[str]) -> dict[str, Any]:
        print("a table")
        return {"arguments": arguments, "accuracy": 0.5}

    command(main)
    assert cli.run("train", ["--config", "C6", "--debug"]) == 0
    out, err = capsys.readouterr()
    assert out == '{"arguments":["--config","C6"],"accuracy":0.5}\n'
    assert json.loads(out) == {"arguments": ["--config", "C6"], "accuracy": 0.5}
    assert err == "a table\n"


def test_on_a_terminal_the_table_and_the_document_stand_together(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command(lambda arguments: print("a table") or {"done": True})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert cli.run("train", []) == 0
    assert capsys.readouterr() == ('a table\n{"done":true}\n', "")


def test_a_program_that_reads_finds_only_json_also_after_an_error(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(arguments: list[str]) -> dict[str, Any]:
        print("a\x1bb")
        print_json('{"line":1}')
        raise errors.DataError("A. B. C.")

    command(main)
    before = sys.stdout
    assert cli.run("train", []) == 2
    assert sys.stdout is before
    assert capsys.readouterr() == ('{"line":1}\n', "a\\x1bb\nDataError: A. B. C.\n")


def test_help_can_be_paged(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run("predict", ["--help"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("usage: lc2fer-predict ")
    assert err == ""


def test_arguments_come_from_the_command_line(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command(lambda arguments: {"arguments": arguments})
    monkeypatch.setattr(sys, "argv", ["lc2fer-train", "--config", "C1"])
    assert cli.train() == 0
    assert capsys.readouterr().out == '{"arguments":["--config","C1"]}\n'


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (errors.UsageError("A. B. C."), 2, "UsageError: A. B. C."),
        (errors.DataError("A. B. C."), 2, "DataError: A. B. C."),
        (errors.ArtifactError("A. B. C."), 2, "ArtifactError: A. B. C."),
        (errors.TrainingError("A. B. C."), 2, "TrainingError: A. B. C."),
        (errors.ParityError("A. B. C."), 1, "ParityError: A. B. C."),
        (errors.TargetUnavailable("A. B. C."), 3, "TargetUnavailable: A. B. C."),
        (KeyboardInterrupt(), 130, "Interrupted. Finished files are kept; nothing half-written is left."),
        (Terminated(), 143, "Ended by SIGTERM. Finished files are kept; nothing half-written is left."),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            3,
            "TargetUnavailable: The package torch is not installed. This command needs the extras [train]. "
            "Run: pip install 'lc2fer[train]'.",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            2,
            "The disk is full. Room for the new files was expected. Free some space and run the command again.",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/out/C6.json"),
            2,
            "PermissionError: /out/C6.json: Permission denied. A path that can be used was expected. "
            "Check it and its permissions.",
        ),
        (
            OSError(errno.EIO, "Input/output error", "/out/C6.json"),
            2,
            "/out/C6.json: Input/output error. A disk that keeps what is written was expected; what was there before "
            "is kept. Look at the disk (dmesg), or choose another place.",
        ),
        (
            OSError(errno.EROFS, "Read-only file system"),
            2,
            "A file: Read-only file system. A place that can be written was expected. Choose another one.",
        ),
        (
            FileExistsError(errno.EEXIST, "File exists", "afile"),
            2,
            "afile is no folder. A folder, or a new name, was expected. Choose another place.",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/none/.cache"),
            2,
            "The cache /none/.cache/lc2fer cannot be written (/none/.cache). A folder of yours was expected. "
            "Set LC2FER_CACHE to one, as in LC2FER_CACHE=/var/tmp/lc2fer.",
        ),
        (
            MemoryError("Unable to allocate 114. MiB"),
            2,
            "Memory ran out (Unable to allocate 114. MiB). Room for what was asked for was expected. "
            "End other programs, or pass fewer or smaller images.",
        ),
        (
            MemoryError(),
            2,
            "Memory ran out. Room for what was asked for was expected. "
            "End other programs, or pass fewer or smaller images.",
        ),
        (
            errors.ArtifactError("ONNX Runtime refuses x.onnx: std::bad_alloc. A model was expected. Export it again."),
            2,
            "Memory ran out (std::bad_alloc). Room for what was asked for was expected. "
            "End other programs, or pass fewer or smaller images.",
        ),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory\nTraceback"),
            2,
            "Memory ran out (DefaultCPUAllocator). Room for what was asked for was expected. "
            "End other programs, or pass fewer or smaller images.",
        ),
        (
            RuntimeError("can't start new thread"),
            2,
            "Memory ran out (can't start new thread). Room for what was asked for was expected. "
            "End other programs, or pass fewer or smaller images.",
        ),
        (
            ImportError("libtorch_cpu.so: failed to map segment from shared object"),
            3,
            "TargetUnavailable: A package's library cannot be loaded (libtorch_cpu.so: failed to map segment from "
            "shared object). The libraries that it needs, and memory for them, were expected. Raise ulimit -v and end "
            "other programs, or install the package again.",
        ),
        (
            wrapped(ImportError("/lib/_lsprof.so: failed to map segment from shared object")),
            3,
            "TargetUnavailable: A package's library cannot be loaded (_lsprof.so: failed to map segment from shared "
            "object). The libraries that it needs, and memory for them, were expected. Raise ulimit -v and end other "
            "programs, or install the package again.",
        ),
        (
            wrapped(MemoryError()),
            2,
            "Memory ran out. Room for what was asked for was expected. "
            "End other programs, or pass fewer or smaller images.",
        ),
        (
            OSError(errno.ENOMEM, "Cannot allocate memory"),
            2,
            "Memory ran out ([Errno 12] Cannot allocate memory). Room for what was asked for was expected. "
            "End other programs, or pass fewer or smaller images.",
        ),
        (
            RuntimeError("basic_ios::clear: iostream error"),
            2,
            "A file could not be written (iostream error). A disk with room, and one that works, was expected; what "
            "was there before is kept. Look at it with df and dmesg, and run the command again.",
        ),
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            2,
            "The disk is full. Room for the new files was expected. Free some space and run the command again.",
        ),
        (
            SafetensorError("Error while serializing: I/O error: Permission denied (os error 13)"),
            2,
            "Permission denied: Error while serializing: I/O error: Permission denied (os error 13). "
            "A file was to be written. Check its folder.",
        ),
        (
            ImportError("cannot import name 'fused' from 'lc2fer'", name="lc2fer"),
            3,
            "TargetUnavailable: This installation lacks a part of lc2fer (cannot import name 'fused' from 'lc2fer'). "
            "The whole package was expected. Install it again.",
        ),
        (errors.DataError("a\x1bb\nc is missing. A. B."), 2, "DataError: a\\x1bb\\nc is missing. A. B."),
        (errors.DataError("Two files:", "a\nb", "c. A. B."), 2, "DataError: Two files:\na\\nb\nc. A. B."),
        (
            ZeroDivisionError("division by zero"),
            2,
            "Unexpected ZeroDivisionError: division by zero. This is a defect of lc2fer. "
            "Run the command again with --debug and report what it prints.",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_is_one_line_and_a_code(
    command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    text: str,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/none/.cache")
    monkeypatch.delenv("LC2FER_CACHE", raising=False)
    command(raising(error))
    assert cli.run("train", []) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", text + "\n")


def test_debug_shows_the_traceback_too(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    command(raising(errors.DataError("A. B. C.")))
    assert cli.run("train", ["--debug"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):\n")
    assert "in main\n    raise error\n" in err
    assert err.endswith("\nDataError: A. B. C.\n")


def test_a_number_that_json_lacks_is_a_defect(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    command(lambda arguments: {"accuracy": float("nan")})
    assert cli.run("train", []) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Unexpected ValueError: Out of range float values are not JSON compliant")


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (2, 2)])
def test_argparse_leaves_with_its_own_code(command: Command, code: Any, expected: int) -> None:
    command(raising(SystemExit(code)))
    assert cli.run("train", []) == expected


@pytest.mark.parametrize(
    ("outputs", "said"), [((1,), "The reader of this command's output went away.\n"), ((1, 2), "")]
)
def test_a_reader_that_went_away_is_no_traceback(python: Any, outputs: tuple[int, ...], said: str) -> None:
    done = python(
        f"""
import os, sys, types
reading, writing = os.pipe()
os.close(reading)
for output in {outputs}:
    os.dup2(writing, output)
sys.modules["lc2fer.training.command"] = module = types.ModuleType("lc2fer.training.command")
module.main = lambda arguments: dict(done=True)
from lc2fer import cli
sys.exit(cli.run("train", []))
"""
    )
    assert (done.returncode, done.stderr) == (141, said)


INTERRUPTED = """
import sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from lc2fer import cli
sys.exit(cli.predict())
"""


def test_ctrl_c_while_a_command_loads_is_one_line(python: Any) -> None:
    done = python(INTERRUPTED, "face.jpg")
    assert (done.returncode, done.stderr) == (
        130,
        "Interrupted. Finished files are kept; nothing half-written is left.\n",
    )


def test_an_installation_without_numpy_says_so(python: Any) -> None:
    done = python("import sys; from lc2fer import cli; sys.exit(cli.predict())", "face.jpg", block=["numpy"])
    assert done.returncode == 3
    assert done.stderr.startswith("TargetUnavailable: The package numpy is not installed. Every command needs it;")


@pytest.mark.parametrize("name", ["train", "export", "bench", "predict"])
def test_each_command_has_its_function(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert name in cli.COMMANDS
    monkeypatch.setattr(cli, "run", lambda command: {"train": 10, "export": 11, "bench": 12, "predict": 13}[command])
    assert getattr(cli, name)() == 10 + ["train", "export", "bench", "predict"].index(name)


def test_a_missing_package_is_told_before_anything_runs(python: Any) -> None:
    done = python(
        "from lc2fer import cli; sys.exit(cli.run('train', ['--config', 'C6', '--data', 'x', '--out', 'y']))",
        block=["torch"],
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "TargetUnavailable: The package torch is not installed. This command needs the extras [train]. "
        "Run: pip install 'lc2fer[train]'.\n"
    )


@pytest.mark.parametrize(("package", "name"), [("tabulate", "tabulate"), ("PIL.Image", "pillow"), ("numpy", "numpy")])
def test_what_every_installation_has_is_not_an_extra(
    package: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = types.ModuleType(cli.COMMANDS["deploy"][0])
    module.main = raising(ModuleNotFoundError(f"No module named {package!r}", name=package))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, cli.COMMANDS["deploy"][0], module)
    assert cli.run("deploy", []) == 3
    assert capsys.readouterr().err == (
        f"TargetUnavailable: The package {name} is not installed. Every command needs it; it was expected to come with "
        f"lc2fer. Run: pip install {name}.\n"
    )


@pytest.mark.parametrize(
    ("command", "package", "text"),
    [
        ("deploy", "cv2", "[camera]. Run: pip install 'lc2fer[camera]'. On a Jetson: sudo apt install python3-opencv."),
        ("deploy", "onnxruntime", "[cpu]. Run: pip install 'lc2fer[cpu]'."),
        ("predict", "onnxruntime.capi", "[cpu]. Run: pip install 'lc2fer[cpu]'."),
        ("deploy", "uvicorn", "[web]. Run: pip install 'lc2fer[web]'."),
        ("deploy", "torch", "[export]. Run: pip install 'lc2fer[export]'."),
        ("export", "onnxruntime", "[export,openvino]. Run: pip install 'lc2fer[export,openvino]'."),
    ],
)
def test_a_device_is_told_its_own_extra(
    command: str, package: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = types.ModuleType(cli.COMMANDS[command][0])
    module.main = raising(ModuleNotFoundError(f"No module named {package!r}", name=package))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, cli.COMMANDS[command][0], module)
    assert cli.run(command, []) == 3
    assert capsys.readouterr().err == (
        f"TargetUnavailable: The package {package.split('.')[0]} is not installed. "
        f"This command needs the extras {text}\n"
    )

"""lc2fer completion: files that make a shell complete the commands, their verbs and flags."""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lc2fer import artifact as artifacts
from lc2fer import cli
from lc2fer.arguments import a_path
from lc2fer.errors import TargetUnavailable, UsageError

# Shell -> what its files are called, before and after the command's name.
SHELLS = MappingProxyType({"bash": ("", ""), "zsh": ("_", "")})


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(
        prog="lc2fer completion", description="Write files that make a shell complete lc2fer and its old names."
    )
    parser.add_argument("shell", choices=tuple(SHELLS), help="the shell to complete for")
    parser.add_argument(
        "--to",
        type=a_path,
        metavar="DIR",
        help="default: where bash-completion looks, ~/.local/share/bash-completion/completions; for zsh ~/.zfunc",
    )
    return parser


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command; returns the last line's document."""
    given = parser().parse_args(arguments)
    folder: Path = given.to or _usual(given.shell)
    _check(folder)
    before, after = SHELLS[given.shell]
    written = []
    for parsed in (everything(), *map(cli.parser_of, cli.SCRIPTS)):
        path = folder / f"{before}{parsed.prog}{after}"
        artifacts.write_text(path, script(parsed, given.shell))
        written.append(str(path))
    if given.shell == "zsh":
        print(f"In ~/.zshrc, before compinit: fpath=({folder} $fpath)")
    print("A new shell completes: lc2fer <Tab>")
    return {"shell": given.shell, "files": written}


def _check(folder: Path) -> None:
    """Make the folder; raises UsageError where nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"Nothing can be written to {folder} ({error.strerror}). A folder of yours was expected. Pass one as --to."
        ) from None


def script(parsed: argparse.ArgumentParser, shell: str) -> str:
    """What a shell runs to complete that command. Raises TargetUnavailable without the package shtab."""
    try:
        shtab: Any = importlib.import_module("shtab")
    except ModuleNotFoundError:
        raise TargetUnavailable(
            "The package shtab is not installed. It writes what shells run. Run: pip install 'lc2fer[completion]'."
        ) from None
    return str(shtab.complete(parsed, shell=shell))


def everything() -> argparse.ArgumentParser:
    """lc2fer as one parser: each command is a verb of it."""
    whole = argparse.ArgumentParser(prog="lc2fer")
    for flag in ("--version", "--quiet", "--debug"):
        whole.add_argument(flag, action="store_true", help=cli.FLAGS[flag])
    verbs = whole.add_subparsers()
    for command, says in cli.SAYS.items():
        verbs.add_parser(command, parents=[cli.parser_of(command)], add_help=False, help=says)
    return whole


def _usual(shell: str) -> Path:
    data = os.environ.get("XDG_DATA_HOME")
    try:
        if shell == "zsh":
            return Path.home() / ".zfunc"
        return (Path(data) if data else Path.home() / ".local" / "share") / "bash-completion" / "completions"
    except RuntimeError:
        raise UsageError(
            "This user has no home directory. A folder where the shell looks was expected. Pass one as --to."
        ) from None

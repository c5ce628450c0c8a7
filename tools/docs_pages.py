"""A hook of MkDocs: writes the pages that follow from the sources; links that leave docs/ become names."""

from __future__ import annotations

import argparse
import importlib
import re
from typing import Any

from mkdocs.structure.files import File, Files

from lc2fer import cli, errors, targets

# [C6](../lc2fer/weights/C6.md): in the checkout, not on the site
_OUTSIDE = re.compile(r"\[([^\[\]]+)\]\(\.\./([^)]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    for name, text in (("commands.md", commands()), ("targets.md", target_table()), ("errors.md", error_table())):
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """A file outside docs/ has no page: its name stays, as code."""
    return _OUTSIDE.sub(lambda found: f"{found[1]} (`{found[2]}`)", markdown)


def commands() -> str:
    """Every command's help, as its parser says it."""
    parts = ["# Commands", "Each is also `lc2fer NAME`. What follows is what `--help` prints.", _flags()]
    verbs = importlib.import_module("lc2fer.benchmarks.command").VERBS  # of lc2fer-bench, in modules of their own
    for command in cli.COMMANDS:
        parts += _helped(cli.parser_of(command))
        if command == "bench":
            for module in verbs.values():
                parts += _helped(importlib.import_module(module).parser())
    return "\n\n".join(parts) + "\n"


def _flags() -> str:
    lines = "\n".join(f"- `{flag}`: {says}" for flag, says in cli.FLAGS.items())
    return f"Every command takes:\n\n{lines}"


def _helped(parser: argparse.ArgumentParser) -> list[str]:
    parts = [f"## {parser.prog}", f"```text\n{parser.format_help().strip()}\n```"]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                parts += [f"### {verb.prog}", f"```text\n{verb.format_help().strip()}\n```"]
    return parts


def target_table() -> str:
    """Every target with its engine, and the extra that brings it."""
    lines = ["| target | engine | extra |", "| --- | --- | --- |"]
    for name, row in targets.TARGETS.items():
        kind = targets.KINDS[row.kind]
        extra = "an environment of its own" if kind.extra is None else f"`{kind.extra}`"
        lines.append(f"| `{name}` | {kind.engine} | {extra} |")
    return "# Targets\n\n" + "\n".join(lines) + "\n"


def error_table() -> str:
    """The kinds of errors, and what each exit code means."""
    codes = (
        (0, "done"),
        (1, "a gate or a proof failed"),
        (2, "a wrong argument or input"),
        (3, "not available on this machine"),
        (4, "a gate that is undecided"),
        (130, "interrupted"),
    )
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.Lc2ferError)]
    lines = [
        "# Errors",
        "An error says what happened, what was expected, and what to do; `--debug` adds the traceback.",
    ]
    lines.append("\n".join(["| exit code | |", "| --: | --- |", *(f"| {code} | {says} |" for code, says in codes)]))
    table = ["| error | exit code | what it is |", "| --- | --: | --- |"]
    table += [f"| `{one.__name__}` | {one.exit_code} | {(one.__doc__ or '').splitlines()[0]} |" for one in kinds]
    return "\n\n".join([*lines, "\n".join(table)]) + "\n"

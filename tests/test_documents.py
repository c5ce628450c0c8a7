"""README and docs/: every command that they show is one that its parser takes, and the site has every page."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from lc2fer import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_COMMAND = re.compile(r"^(?:\.venv/bin/)?lc2fer[ -]([a-z]+)\b(.*)$")
# What stands for what a reader has; nothing is run, so each is only a word.
_WORDS = {"MODEL": "m.onnx", "RAFDB": "faces", "FACES": "faces", "DIR": "faces", "FILE": "m.onnx", "...": "x"}


def commands(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The lc2fer commands of a page's indented and fenced blocks, continued lines joined, comments left out."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if not line.startswith("    "):
            continue
        words = line.split("#")[0].split("&&")[0].split("|")[0].split(" > ")[0].strip()
        found = _COMMAND.match(words)
        if found is not None and not any(sign in words for sign in ("[", "<", "...", "*", "$(", "{")):
            yield found[1], [_WORDS.get(word, word) for word in shlex.split(found[2])]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_are_taken_by_their_parsers(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for command, arguments in commands(path):
        verbs = importlib.import_module("lc2fer.benchmarks.command").VERBS if command == "bench" else {}
        if arguments and arguments[0] in verbs:
            parser = importlib.import_module(verbs[arguments[0]]).parser()
            arguments = arguments[1:]
        else:
            parser = cli.parser_of(command)
        try:
            parser.parse_args([word for word in arguments if word not in ("--debug", "--quiet")])
        except SystemExit as leaving:
            if leaving.code:
                wrong.append(f"{command} {shlex.join(arguments)}: {capsys.readouterr().err.splitlines()[-1]}")
    assert wrong == []


def test_readme_shows_commands_that_are_looked_at() -> None:
    assert len(list(commands(ROOT / "README.md"))) >= 9


def test_the_site_has_every_page() -> None:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r": ([a-z0-9-]+\.md)$", settings, re.MULTILINE))
    generated = {"commands.md", "targets.md", "errors.md"}
    assert named == {path.name for path in PAGES[1:]} | generated

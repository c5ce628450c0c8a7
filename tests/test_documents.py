"""README and docs/: every command is taken by its parser, and is run here or by tests/every_command.py, or not: why."""

from __future__ import annotations

import importlib
import re
import runpy
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import documents
import pytest
from documents import GATE, LONG, NEVER, PAGES, PYTHON, ROOT

from lc2fer import cli

_COMMAND = re.compile(r"^(?:\.venv/bin/)?lc2fer[ -]([a-z]+)\b(.*)$")
# What stands for what a reader has; nothing is run, so each is only a word.
_WORDS = {"MODEL": "m.onnx", "RAFDB": "faces", "FACES": "faces", "DIR": "faces", "FILE": "m.onnx", "...": "x"}


def commands(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The lc2fer commands of a page, without what they are piped to."""
    for line in documents.lines_of(path):
        words = line.text.split("&&")[0].split("|")[0].split(" > ")[0].strip()
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
    assert named == {path.name for path in PAGES if path.parent.name == "docs"} | generated


def test_each_rule_is_of_a_command_that_is_shown() -> None:
    rules = documents.rules()
    lines = [line for page in PAGES for line in documents.lines_of(page)]
    used = {documents.rule_of(line, rules) for line in lines}
    assert [rule.begins for rule in rules if rule not in used] == []
    assert all(rule.why.endswith(tuple("abcdefghijklmnopqrstuvwxyz")) for rule in rules if rule.how == NEVER)
    wrong = [rule.begins for rule in rules if rule.instead[0] and not any(rule.instead[0] in one.text for one in lines)]
    assert wrong == []


def test_more_commands_are_run_than_not() -> None:
    """`python tests/every_command.py --list` has those that are not, each with its reason."""
    rules = documents.rules()
    found = [documents.rule_of(line, rules).how for page in PAGES for line in documents.lines_of(page)]
    assert found.count(GATE) >= 12
    assert found.count(NEVER) < found.count(GATE) + found.count(LONG)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, photograph: Callable[[str], Path]) -> Path:
    """A folder with what the pages' commands read."""
    pytest.importorskip("cv2")
    folder = tmp_path_factory.mktemp("reader")
    documents.prepare(folder, [photograph("astronaut"), photograph("grace_hopper")], faces=8)
    return folder


RUN = {
    page: found
    for page in PAGES
    if (found := [line for line in documents.lines_of(page) if documents.rule_of(line, documents.rules()).how == GATE])
}


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_what_is_quick_runs(
    page: Path, reader: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for path in reader.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    rules = documents.rules()
    for line in RUN[page]:
        if line.language == PYTHON:
            (tmp_path / "block.py").write_text(line.text, encoding="utf-8")
            capsys.readouterr()
            runpy.run_path("block.py")
            assert re.match(r"happiness 0\.9\d+ \(", capsys.readouterr().out), line.place
            continue
        rule = documents.rule_of(line, rules)
        found = _COMMAND.match(rule.command(line.text))
        assert found is not None, f"{line.place} is no command of lc2fer, and has no rule in tests/documents.toml"
        code = cli.main([found[1], *shlex.split(found[2])])
        assert code in rule.exit_codes, f"{line.place}: {capsys.readouterr().err}"

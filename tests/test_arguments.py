"""Flags, over all commands."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lc2fer import cli
from lc2fer.arguments import Joined, a_path
from lc2fer.training import command as training


def parsers() -> Iterator[argparse.ArgumentParser]:
    """Every command's, and those of their verbs."""
    verbs = importlib.import_module("lc2fer.benchmarks.command").VERBS.values()
    found = [*map(cli.parser_of, cli.COMMANDS), *(importlib.import_module(module).parser() for module in verbs)]
    while found:
        parser = found.pop()
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                found.extend(action.choices.values())


def test_a_list_that_is_given_twice_is_joined() -> None:
    lists = [
        (parser.prog, action)
        for parser in parsers()
        for action in parser._actions
        if action.option_strings and action.nargs in ("+", "*")
    ]
    assert len(lists) >= 12
    assert [(name, action.dest) for name, action in lists if not isinstance(action, Joined)] == []


def test_the_data_sets_of_two_flags_are_both_trained_on() -> None:
    given = ["--config", "C8", "--out", "o", "--data", "a", "--data", "b", "c", "--synonyms", "x=y", "--synonyms", "z="]
    found = training.parser().parse_args(given)
    assert found.data == ["a", "b", "c"]
    assert found.synonyms == ["x=y", "z="]
    assert training.parser().parse_args(given[:6]).synonyms == ()
    bench = cli.parser_of("bench")
    assert bench.parse_args(["--configs", "C8", "--configs", "c5"]).configs == ["C8", "C5"]
    assert bench.parse_args([]).configs == ["C6"]
    assert bench.parse_args(["--peers"]).peers == []


def test_no_path_may_be_empty_in_any_command(capsys: pytest.CaptureFixture[str]) -> None:
    found = [(parser.prog, action) for parser in parsers() for action in parser._actions]
    assert len([action for _, action in found if action.type is a_path]) >= 50
    assert [(name, action.dest) for name, action in found if action.type is Path] == []
    assert cli.run("deploy", ["unpack", "C6.bundle", "--to", ""]) == 2
    said = "UsageError: '' is no path. Expected a file or a folder. Name one; . is the folder that you are in.\n"
    assert capsys.readouterr() == ("", said)

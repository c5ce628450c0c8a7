"""Names from outside on both outputs: nothing that a terminal obeys, and nothing lost for an encoding that lacks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from lc2fer.text import printable, safe_outputs

NAMED = """
import sys, types
from lc2fer import cli
name = cli.COMMANDS["predict"][0]
sys.modules[name] = module = types.ModuleType(name)
def main(arguments):
    for name in arguments:
        print("picture", name)
        print("said", name, file=sys.stderr)
    return {"pictures": arguments}
module.main = main
sys.exit(cli.run("predict"))
"""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("face.jpg", "face.jpg"),
        ("caf\u00e9 \u8868\u60c5 \U0001f600.jpg", "caf\u00e9 \u8868\u60c5 \U0001f600.jpg"),
        ("\x1b]0;title\x07x", "\\x1b]0;title\\x07x"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("caf\udce9", "caf\\udce9"),
        ("gpj.\u202eexe\u200b", "gpj.\\u202eexe\\u200b"),
    ],
)
def test_a_name_is_one_line_without_control_characters(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("encoding", "name", "shown"),
    [
        ("utf-8", "caf\udce9.jpg", "caf\\udce9.jpg"),
        ("utf-8", "caf\u00e9.jpg", "caf\u00e9.jpg"),
        ("ascii", "caf\u00e9 \u8868.jpg", "caf\\xe9 \\u8868.jpg"),
        ("latin-1", "caf\u00e9 \u8868.jpg", "caf\u00e9 \\u8868.jpg"),
        ("utf-8", "x\x1b[31m.jpg", "x\\x1b[31m.jpg"),
    ],
)
def test_a_command_answers_whatever_its_pictures_are_called(
    python: Any, monkeypatch: pytest.MonkeyPatch, encoding: str, name: str, shown: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    monkeypatch.setenv("PYTHONUTF8", "0")
    program = f"import os, sys; sys.argv = ['x', os.fsdecode({os.fsencode(name)!r})]\n{NAMED}"
    if encoding != "utf-8":
        program = program.replace("os.fsdecode", "").replace(repr(os.fsencode(name)), ascii(name))
    import subprocess

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"picture {shown}" in done.stderr.decode(encoding).splitlines()
    assert json.loads(done.stdout.decode(encoding))["pictures"] == [name]
    assert b"said " in done.stderr


def test_the_output_is_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    with safe_outputs():
        print("a\x1bb\n\tc")
        assert sys.stdout.isatty() is before.isatty()
    assert sys.stdout is before
    assert capsys.readouterr().out == "a\\x1bb\n\tc\n"


def test_a_command_that_a_service_starts_without_outputs_ends_as_any() -> None:
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", NAMED, "a.jpg"]
    assert subprocess.run(closed, check=False).returncode == 0

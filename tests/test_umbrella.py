"""lc2fer COMMAND: one name for all commands, --version, --quiet, doctor, completion, and what comes next."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import lc2fer
from lc2fer import cli, extras, next_steps, text
from lc2fer.program import completion


def test_without_a_command_it_lists_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"]):
        assert cli.main(arguments) == 0
        out = capsys.readouterr().out
        assert out.startswith("usage: lc2fer [--version] [--quiet] [--debug] COMMAND ...\n")
        assert all(f"\n  {command} " in out for command in cli.COMMANDS)
    assert set(cli.SAYS) == set(cli.COMMANDS)


def test_an_unknown_command_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, word in ((["prdict"], "prdict"), (["--loud", "predict"], "--loud")):
        assert cli.main(arguments) == 2
        assert capsys.readouterr().err.startswith(
            f"UsageError: {word} is no command of lc2fer. Expected one of predict,"
        )


def test_the_version_is_the_distribution_s(capsys: pytest.CaptureFixture[str]) -> None:
    for run in (lambda: cli.main(["--version"]), lambda: cli.run("predict", ["--version"])):
        assert run() == 0
        assert capsys.readouterr().out == f"lc2fer {metadata.version('lc2fer')}\n"
    assert lc2fer.__version__ == metadata.version("lc2fer")
    with pytest.raises(AttributeError, match="has no attribute 'other'"):
        _ = lc2fer.other  # type: ignore[attr-defined]


def test_each_command_and_verb_has_a_parser_that_says_what_it_does() -> None:
    for command in cli.COMMANDS:
        parser = cli.parser_of(command)
        assert parser.prog in (f"lc2fer-{command}", f"lc2fer {command}")
        assert parser.description
        for one in _parsers(parser):
            for action in one._actions:
                verbs = getattr(action, "_choices_actions", [])
                assert action.help or verbs, (one.prog, action.option_strings)
                assert all(verb.help for verb in verbs), one.prog


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """It and those of its verbs."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from _parsers(verb)


def test_quiet_silences_remarks_and_nothing_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import types

    def main(arguments: list[str]) -> dict[str, Any]:
        text.remark("remark")
        text.stderr_console().print("progress")
        print("table")
        return {"arguments": arguments}

    module = types.ModuleType("lc2fer.training.command")
    module.main = main  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "lc2fer.training.command", module)
    assert cli.main(["train", "--config", "C6", "--quiet"]) == 0
    assert capsys.readouterr() == ('{"arguments":["--config","C6"]}\n', "table\n")
    assert cli.main(["train"]) == 0
    assert capsys.readouterr() == ('{"arguments":[]}\n', "remark\nprogress\ntable\n")


def test_doctor_names_each_extra_s_packages_and_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = metadata.version

    def without_scipy(name: str) -> str:
        if name == "scipy":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without_scipy)
    assert cli.main(["doctor"]) == 0
    out, err = capsys.readouterr()
    table, document = err.splitlines(), json.loads(out)
    assert document["lc2fer"] == version("lc2fer")
    assert document["extras"]["bench"]["missing"] == ["scipy"]
    assert document["extras"]["bench"]["found"]["psutil"] == version("psutil")
    line = next(line for line in table if line.startswith("bench "))
    assert line.split()[1] == "-"
    assert line.endswith("pip install 'lc2fer[bench]'")


def test_doctor_knows_every_extra_that_a_user_would_want(pyproject: dict[str, Any]) -> None:
    declared = set(pyproject["project"]["optional-dependencies"])
    assert set(extras.PURPOSES) == declared - {"jetson", "all", "fuzz", "dev", "docs"}


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_commands_and_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert cli.main(["completion", "bash", "--to", str(tmp_path)]) == 0
    written = json.loads(capsys.readouterr().out.splitlines()[-1])["files"]
    assert [Path(path).name for path in written] == ["lc2fer", *(f"lc2fer-{name}" for name in cli.SCRIPTS)]
    for words, wanted in (("lc2fer pre", "predict"), ("lc2fer train --ini", "--init"), ("lc2fer deploy bui", "build")):
        program = (
            f"source {tmp_path}/lc2fer; COMP_WORDS=({words}); COMP_CWORD={len(words.split()) - 1}; "
            "$(complete -p lc2fer | sed 's/.*-F \\([^ ]*\\).*/\\1/'); echo ${COMPREPLY[@]}"
        )
        done = subprocess.run(["bash", "-c", program], capture_output=True, text=True)
        assert wanted in done.stdout.split(), (words, done.stdout, done.stderr)


def test_completion_says_where_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert cli.main(["completion", "bash", "--to", str(tmp_path / "file" / "below")]) == 2
    assert capsys.readouterr().err == (
        f"UsageError: Nothing can be written to {tmp_path / 'file' / 'below'} (Not a directory). A folder of yours was "
        "expected. Pass one as --to.\n"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_asks_a_user_without_a_home_where_to(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    pytest.importorskip("shtab")
    monkeypatch.setattr(Path, "home", nobody_home)
    for name in ("LC2FER_CACHE", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cli.main(["completion", shell]) == 2
    assert capsys.readouterr().err == (
        "UsageError: This user has no home directory. A folder where the shell looks was expected. Pass one as --to.\n"
    )
    assert cli.main(["completion", shell, "--to", str(tmp_path)]) == 0
    assert cli.run("bench", ["packages", "--help"]) == 0


def test_zsh_s_files_are_called_as_zsh_wants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert cli.main(["completion", "zsh", "--to", str(tmp_path)]) == 0
    assert (tmp_path / "_lc2fer").read_text(encoding="utf-8").startswith("#compdef lc2fer")
    assert completion.everything().prog == "lc2fer"


@pytest.mark.parametrize(
    ("command", "arguments", "document", "wanted"),
    [
        (
            "train",
            ["--data", "my faces"],
            {"artifact": "runs/C6.safetensors"},
            "lc2fer export --config C6 --target ort-int8-fused --weights runs/C6.safetensors --data 'my faces'",
        ),
        (
            "train",
            ["--data=my faces", "--synonyms", "joy=happy", "calm=", "--labels-from", "0", "--epochs", "3"],
            {"artifact": "runs/C6.safetensors"},
            "lc2fer export --config C6 --target ort-int8-fused --weights runs/C6.safetensors --data 'my faces' "
            "--labels-from 0 --synonyms joy=happy calm=",
        ),
        (
            "data",
            ["check", "my faces", "--synonyms", "joy="],
            {"data": "my faces", "flags": ["--synonyms", "joy="]},
            "lc2fer train --config C6 --data 'my faces' --synonyms joy= --init bundled --recipe finetune --out runs/c6",
        ),
        ("export", [], {"artifact": "out/C6 a.onnx"}, "lc2fer predict PHOTO --model 'out/C6 a.onnx'"),
        ("bench", ["gate", "r.json"], {"report": "r.json"}, None),
        (
            "faces",
            [],
            {"out": "cut", "faces": 3},
            "lc2fer train --config C6 --data cut --init bundled --recipe finetune --out runs/c6",
        ),
        ("faces", [], {"out": "cut", "faces": 0}, None),
        (
            "deploy",
            ["bundle"],
            {"bundle": "out/C6.bundle"},
            "copy out/C6.bundle to the device, and there: lc2fer-deploy build C6.bundle",
        ),
        (
            "deploy",
            ["bundle"],
            {"bundle": "my out/C6 b.bundle"},
            "copy 'my out/C6 b.bundle' to the device, and there: lc2fer-deploy build 'C6 b.bundle'",
        ),
        ("deploy", ["build"], {"model": "C6/a.onnx"}, "lc2fer deploy run C6/a.onnx --source usb:0 --web"),
        ("predict", [], {"faces": 1}, None),
    ],
)
def test_what_comes_next(command: str, arguments: list[str], document: dict[str, Any], wanted: str | None) -> None:
    assert next_steps.after(command, arguments, document) == wanted
    if wanted is not None and wanted.startswith("lc2fer "):  # and its parser takes it
        import shlex

        verb, *rest = shlex.split(wanted)[1:]
        cli.parser_of(verb).parse_args(rest)


def test_bench_s_page_comes_next(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert next_steps.after("bench", [], {"report": str(report)}) is None
    report.with_suffix(".html").touch()
    wanted = f"open {tmp_path}/report.html, or run: lc2fer bench gate {report}"
    assert next_steps.after("bench", [], {"report": str(report)}) == wanted

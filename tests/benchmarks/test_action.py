"""The action's steps, run as a runner does: its script by bash, with the inputs as environment."""

import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile

import pytest
from lc2fer.benchmarks.report import document as reports

from lc2fer import cli

# Measuring is replaced, for it takes minutes: a report that was prepared is put where the run would leave it.
COMMAND = """#!{python}
import os, pathlib, shutil, sys
from lc2fer.cli import bench
if sys.argv[1] == "gate":
    sys.exit(bench())
pathlib.Path(os.environ["SEEN"]).write_text("\\n".join(sys.argv[1:]))
data = sys.argv[sys.argv.index("--data") + 1]
if data != "synthetic":
    pathlib.Path(os.environ["SEEN"] + ".data").write_text(" ".join(sorted(os.listdir(data))))
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir()
shutil.copy(os.environ["PREPARED"], out / "report.json")
"""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


@pytest.fixture
def act(checkout, planted, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "lc2fer-bench"
    command.write_text(COMMAND.format(python=sys.executable))
    command.chmod(command.stat().st_mode | stat.S_IXUSR)

    def run(report, **inputs):
        reports.write(tmp_path / "prepared.json", report)
        environment = {
            **os.environ,
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "PREPARED": str(tmp_path / "prepared.json"),
            "SEEN": str(tmp_path / "seen"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
            "GATE_OUT": str(tmp_path / "out"),
            **{f"GATE_{name.upper()}": value for name, value in inputs.items()},
        }
        return subprocess.run(
            ["bash", str(checkout / ".github" / "accuracy-gate.sh")], env=environment, capture_output=True, text=True
        )

    return run


def test_a_green_run(act, planted, tmp_path):
    done = act(planted(onnx_int8=(20, 14)), data="", limit="", rules="", weights="", baseline="", data_url="")
    assert done.returncode == 0, done.stderr
    head, _, *verdicts, _, last = done.stderr.splitlines()
    assert [line.split()[0] for line in (head, *verdicts)] == ["state", *["pass"] * len(verdicts)]
    assert last.startswith("The gate passed: 0 fail")
    assert "The gate passed" in (tmp_path / "summary.md").read_text()
    seen = (tmp_path / "seen").read_text().splitlines()
    assert seen[:2] == ["--configs", "C6"]
    assert seen[seen.index("--data") + 1] == "synthetic"
    assert "--limit" not in seen


def test_a_red_run(act, planted, tmp_path):
    done = act(planted(onnx_int8=(120, 28)), configs="C5 C6", limit="99")
    assert done.returncode == 1
    assert re.search(r"^fail +C6 +onnx-int8 +accuracy against parent +3\.00 points lost", done.stderr, re.MULTILINE)
    assert "| **fail** | C6" in (tmp_path / "summary.md").read_text()
    assert "--configs\nC5\nC6\n" in (tmp_path / "seen").read_text()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_private_data_comes_by_a_secret_address(act, planted, tmp_path):
    (tmp_path / "faces" / "train").mkdir(parents=True)
    with tarfile.open(tmp_path / "secret.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "faces" / "train", "train")
    done = act(planted(onnx_int8=(0, 0)), data_url=(tmp_path / "secret.tar.gz").as_uri())
    assert done.returncode == 0
    assert (tmp_path / "seen.data").read_text() == "train"
    assert "secret" not in done.stdout + done.stderr + (tmp_path / "seen").read_text()


@pytest.mark.every
def test_nothing_is_replaced(checkout, noise_faces, small_weights, tmp_path, capsys):
    """The same script with the real command: it makes and measures models and judges them; then by other rules."""
    environment = {
        **os.environ,
        "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}",
        "GATE_CONFIGS": "C8",
        "GATE_TARGETS": "torch onnx-fp32",
        "GATE_DATA": str(noise_faces),
        "GATE_WEIGHTS": str(small_weights),
        "GATE_LIMIT": "14",
        "GATE_OUT": str(tmp_path / "out"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }
    script = str(checkout / ".github" / "accuracy-gate.sh")
    undecided = subprocess.run(["bash", script], env=environment, capture_output=True, text=True)
    assert undecided.returncode == 4, undecided.stderr
    assert re.search(r"^pass +C8 +onnx-fp32 +agreement +1, at least 0\.999 expected$", undecided.stderr, re.MULTILINE)
    rules = (checkout / "benchmarks" / "gates.toml").read_text().replace('= "undecided"', '= "warn"')
    (tmp_path / "warn.toml").write_text(rules)  # fourteen images decide nothing
    (tmp_path / "rules.toml").write_text('version = 1\n[[floor]]\nfigure = "accuracy"\nat_least = 0.99\n')
    report = tmp_path / "out" / "report.json"
    summary = tmp_path / "summary.md"
    for name, code in (("warn", 0), ("rules", 1)):  # of a network that was never trained
        given = [str(report), "--rules", str(tmp_path / f"{name}.toml"), "--summary", str(summary)]
        assert cli.run("bench", ["gate", *given]) == code
    assert "The gate FAILED: 2 fail, 0 inconclusive, 0 skipped, 0 pass." in capsys.readouterr().err
    heads = [line for line in summary.read_text().splitlines() if line.startswith("### ")]
    assert [head.split(":")[1] for head in heads] == [" The gate is undecided", " The gate passed", " The gate FAILED"]


def test_every_input_reaches_the_script(checkout):
    action = (checkout / "action.yml").read_text()
    script = (checkout / ".github" / "accuracy-gate.sh").read_text()
    inputs = re.findall(r"^  ([a-z-]+):\n    description", action, re.MULTILINE)
    assert len(inputs) == 9
    for name in inputs:
        variable = f"GATE_{name.upper().replace('-', '_')}"
        assert f"{variable}: ${{{{ inputs.{name} }}}}" in action
        assert f"${{{variable}:-" in script

"""The source itself: nothing that runs what it reads, no shell, no pickle, no name that another could have made."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("lc2fer", "export", "benchmarks", "deploy", "tools")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle", "pty", "commands"}
CALLS = {  # what runs text, or reads what runs
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "os.execl",
    "os.execlp",
    "os.spawnl",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "tempfile.mktemp",
    "torch.load",
    "torch.save",
    "torch.hub.load",
    "yaml.load",
    "tarfile.extractall",
    "shutil.unpack_archive",
    "xml.dom.minidom.parse",
    "ssl._create_unverified_context",
}
METHODS = {"extractall", "loads_pickle"}  # of archives: names and links are checked one by one
FORBIDDEN = {("shell", True), ("allow_pickle", True), ("weights_only", False), ("verify", False), ("autoescape", False)}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def found(tree: ast.AST) -> list[str]:
    wrong = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        wrong += [f"line {node.lineno}: import {name}" for name in names if name.split(".")[0] in MODULES]  # type: ignore[attr-defined]
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        if name in CALLS or (isinstance(node.func, ast.Attribute) and node.func.attr in METHODS):
            wrong.append(f"line {node.lineno}: {name}()")
        for keyword in node.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            if (keyword.arg, value) in FORBIDDEN:
                wrong.append(f"line {node.lineno}: {name}({keyword.arg}={value})")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_is_read_is_run(path: Path) -> None:
    assert found(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "eval(x)",
        "os.system('ls')",
        "subprocess.run(x, shell=True)",
        "np.load(x, allow_pickle=True)",
        "torch.load(x)",
        "tar.extractall('.')",
    ],
)
def test_the_rule_finds_what_it_is_for(text: str) -> None:
    assert len(found(ast.parse(text))) == 1


def test_programs_are_started_by_a_list_of_words() -> None:
    """Never by one string that a shell would take apart."""
    texts = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and dotted(node.func) in {"subprocess.run", "subprocess.Popen"}:
                first = node.args[0] if node.args else None
                if isinstance(first, (ast.JoinedStr, ast.Constant)):
                    texts.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert texts == []


def test_scripts_quote_what_they_are_given() -> None:
    """No eval, no download into a shell; shellcheck does the rest in tests/deploy/test_scripts.py."""
    for path in (ROOT / "deploy" / "scripts").glob("*.sh"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
        assert [line for line in lines if re.search(r"\beval\b|curl .*\| *(ba)?sh", line)] == []
        assert "set -euo pipefail" in lines


def test_the_page_has_no_script_of_its_own_in_the_document() -> None:
    page = (ROOT / "deploy" / "camera" / "page" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"<[^>]+\son\w+\s*=", page) == []
    assert re.findall(r"<[^>]+\sstyle\s*=", page) == []
    assert re.findall(r"javascript:", page) == []
    for path in (ROOT / "deploy" / "camera" / "page").glob("*.js"):
        script = path.read_text(encoding="utf-8")
        assert (
            re.findall(r"\b(eval|Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write)\b", script) == []
        ), path

"""The packages that others install for this task: what each is, its environment, and one question to it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lc2fer.text import remark

_INSTALL_S, _ASK_S = 1800, 3600
_LAST = 300  # characters of what a failed command said


@dataclass(frozen=True)
class Package:
    """What is installed, and how it is asked: `asked` is an adapter of ask_python.py or ask_node.mjs."""

    name: str
    asked: str
    python: tuple[str, ...] = ()  # requirements; none: it is npm's
    node: tuple[str, ...] = ()


_WASM = ("@tensorflow/tfjs@4.22.0", "@tensorflow/tfjs-backend-wasm@4.22.0")
PACKAGES = (
    Package("fer 25.10.3", "fer", python=("fer==25.10.3",)),
    Package("facex 1.1.0", "facex", python=("facex==1.1.0",)),
    Package("PyEmotion 1.0.0", "PyEmotion", python=("PyEmotion==1.0.0",)),
    Package("@vladmandic/face-api 1.7.15", "face-api", node=("@vladmandic/face-api@1.7.15", *_WASM)),
    Package("@vladmandic/human 3.3.6", "human", node=("@vladmandic/human@3.3.6", *_WASM)),
)
BY_NAME: Mapping[str, Package] = MappingProxyType({each.asked: each for each in PACKAGES})


class Failed(Exception):
    """Why a package has no row, in a clause."""


def installed(package: Package, place: Path) -> None:
    """Make the environment unless it is there whole; raises Failed where it cannot be made."""
    mark = place / ".installed"
    wanted = " ".join(package.python or package.node)
    if mark.is_file() and mark.read_text(encoding="utf-8") == wanted:
        return
    if place.exists():
        shutil.rmtree(place)  # half of one
    place.mkdir(parents=True)
    remark(f"Installing {wanted} into {place}, once.")
    if package.node:
        (place / "package.json").write_text('{"private": true}', encoding="utf-8")
        npm = shutil.which("npm")
        if npm is None:
            raise Failed("npm is not installed here")
        _run([npm, "install", "--no-fund", "--no-audit", *package.node], place, _INSTALL_S)
    else:
        _run([sys.executable, "-m", "venv", str(place)], place, _INSTALL_S)
        _run([str(_interpreter(place)), "-m", "pip", "install", "--quiet", *package.python], place, _INSTALL_S)
    mark.write_text(wanted, encoding="utf-8")


def _interpreter(place: Path) -> Path:
    return place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _node() -> str:
    found = shutil.which("node")
    if found is None:
        raise Failed("Node is not installed here")
    return found


def _run(command: Sequence[str], folder: Path, seconds: float) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failed(f"{Path(command[0]).name} took more than {seconds:,.0f} s") from None
    if done.returncode != 0:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise Failed(f"{Path(command[0]).name} failed ({(said or ['it said nothing'])[-1][-_LAST:].rstrip('.')})")
    return done.stdout


def megabytes(place: Path) -> int:
    """Of all files of an environment, in millions of bytes."""
    files = (path for path in place.rglob("*") if path.is_file() and not path.is_symlink())
    return round(sum(path.stat().st_size for path in files) / 1e6)


def ask(package: Package, place: Path, job: Mapping[str, Any], work: Path) -> dict[str, Any]:
    """What a package, installed in `place`, answers to a job of ask_python.py; raises Failed where it does not."""
    described = {**job, "package": package.asked, "environment": str(place)}
    if package.node:
        return _asked([_node(), str(Path(__file__).with_name("ask_node.mjs"))], described, work)
    return ask_python(str(_interpreter(place)), described, work)


def ask_python(python: str, job: Mapping[str, Any], work: Path) -> dict[str, Any]:
    """The same of an interpreter."""
    return _asked([python, str(Path(__file__).with_name("ask_python.py"))], job, work)


def _asked(command: Sequence[str], job: Mapping[str, Any], work: Path) -> dict[str, Any]:
    path = work / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    return dict(json.loads(_run([*command, str(path)], work, _ASK_S).splitlines()[-1]))

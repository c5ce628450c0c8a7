"""Environments for engines that we are measured against: what they install never meets what is installed here.

Each is a virtual environment in the cache folder, made once, when it is first asked for. Behind its own packages it
sees those of this installation, so that the network's PyTorch and this project are not installed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import site
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from lc2fer.errors import TargetUnavailable
from lc2fer.storage import alone, cache_folder

_COMPLETE = "complete"  # written last


@dataclass(frozen=True)
class Environment:
    """What one is made of, and what that took with Python 3.11 on two cores of x86-64 and a fast line."""

    packages: tuple[str, ...]  # one version each
    megabytes: int  # on the disk
    seconds: int


ENVIRONMENTS: Mapping[str, Environment] = MappingProxyType(  # by kind of artifact
    {
        "executorch": Environment(("executorch==1.5.1",), 230, 25),
        "litert": Environment(("litert-torch==0.10.0", "ai-edge-quantizer==0.10.0", "ai-edge-litert==2.3.0"), 970, 35),
        "mnn": Environment(("mnn==3.6.1",), 60, 5),
        "ncnn": Environment(("ncnn==1.0.20261020", "pnnx==20261020"), 125, 5),
    }
)


def interpreter(kind: str) -> Path:
    """The Python that runs that kind of artifact: this one, or that of an environment, which need not be there yet."""
    if kind not in ENVIRONMENTS:
        return Path(sys.executable)
    key = json.dumps([ENVIRONMENTS[kind].packages, sys.version, sys.prefix])
    folder = cache_folder() / "peers" / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    return folder / "bin" / "python"


def versions(kind: str) -> dict[str, str]:
    """What an environment's packages are pinned to, for a manifest; empty for what runs in this one."""
    wanted = ENVIRONMENTS[kind].packages if kind in ENVIRONMENTS else ()
    return dict(package.split("==") for package in wanted)


def make(kind: str, say: Callable[[str], None]) -> None:
    """Make the environment of that kind unless it is there; raises TargetUnavailable where pip cannot install it."""
    python = interpreter(kind)
    folder, wanted = python.parents[1], ENVIRONMENTS[kind]
    if (folder / _COMPLETE).is_file():
        return
    with alone(folder.parent, "installation of peers", wait=say):
        if (folder / _COMPLETE).is_file():  # another process was sooner
            return
        say(
            f"Installing {', '.join(wanted.packages)} into {folder}, an environment of their own: "
            f"{wanted.megabytes} MB and, on a fast line, {wanted.seconds} s, once. Remove the folder to be rid of them."
        )
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        _see_this_installation(folder)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--quiet"]
        done = subprocess.run([*pip, "install", *wanted.packages], capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            errors = [line for line in lines if line.startswith("ERROR")]
            said = (errors or lines or ["pip says nothing"])[-1].removeprefix("ERROR: ").rstrip(".")
            raise TargetUnavailable(
                f"{kind} cannot be installed: {said}. {' and '.join(wanted.packages)} were expected from pip, for "
                f"Python {sys.version_info.major}.{sys.version_info.minor}. Mend what pip says, or leave {kind} out of "
                "--peers."
            )
        (folder / _COMPLETE).touch()


def _see_this_installation(folder: Path) -> None:
    (packages,) = folder.glob("lib/python*/site-packages")
    ours = [path for path in site.getsitepackages() if os.path.isdir(path)]
    lines = [f"import site; site.addsitedir({path!r})" for path in ours]
    (packages / "zz_lc2fer.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")  # the last, so behind its own

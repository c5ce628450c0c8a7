"""The extras: what each is for and what it brings, from the installation's own metadata."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from types import MappingProxyType

# In the order in which they are told.
PURPOSES = MappingProxyType(
    {
        "cpu": "run models in ONNX Runtime; find faces",
        "openvino": "make and run OpenVINO's models",
        "export": "make models from weights, and judge pictures with the bundled weights",
        "train": "train on your faces",
        "bench": "measure models, compare and gate them",
        "explain": "see where a network looks and what it confuses",
        "camera": "read cameras and films",
        "web": "the camera's page",
        "serve": "answer programs over HTTP",
        "mqtt": "send what a camera sees to a broker",
        "ray": "judge folders and tables on a cluster",
        "sign": "sign bundles, and check their signatures",
        "tensorrt": "build and run engines on an NVIDIA GPU",
        "rtx": "compile engines for PCs with an RTX GPU",
        "completion": "complete commands in a shell",
    }
)
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_EXTRA = re.compile(r"""extra\s*==\s*["']([a-z0-9-]+)["']""")


@dataclass(frozen=True)
class Extra:
    """One extra, and what of its packages is here."""

    name: str
    purpose: str
    found: dict[str, str]  # package -> version
    missing: tuple[str, ...]

    @property
    def command(self) -> str:
        """What brings it."""
        return f"pip install 'lc2fer[{self.name}]'"


def here() -> tuple[Extra, ...]:
    """Every extra that PURPOSES names, in its order."""
    wanted: dict[str, list[str]] = {name: [] for name in PURPOSES}
    for line in metadata.requires("lc2fer") or ():
        requirement, _, marker = line.partition(";")
        extra, package = _EXTRA.search(marker), _NAME.match(requirement.strip())
        if extra is not None and package is not None and extra[1] in wanted and "python_version" not in marker:
            wanted[extra[1]].append(package[0])
    return tuple(_look(name, packages) for name, packages in wanted.items())


def _look(name: str, packages: list[str]) -> Extra:
    found: dict[str, str] = {}
    missing = []
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            missing.append(package)
    return Extra(name, PURPOSES[name], found, tuple(missing))

"""A static folder for the browser: the INT8 network, a face finder, and a page.

The artifact is the ONNX file for ONNX Runtime's WebAssembly, proven like any other; the folder beside it has a copy of
it. Where lc2fer/kernels can be had as WebAssembly, the folder also has these and an .lc2 file, itself an artifact with
its proof, which the page takes where the browser can run it. The page's parts lie in deploy/web and, those that it has
in common with the camera's, in deploy/camera/page.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from importlib import resources
from pathlib import Path

from lc2fer import artifact as artifacts
from lc2fer.artifact import Artifact
from lc2fer.errors import TargetUnavailable
from lc2fer.kernels import build, webassembly
from lc2fer.recipe import Recipe

from . import onnxruntime_web
from .qdq import TOOLS, inspect, make

__all__ = ["BESIDE", "TOOLS", "check", "check_beside", "deliver", "inspect", "make"]

BESIDE = "native-int8"  # the target whose artifact the folder takes too, where check_beside() raises nothing
_OF_THE_CAMERA = ("drawing.js", "given.js", "icon.svg", "page.css", "places.js", "state.js", "view.js", "words.js")
_PARTS = "parts.json"  # what the page may ask for, so that it asks for nothing that is not there
_LIST = "files.js"  # the worker's: it and the worker are not kept by the worker


def check(recipe: Recipe) -> None:
    """Raise TargetUnavailable where the browser's engine cannot be had."""
    onnxruntime_web.folder()


def check_beside() -> None:
    """Raise TargetUnavailable where the kernels cannot be had as WebAssembly; they are compiled to know it."""
    _module()


def deliver(artifact: Artifact, kernels: Artifact | None = None) -> Path:
    """The folder of that artifact, and of the .lc2 file for the kernels, beside it; whole or not there.

    Raises TargetUnavailable as check() and check_beside().
    """
    folder = artifact.path.with_suffix("")
    engine = onnxruntime_web.folder()
    with artifacts.staged(folder.parent) as staging:
        fresh = staging / folder.name
        shutil.copytree(engine, fresh / "ort")
        pages = resources.files("lc2fer.deploy")
        for source in (pages / "web").iterdir():
            (fresh / source.name).write_bytes(source.read_bytes())
        for name in _OF_THE_CAMERA:
            (fresh / name).write_bytes((pages / "camera" / "page" / name).read_bytes())
        for name in ("face_finder.onnx", "face_finder.md"):
            (fresh / name).write_bytes((resources.files("lc2fer") / "weights" / name).read_bytes())
        shutil.copyfile(artifact.path, fresh / "model.onnx")
        shutil.copyfile(artifact.manifest_path, fresh / "model.json")
        if kernels is not None:
            shutil.copyfile(_module(), fresh / "kernels.wasm")
            shutil.copyfile(kernels.path, fresh / "model.lc2")
            shutil.copyfile(kernels.manifest_path, fresh / "model.lc2.json")
        (fresh / _PARTS).write_text(json.dumps({"kernels": kernels is not None}) + "\n", encoding="utf-8")
        (fresh / _LIST).write_text(_listed(fresh), encoding="utf-8")
        if folder.exists():
            os.replace(folder, staging / "old")
        os.replace(fresh, folder)
    return folder


def _module() -> Path:
    try:
        return webassembly.module()
    except build.Lacking as lacking:
        raise TargetUnavailable(
            f"The kernels cannot be had for browsers here: {lacking}, and export again, or use the folder without them."
        ) from None


def _listed(folder: Path) -> str:
    """JavaScript that names every file, and a version that changes with any byte of them."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (_LIST, "worker.js"))
    names = [path.relative_to(folder).as_posix() for path in paths]
    digest = hashlib.sha256()
    for name, path in zip(names, paths):
        digest.update(f"{name} {artifacts.hash_file(path)}\n".encode())
    listed = json.dumps(["./", *names], indent=1)
    return f'self.VERSION = "{digest.hexdigest()[:16]}";\nself.FILES = {listed};\n'

"""ONNX Runtime for the browser, from npm: one version, by its hash, kept in the cache."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from importlib import resources
from pathlib import Path

from lc2fer.errors import TargetUnavailable
from lc2fer.storage import cache_folder

VERSION = "1.30.0"
_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
# What a page needs for a processor, of some hundred files.
_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_LICENCES = ("LICENSE", "ThirdPartyNotices.txt")  # of ONNX Runtime; npm's package has none, pip's has both
_WAIT_S = 300


def folder() -> Path:
    """The folder with the engine's files and licences, fetched by npm if it is not there yet (60 MB, once).

    Raises TargetUnavailable where there is no npm, it fails, or what it fetches is another file.
    """
    kept = cache_folder() / "web" / f"onnxruntime-web-{VERSION}"
    if all((kept / name).is_file() for name in (*_FILES, *_LICENCES)):
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as work:
        fresh = Path(work) / "fresh"
        fresh.mkdir()
        with tarfile.open(_fetched(Path(work))) as tar:
            for name in _FILES:
                member = tar.extractfile(f"package/dist/{name}")
                assert member is not None
                (fresh / name).write_bytes(member.read())
        for name in _LICENCES:
            (fresh / name).write_bytes((resources.files("onnxruntime") / name).read_bytes())
        if kept.exists():
            shutil.rmtree(kept)
        fresh.replace(kept)
    return kept


def _fetched(work: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise _unavailable("there is no npm", "npm was expected", "apt-get install npm")
    command = [npm, "pack", "--ignore-scripts", "--silent", f"onnxruntime-web@{VERSION}"]
    try:
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=_WAIT_S)
    except subprocess.TimeoutExpired:
        raise _unavailable(f"npm did not end in {_WAIT_S} s", "A network was expected", " ".join(command[1:])) from None
    fetched = work / f"onnxruntime-web-{VERSION}.tgz"
    if done.returncode or not fetched.is_file():
        said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
        raise _unavailable(f"npm says {said}", "A network, or npm's cache, was expected", " ".join(command[1:]))
    if hashlib.sha512(fetched.read_bytes()).digest() != base64.b64decode(_SHA512):
        raise _unavailable(
            f"what npm fetched is another file than onnxruntime-web {VERSION} was",
            f"One with the sha512 {_SHA512[:12]}... was expected",
            "npm config get registry",
        )
    return fetched


def _unavailable(what: str, expected: str, command: str) -> TargetUnavailable:
    return TargetUnavailable(
        f"The browser's engine cannot be had here: {what}. {expected}. Try: {command}; or export ort-int8."
    )

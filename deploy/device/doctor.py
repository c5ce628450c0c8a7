"""Is this device ready? Every finding names what is wrong and the command that mends it."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lc2fer import kernels
from lc2fer.errors import TargetUnavailable, UsageError
from lc2fer.kernels import build
from lc2fer.nvidia import TENSORRT, Unusable, device
from lc2fer.telemetry import refuse_telemetry

from . import jetson
from .jetson import Jetson

_HOT = 85.0  # degrees C; Orin begins to lower its clocks at 99
_ROOM_MB = 500  # for engines and their making
_MEMORY_MB = 2000  # that making an engine may take
_CONTAINER = (".dockerenv", "run/.containerenv")  # Docker's and Podman's marks
_PIP = f"{sys.executable} -m pip"


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `state` is ok, note (it works without) or problem."""

    what: str
    state: str
    text: str
    mend: str | None = None  # a command

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(root: Path = Path("/"), folder: Path = Path()) -> list[Finding]:
    """Everything, in an order in which it is best mended; `folder` is where bundles and engines are to be."""
    board = jetson.detect(root)
    checks: list[Callable[[], Finding]] = [
        lambda: _board(board),
        lambda: _python(board),
        lambda: _tensorrt(board, root),
        lambda: _gpu(board),
        _onnxruntime,
        _kernels,
        lambda: _opencv(board),
        lambda: _cameras(root),
        lambda: _power(board),
        lambda: _heat(board),
        lambda: _memory(root),
        lambda: _disk(folder),
    ]
    found = [check() for check in checks]
    engines = {finding.what: finding.state for finding in found}
    if engines["TensorRT"] != "ok" and engines["ONNX Runtime"] != "ok":
        found.append(
            Finding(
                "engine", "problem", "neither TensorRT nor ONNX Runtime can run a model", f"{_PIP} install onnxruntime"
            )
        )
    return found


def _board(board: Jetson | None) -> Finding:
    if board is None:
        return Finding("board", "note", f"no Jetson: {platform.system()} on {platform.machine()}")
    text = f"{board.module}, L4T {board.l4t or 'unknown'}, JetPack {board.jetpack or 'unknown'}"
    needed = f"{text}; 6.1 or newer is needed, for TensorRT 10.3"
    if board.jetpack == "5":
        return Finding("board", "problem", f"{needed}: flash it with NVIDIA's SDK Manager")
    if board.jetpack == "6.0":
        return Finding(
            "board",
            "problem",
            needed,
            "sudo sed -i 's/r36.[23]/r36.4/' /etc/apt/sources.list.d/nvidia-l4t-apt-source.list && sudo apt update && "
            "sudo apt dist-upgrade",
        )
    return Finding("board", "ok" if board.jetpack else "note", text)


def _python(board: Jetson | None) -> Finding:
    version = platform.python_version()
    if board is not None and sys.prefix != sys.base_prefix:
        settings = Path(sys.prefix, "pyvenv.cfg")
        text = settings.read_text(encoding="utf-8") if settings.is_file() else ""
        if not re.search(r"include-system-site-packages\s*=\s*true", text):
            return Finding(
                "Python",
                "problem",
                f"{version} in an environment that does not see the system's packages, where JetPack puts TensorRT",
                f"python3 -m venv --system-site-packages {sys.prefix}",
            )
    return Finding("Python", "ok", version)


def _tensorrt(board: Jetson | None, root: Path) -> Finding:
    try:
        trt = TENSORRT.load()
    except Unusable as reason:
        driver = (root / "proc" / "driver" / "nvidia").exists()  # without one there is nothing to install it for
        mend = f"{_PIP} install 'lc2fer[tensorrt]'" if driver else None
        mend = mend if board is None else "sudo apt install python3-libnvinfer"
        return Finding("TensorRT", "note", str(reason), mend)
    return Finding("TensorRT", "ok", f"{trt.__version__}, imported")


def _gpu(board: Jetson | None) -> Finding:
    try:
        here = device()
    except Unusable as reason:
        text = str(reason)
        wanted = "'cuda-bindings>=12.6,<13'" if board is not None and board.cuda_major == 12 else "'cuda-bindings>=13'"
        return Finding("GPU", "note", text, f"{_PIP} install {wanted}" if "installed" in text else None)
    return Finding("GPU", "ok", f"{here.name}, SM {here.sm}, CUDA {here.cuda}, driver for CUDA {here.driver}")


def _onnxruntime() -> Finding:
    refuse_telemetry()
    try:
        module = importlib.import_module("onnxruntime")
    except ImportError as error:
        return Finding("ONNX Runtime", "note", _first_line(error), f"{_PIP} install onnxruntime")
    return Finding("ONNX Runtime", "ok", f"{module.__version__}, {', '.join(module.get_available_providers())}")


def _kernels() -> Finding:
    """Our own operations, for ONNX Runtime: nothing is compiled to look at them."""
    what = "kernels"
    try:
        if build.present("onnxruntime") is None:
            build.check("onnxruntime")
            return Finding(
                what,
                "note",
                "not compiled yet; the first -fused model does it, in some 30 s",
                f"""{sys.executable} -c "from lc2fer import kernels; kernels.library('onnxruntime', 'int8')\"""",
            )
        chosen = {precision: kernels.chosen("onnxruntime", precision) for precision in kernels.PRODUCTS}
        able = ", ".join(kernels.here("onnxruntime"))
    except build.Lacking as lacking:
        return Finding(what, "note", f"no -fused models: {str(lacking).split('. ')[0]}", _mend(lacking))
    except (TargetUnavailable, UsageError) as error:
        return Finding(what, "problem", str(error))
    told = ", ".join(f"{precision} by {variant}" for precision, variant in chosen.items())
    return Finding(what, "ok", f"{told}; this processor can run {able}")


def _mend(lacking: build.Lacking) -> str | None:
    """The command in its last sentence."""
    found = re.search(r"Run: (.*?)(?:, or |$)", str(lacking))
    return None if found is None else f"sudo {found[1]}"


def _opencv(board: Jetson | None) -> Finding:
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError as error:
        text = _first_line(error)
        if "multiarray" in text:
            return Finding(
                "OpenCV",
                "problem",
                f"no cameras: it is compiled for numpy 1, and {importlib.import_module('numpy').__version__} is here",
                f"{_PIP} install 'numpy<2'",
            )
        mend = f"{_PIP} install 'lc2fer[camera]'" if board is None else "sudo apt install python3-opencv"
        return Finding("OpenCV", "note", f"no cameras: {text}", mend)
    if re.search(r"GStreamer:\s*YES", cv2.getBuildInformation()):
        return Finding("OpenCV", "ok", f"{cv2.__version__} with GStreamer")
    if board is None:
        return Finding("OpenCV", "ok", f"{cv2.__version__}, for USB cameras and films")
    return Finding(
        "OpenCV",
        "note",
        f"{cv2.__version__} without GStreamer: USB cameras and files, no CSI cameras",
        f"{_PIP} uninstall opencv-python opencv-python-headless; sudo apt install python3-opencv",
    )


def _cameras(root: Path) -> Finding:
    found = sorted((root / "dev").glob("video*"))
    if not found:
        return Finding("cameras", "note", "none at /dev/video*")
    closed = [path for path in found if not os.access(path, os.R_OK | os.W_OK)]
    if closed:
        names = ", ".join(path.name for path in closed)
        return Finding("cameras", "problem", f"{names} may not be opened by this user", _opening(closed[0], root))
    return Finding("cameras", "ok", ", ".join(path.name for path in found))


def _opening(camera: Path, root: Path) -> str:
    """What lets this user open a camera: its group, whatever that is called here, or has no name as in containers."""
    import grp  # which only Unix has

    there = camera.stat()
    if there.st_mode & 0o060 != 0o060:
        return f"sudo chgrp video {camera} && sudo chmod 660 {camera}"
    try:
        group = grp.getgrgid(there.st_gid).gr_name
    except KeyError:
        group = None
    if group is None or any((root / name).exists() for name in _CONTAINER):
        return f"start this container with --group-add {there.st_gid}, which is the cameras' group on its host"
    return f"sudo usermod -aG {group} $USER, and log in again"


def _power(board: Jetson | None) -> Finding:
    if board is None:
        return Finding("power", "ok", "no power modes here")
    clocks = [
        f"{name} {pair[0]} of {pair[1]} MHz"
        for name, pair in (("CPU", board.cpu_mhz), ("GPU", board.gpu_mhz))
        if pair is not None
    ]
    watts = [] if board.watts is None else [f"{board.watts:.1f} W now"]
    text = "; ".join([f"mode {board.power_mode or 'unknown'}", *clocks, *watts])
    if board.power_mode is not None and not board.power_mode.startswith("MAXN"):
        mode = "NUMBER" if board.fastest_mode is None else board.fastest_mode
        return Finding(
            "power", "note", f"{text}; not the fastest mode", f"sudo nvpmodel -m {mode} && sudo jetson_clocks"
        )
    return Finding("power", "ok" if board.power_mode else "note", text)


def _heat(board: Jetson | None) -> Finding:
    readings = {} if board is None else board.temperatures
    if not readings:
        return Finding("temperature", "ok" if board is None else "note", "no sensors read")
    name, degrees = max(readings.items(), key=lambda item: item[1])
    text = f"{name} {degrees:.0f} C"
    if degrees >= _HOT:
        return Finding("temperature", "problem", f"{text}: it will slow down; let it cool, and look at the fan")
    return Finding("temperature", "ok", text)


def _memory(root: Path) -> Finding:
    try:
        text = (root / "proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return Finding("memory", "note", "unknown")
    kilobytes = {name: int(value) for name, value in re.findall(r"(\w+):\s+(\d+) kB", text)}
    free = (kilobytes.get("MemAvailable", 0) + kilobytes.get("SwapFree", 0)) // 1024
    said = f"{kilobytes.get('MemAvailable', 0) // 1024} MB free, and {kilobytes.get('SwapFree', 0) // 1024} MB of swap"
    if free < _MEMORY_MB:
        return Finding(
            "memory",
            "problem",
            f"{said}; building an engine may take {_MEMORY_MB} MB",
            "sudo fallocate -l 4G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && "
            "sudo swapon /swapfile",
        )
    return Finding("memory", "ok", said)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free // 1_000_000
    if free < _ROOM_MB:
        return Finding(
            "disk", "problem", f"{free} MB free in {folder.resolve()}, {_ROOM_MB} are needed", "sudo apt clean"
        )
    return Finding("disk", "ok", f"{free} MB free")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

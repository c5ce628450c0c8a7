"""What a Jetson says of itself: module, JetPack, power mode, clocks, temperatures, rails. Read only, without root.

Formats: NVIDIA's L4T documentation, and what boards print. Nobody has run this on a Jetson yet; it is tested on copies
of these formats. jetson-stats is not used: its licence (AGPL-3.0) would bind who ships this.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

_ANSWER_WITHIN = 10.0  # seconds, for nvpmodel and tegrastats
_OFFLINE = -200.0  # degrees C; a sensor that is switched off says -256

# L4T release, the longest prefix that fits -> JetPack; those of one line share TensorRT and CUDA.
_JETPACKS: Mapping[str, str] = MappingProxyType(
    {
        "35": "5",
        "36.2": "6.0",
        "36.3": "6.0",
        "36.4": "6.2.1",
        "36.4.0": "6.1",
        "36.4.3": "6.2",
        "36.5": "6.2.2",
        "38.2": "7.0",
        "38.4": "7.1",
        "39": "7.2",
    }
)


@dataclass(frozen=True)
class Rail:
    """One supply line, "VDD_IN", and what goes through it."""

    name: str
    watts: float


@dataclass(frozen=True)
class Jetson:
    """The board, as far as its files and tools can be read; None or empty where they cannot."""

    module: str
    l4t: str | None
    jetpack: str | None
    power_mode: str | None
    cpu_mhz: tuple[int, int] | None  # now, and at most
    gpu_mhz: tuple[int, int] | None
    temperatures: Mapping[str, float] = field(default_factory=dict)  # degrees C
    rails: tuple[Rail, ...] = ()
    fastest_mode: int | None = None  # the number of the mode MAXN or MAXN_SUPER: 0, or 2 on an Orin Nano Super

    @property
    def cuda_major(self) -> int:
        """Of the CUDA that its JetPack brings."""
        return 12 if (self.l4t or "").startswith(("35.", "36.")) else 13

    @property
    def watts(self) -> float | None:
        """Of the whole module: VDD_IN where it is measured (Nano, NX), else the sum of the module's rails (AGX)."""
        return _module(self.rails)


def detect(root: Path = Path("/")) -> Jetson | None:
    """This machine as a Jetson, or None; `root` is where its file system begins."""
    model = _text(root / "proc/device-tree/model") or ""
    release = l4t(root)
    if release is None and "jetson" not in model.lower():
        return None
    temperatures, supplies = _temperatures(root), rails(root)
    told = None if temperatures and supplies else tegrastats()  # older kernels and containers hide some of it
    if told is not None:
        temperatures = temperatures or dict(told.temperatures)
        supplies = supplies or tuple(Rail(name, milliwatts / 1000) for name, milliwatts in told.milliwatts.items())
    return Jetson(
        module=model.strip("\0 \n") or "Jetson (unknown module)",
        l4t=release,
        jetpack=jetpack(release),
        power_mode=_power_mode(),
        fastest_mode=_fastest_mode(root),
        cpu_mhz=_clock(root / "sys/devices/system/cpu/cpu0/cpufreq", "scaling_cur_freq", "cpuinfo_max_freq", 1000),
        gpu_mhz=_gpu_clock(root),
        temperatures=temperatures,
        rails=supplies,
    )


def l4t(root: Path = Path("/")) -> str | None:
    """The release of Jetson's Linux, "36.4.3"; None on other machines."""
    found = re.search(r"# R(\d+) .*REVISION: ([\d.]+)", _text(root / "etc/nv_tegra_release") or "")
    return None if found is None else f"{found[1]}.{found[2]}"


def jetpack(release: str | None) -> str | None:
    """The JetPack that brought that L4T; None where it is not known."""
    parts = (release or "").split(".")
    for length in range(len(parts), 0, -1):
        known = _JETPACKS.get(".".join(parts[:length]))
        if known is not None:
            return known
    return None


def rails(root: Path = Path("/")) -> tuple[Rail, ...]:
    """Every rail of the board's INA3221 sensors; unconnected ones and the sensor's own sum are left out."""
    found = []
    for label in sorted((root / "sys/bus/i2c/devices").glob("*/hwmon/hwmon*/in*_label")):
        channel = label.name[2 : -len("_label")]
        name = (_text(label) or "NC").strip()
        volts = _number(label.with_name(f"in{channel}_input"))
        amperes = _number(label.with_name(f"curr{channel}_input"))
        if name != "NC" and channel != "7" and volts is not None and amperes is not None:
            found.append(Rail(name, volts / 1000 * amperes / 1000))
    return tuple(found)


def watts(root: Path = Path("/")) -> float | None:
    """What the module takes now, without asking anything else; None where there is no sensor."""
    return _module(rails(root))


def _module(found: Sequence[Rail]) -> float | None:
    for rail in found:
        if rail.name == "VDD_IN":
            return rail.watts
    own = [rail.watts for rail in found if not rail.name.startswith("VIN_SYS")]  # that one is the carrier's
    return sum(own) if own else None


@dataclass(frozen=True)
class Tegrastats:
    """One line of tegrastats."""

    gpu_percent: float | None  # Thor tells the clock only
    gpu_mhz: tuple[int, ...]
    temperatures: Mapping[str, float]  # degrees C
    milliwatts: Mapping[str, int]  # a rail's power now


def tegrastats() -> Tegrastats | None:
    """What the tool says now; None where it is missing or silent."""
    tool = shutil.which("tegrastats")
    if tool is None:
        return None
    try:
        process = subprocess.Popen([tool, "--interval", "100"], stdout=subprocess.PIPE, text=True)
    except OSError:
        return None
    with process:  # it goes on until it is stopped
        timer = threading.Timer(_ANSWER_WITHIN, process.kill)
        timer.start()
        assert process.stdout is not None
        line = process.stdout.readline()
        timer.cancel()
        process.kill()
    return parse_tegrastats(line) if line else None


def parse_tegrastats(line: str) -> Tegrastats:
    """Reads the forms of JetPack 6 and 7 on Orin, and of Thor; what a line does not tell is None or empty."""
    load = re.search(r"GR3D_FREQ (?:(\d+)%)?(?:@\[?([\d,]+)\]?)?", line)
    return Tegrastats(
        gpu_percent=float(load[1]) if load is not None and load[1] is not None else None,
        gpu_mhz=tuple(int(each) for each in load[2].split(",") if each) if load is not None and load[2] else (),
        temperatures={
            name: float(degrees)
            for name, degrees in re.findall(r"(\w+)@(-?[\d.]+)C\b", line)
            if float(degrees) > _OFFLINE
        },
        milliwatts={name: int(now) for name, now in re.findall(r"(\w+) (\d+)mW/\d+mW", line)},
    )


def _power_mode() -> str | None:
    tool = shutil.which("nvpmodel")
    if tool is None:
        return None
    try:
        done = subprocess.run([tool, "-q"], capture_output=True, text=True, timeout=_ANSWER_WITHIN, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"NV Power Mode: *(\S+)", done.stdout)
    return None if found is None else found[1]


def _fastest_mode(root: Path) -> int | None:
    text = _text(root / "etc/nvpmodel.conf") or ""
    found = re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=MAXN", text)
    return int(found[-1]) if found else None


def _gpu_clock(root: Path) -> tuple[int, int] | None:
    for folder in sorted((root / "sys/class/devfreq").glob("*")):
        if re.search(r"gpu|ga10b|gb10b|gv11b", folder.name):
            return _clock(folder, "cur_freq", "max_freq", 1_000_000)
    return None


def _clock(folder: Path, now: str, most: str, unit: int) -> tuple[int, int] | None:
    current, highest = _number(folder / now), _number(folder / most)
    return None if current is None or highest is None else (current // unit, highest // unit)


def _temperatures(root: Path) -> dict[str, float]:
    found = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        name, value = _text(zone / "type"), _number(zone / "temp")
        if name is not None and value is not None and value / 1000 > _OFFLINE:
            found[name.strip().removesuffix("-thermal")] = value / 1000
    return found


def _number(path: Path) -> int | None:
    try:
        return int(_text(path) or "")
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # a sensor that is switched off answers with an error
        return None

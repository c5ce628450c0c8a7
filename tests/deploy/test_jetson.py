"""What boards say of themselves, in the formats of five JetPacks, and what the doctor makes of it."""

from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path

import pytest
from lc2fer.deploy import doctor, jetson

from lc2fer import cli

RELEASES = {  # /etc/nv_tegra_release -> L4T, JetPack
    "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, DATE: Tue Aug  1": ("35.4.1", "5"),
    "# R36 (release), REVISION: 3.0, GCID: 36191598, BOARD: generic, DATE: Mon May  6": (
        "36.3.0",
        "6.0",
    ),
    "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, DATE: Fri Sep 13": (
        "36.4.0",
        "6.1",
    ),
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, DATE: Wed Jan  8": (
        "36.4.3",
        "6.2",
    ),
    "# R36 (release), REVISION: 4.7, GCID: 1, BOARD: generic, DATE: Thu Sep 18": ("36.4.7", "6.2.1"),
    "# R38 (release), REVISION: 2.0, GCID: 1, BOARD: generic, DATE: Fri Aug 22": ("38.2.0", "7.0"),
    "# R39 (release), REVISION: 2.0": ("39.2.0", "7.2"),
}


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def orin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An Orin Nano's files with JetPack 6.2, and its nvpmodel."""
    sensor = "sys/bus/i2c/devices/1-0040/hwmon/hwmon1"
    root = put(
        tmp_path / "root",
        {
            "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
            "proc/meminfo": "MemTotal:  7802 kB\nMemAvailable: 5120000 kB\nSwapFree: 3900000 kB\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "729600\n",
            "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "1728000\n",
            "sys/class/devfreq/15340000.vic/cur_freq": "1\n",
            "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
            "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "48500\n",
            "sys/class/thermal/thermal_zone1/type": "cv0-thermal\n",
            "sys/class/thermal/thermal_zone1/temp": "-256000\n",
            f"{sensor}/in1_label": "VDD_IN\n",
            f"{sensor}/in1_input": "5000\n",
            f"{sensor}/curr1_input": "1200\n",
            f"{sensor}/in2_label": "VDD_CPU_GPU_CV\n",
            f"{sensor}/in2_input": "5000\n",
            f"{sensor}/curr2_input": "300\n",
            f"{sensor}/in3_label": "NC\n",
            f"{sensor}/in3_input": "0\n",
            f"{sensor}/curr3_input": "0\n",
            f"{sensor}/in7_label": "sum of shunt voltages\n",
            f"{sensor}/in7_input": "9\n",
            f"{sensor}/curr7_input": "9\n",
        },
    )
    tool = tmp_path / "bin" / "nvpmodel"
    put(tmp_path, {"bin/nvpmodel": '#!/bin/sh\n[ "$1" = -q ] && printf "NV Power Mode: 15W\\n0\\n"\n'})
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=os.pathsep)
    return root


@pytest.mark.parametrize(("text", "expected"), RELEASES.items())
def test_releases_of_five_jetpacks(text: str, expected: tuple[str, str], tmp_path: Path) -> None:
    root = put(tmp_path, {"etc/nv_tegra_release": text + "\n"})
    assert (jetson.l4t(root), jetson.jetpack(jetson.l4t(root))) == expected


def test_an_unknown_release_is_not_guessed() -> None:
    assert jetson.jetpack("41.1.0") is None
    assert jetson.jetpack(None) is None


def test_an_orin(orin: Path) -> None:
    board = jetson.detect(orin)
    assert board is not None
    assert board.module == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert (board.l4t, board.jetpack, board.power_mode) == ("36.4.3", "6.2", "15W")
    assert (board.cpu_mhz, board.gpu_mhz) == ((729, 1728), (306, 1020))
    assert board.temperatures == {"cpu": 48.5}
    assert [rail.name for rail in board.rails] == ["VDD_IN", "VDD_CPU_GPU_CV"]
    assert board.watts == pytest.approx(6.0)


def test_an_agx_is_the_sum_of_its_modules_rails() -> None:
    rails = (jetson.Rail("VDD_GPU_SOC", 20, 0.2), jetson.Rail("VDD_CPU_CV", 20, 0.1), jetson.Rail("VIN_SYS_5V0", 5, 1))
    board = jetson.Jetson("AGX", "36.4.3", "6.2", None, None, None, rails=rails)
    assert board.watts == pytest.approx(6.0)


def test_no_jetson(tmp_path: Path) -> None:
    assert jetson.detect(tmp_path) is None


@pytest.mark.parametrize(
    ("line", "percent", "clocks", "temperature"),
    [
        ("RAM 2/7620MB CPU [1%@729] GR3D_FREQ 5%@1300 cpu@48.5C gpu@41.3C cv0@-256C", 5.0, (1300,), 41.3),
        ("RAM 2/7620MB CPU [1%@729] GR3D_FREQ 0%@[1300,1299] cpu@48.5C gpu@40C", 0.0, (1300, 1299), 40.0),
        ("RAM 2/7620MB GR3D_FREQ @[1000,1000,1000] gpu@39.75C", None, (1000, 1000, 1000), 39.75),
        ("RAM 2/7620MB GR3D_FREQ 99% gpu@51C", 99.0, (), 51.0),
    ],
)
def test_tegrastats(line: str, percent: float | None, clocks: tuple[int, ...], temperature: float) -> None:
    read = jetson.parse_tegrastats(f"11-24-2026 10:00:00 {line} VDD_IN 4886mW/4886mW VDD_SOC 1446mW/1500mW")
    assert (read.gpu_percent, read.gpu_mhz) == (percent, clocks)
    assert read.temperatures["gpu"] == temperature
    assert "cv0" not in read.temperatures
    assert read.milliwatts == {"VDD_IN": 4886, "VDD_SOC": 1446}


def found(root: Path, what: str) -> doctor.Finding:
    return next(each for each in doctor.examine(root, root) if each.what == what)


def test_the_doctor_reads_an_orin(orin: Path) -> None:
    assert found(orin, "board").state == "ok"
    power = found(orin, "power")
    assert power.text == "mode 15W; CPU 729 of 1728 MHz; GPU 306 of 1020 MHz; 6.0 W now; not the fastest mode"
    assert power.mend == "sudo nvpmodel -m 0 && sudo jetson_clocks"
    assert found(orin, "temperature").text == "cpu 48 C"
    assert found(orin, "memory").state == "ok"


@pytest.mark.parametrize(
    ("files", "what", "text", "mend"),
    [
        (
            {"etc/nv_tegra_release": "# R36 (release), REVISION: 3.0, x"},
            "board",
            "JetPack 6.0; 6.1 or newer is needed, for TensorRT 10.3",
            "sudo apt dist-upgrade",
        ),
        ({"sys/class/thermal/thermal_zone0/temp": "91000"}, "temperature", "cpu 91 C: it will slow down", None),
        (
            {"proc/meminfo": "MemAvailable: 512000 kB\nSwapFree: 0 kB\n"},
            "memory",
            "500 MB free, and 0 MB of swap; building an engine may take 2000 MB",
            "sudo fallocate -l 4G",
        ),
    ],
)
def test_the_doctor_says_what_mends_it(
    orin: Path, files: dict[str, str], what: str, text: str, mend: str | None
) -> None:
    finding = found(put(orin, files), what)
    assert finding.state == "problem"
    assert text in finding.text
    assert (finding.mend or "").startswith(mend or "")
    assert (finding.mend is None) == (mend is None)


def test_opencv_without_gstreamer_is_told(orin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = types.ModuleType("cv2")
    cv2.__version__ = "4.10.0"  # type: ignore[attr-defined]
    cv2.getBuildInformation = lambda: "  GStreamer:                   NO\n"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    assert found(orin, "OpenCV").text == "4.10.0 without GStreamer: USB cameras and files, no CSI cameras"
    cv2.getBuildInformation = lambda: "  GStreamer:                   YES (1.20.3)\n"  # type: ignore[attr-defined]
    assert found(orin, "OpenCV").state == "ok"


def test_no_engine_at_all_is_a_problem(orin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxruntime", "tensorrt"):
        monkeypatch.setitem(sys.modules, name, None)
    assert found(orin, "engine").mend == "pip install onnxruntime"


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.run("deploy", ["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert {"board", "TensorRT", "ONNX Runtime", "disk"} <= {each["what"] for each in document["findings"]}
    assert code == document["exit_code"]

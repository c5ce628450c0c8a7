"""A Jetson's files, in the formats that boards have, below a folder that stands for /; its tools are in jetson/bin."""

from __future__ import annotations

from pathlib import Path

TOOLS = Path(__file__).with_name("jetson") / "bin"

RELEASES = {  # the first line of /etc/nv_tegra_release -> L4T, JetPack
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

_SENSOR = "sys/bus/i2c/devices/1-0040/hwmon/hwmon1"

# An Orin Nano with JetPack 6.2: its clocks, its thermal zones of which one is switched off, and its INA3221 with an
# unconnected channel and the sum of the shunts, which is no rail.
ORIN_NANO = {
    "etc/nv_tegra_release": next(line for line in RELEASES if "REVISION: 4.3" in line) + "\n",
    "etc/nvpmodel.conf": (
        "< PARAM TYPE=FILE NAME=CPU_ONLINE >\n< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n"
        "< POWER_MODEL ID=1 NAME=25W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n< PM_CONFIG DEFAULT=1 >\n"
    ),
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
    f"{_SENSOR}/in1_label": "VDD_IN\n",
    f"{_SENSOR}/in1_input": "5000\n",
    f"{_SENSOR}/curr1_input": "1200\n",
    f"{_SENSOR}/in2_label": "VDD_CPU_GPU_CV\n",
    f"{_SENSOR}/in2_input": "5000\n",
    f"{_SENSOR}/curr2_input": "300\n",
    f"{_SENSOR}/in3_label": "NC\n",
    f"{_SENSOR}/in3_input": "0\n",
    f"{_SENSOR}/curr3_input": "0\n",
    f"{_SENSOR}/in7_label": "sum of shunt voltages\n",
    f"{_SENSOR}/in7_input": "9\n",
    f"{_SENSOR}/curr7_input": "9\n",
}


def put(root: Path, files: dict[str, str]) -> Path:
    """Write files below that folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root

"""What boards say of themselves, in the formats of five JetPacks, and what the doctor makes of it."""

from __future__ import annotations

import grp
import json
import os
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from jetson_board import ORIN_NANO, RELEASES, TOOLS, put
from lc2fer.deploy.device import doctor, jetson

from lc2fer import cli


@pytest.fixture
def orin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An Orin Nano's files with JetPack 6.2, and its tools."""
    (tmp_path / "tools").mkdir()
    monkeypatch.setenv("PATH", str(TOOLS), prepend=os.pathsep)
    monkeypatch.setenv("FAKE_JETSON", str(tmp_path / "tools"))
    return put(tmp_path / "root", ORIN_NANO)


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
    assert (board.l4t, board.jetpack, board.power_mode) == ("36.4.3", "6.2", "25W")
    assert (board.cpu_mhz, board.gpu_mhz) == ((729, 1728), (306, 1020))
    assert (board.fastest_mode, board.cuda_major) == (2, 12)
    assert board.temperatures == {"cpu": 48.5}
    assert [rail.name for rail in board.rails] == ["VDD_IN", "VDD_CPU_GPU_CV"]
    assert board.watts == pytest.approx(6.0)


def test_an_agx_is_the_sum_of_its_modules_rails() -> None:
    rails = (jetson.Rail("VDD_GPU_SOC", 4), jetson.Rail("VDD_CPU_CV", 2), jetson.Rail("VIN_SYS_5V0", 5))
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


@pytest.mark.parametrize(
    ("form", "percent", "clocks"),
    [("orin6", 45.0, (611,)), ("orin7", 45.0, (611, 611)), ("thor", None, (1049, 1049, 1049))],
)
def test_where_files_do_not_tell_tegrastats_does(
    form: str, percent: float | None, clocks: tuple[int, ...], orin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TEGRASTATS", form)
    told = jetson.tegrastats()
    assert told is not None
    assert (told.gpu_percent, told.gpu_mhz) == (percent, clocks)
    shutil.rmtree(orin / "sys")
    board = jetson.detect(orin)
    assert board is not None
    assert board.watts == 4.886
    assert board.temperatures == {"cpu": 48.5, "soc0": 47.0, "gpu": 49.2, "tj": 49.2}


def test_a_silent_tegrastats_is_not_waited_for(orin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_TEGRASTATS", "silent")
    shutil.rmtree(orin / "sys")
    board = jetson.detect(orin)
    assert board is not None
    assert (board.watts, board.temperatures) == (None, {})


def found(root: Path, what: str) -> doctor.Finding:
    return next(each for each in doctor.examine(root, root) if each.what == what)


def test_the_doctor_reads_an_orin(orin: Path) -> None:
    assert found(orin, "board").state == "ok"
    power = found(orin, "power")
    assert power.text == "mode 25W; CPU 729 of 1728 MHz; GPU 306 of 1020 MHz; 6.0 W now; not the fastest mode"
    assert power.mend == "sudo nvpmodel -m 2 && sudo jetson_clocks"
    assert found(orin, "temperature").text == "cpu 48 C"
    assert found(orin, "memory").state == "ok"


@pytest.mark.parametrize(
    ("files", "what", "text", "mend"),
    [
        (
            {"etc/nv_tegra_release": "# R36 (release), REVISION: 3.0, x"},
            "board",
            "JetPack 6.0; 6.1 or newer is needed, for TensorRT 10.3",
            "sudo sed -i 's/r36.[23]/r36.4/' /etc/apt/sources.list.d/nvidia-l4t-apt-source.list && sudo apt update",
        ),
        (
            {"etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, x"},
            "board",
            "JetPack 5; 6.1 or newer is needed, for TensorRT 10.3: flash it with NVIDIA's SDK Manager",
            None,
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


def test_an_opencv_for_another_numpy_is_told(orin: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('numpy.core.multiarray failed to import')")
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    finding = found(orin, "OpenCV")
    assert finding.state == "problem"
    assert finding.text == f"no cameras: it is compiled for numpy 1, and {np.__version__} is here"
    assert finding.mend == f"{sys.executable} -m pip install 'numpy<2'"


def test_no_engine_at_all_is_a_problem(orin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxruntime", "tensorrt"):
        monkeypatch.setitem(sys.modules, name, None)
    assert found(orin, "engine").mend == f"{sys.executable} -m pip install onnxruntime"


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.run("deploy", ["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert {"board", "TensorRT", "ONNX Runtime", "disk"} <= {each["what"] for each in document["findings"]}
    assert code == document["exit_code"]


# -- cameras that may not be opened -----------------------------------------------------------------------------------


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device whose one camera this user may not open."""
    camera = tmp_path / "dev" / "video0"
    camera.parent.mkdir()
    camera.touch()
    camera.chmod(0o660)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    return camera


def mend(root: Path) -> str | None:
    finding = doctor._cameras(root)
    assert (finding.state, finding.text) == ("problem", "video0 may not be opened by this user")
    return finding.mend


def test_the_group_of_a_camera_is_named_as_it_is_here(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grp, "getgrgid", lambda number: types.SimpleNamespace(gr_name="kamera"))
    assert mend(closed.parents[1]) == "sudo usermod -aG kamera $USER, and log in again"


def test_a_group_without_a_name_is_its_containers_to_add(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(grp, "getgrgid", nameless)
    group = closed.stat().st_gid
    wanted = f"start this container with --group-add {group}, which is the cameras' group on its host"
    assert mend(closed.parents[1]) == wanted


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv"])
def test_in_a_container_names_of_groups_mean_nothing(closed: Path, mark: str) -> None:
    put(closed.parents[1], {mark: ""})
    assert mend(closed.parents[1]) == (
        f"start this container with --group-add {closed.stat().st_gid}, which is the cameras' group on its host"
    )


def test_a_camera_that_is_roots_alone_gets_a_group(closed: Path) -> None:
    closed.chmod(0o600)
    assert mend(closed.parents[1]) == f"sudo chgrp video {closed} && sudo chmod 660 {closed}"

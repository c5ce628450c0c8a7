"""The shell scripts for a device, run as a user runs them, against the tests' Jetson and a small wheel."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from jetson_board import TOOLS

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "deploy" / "scripts"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")

Run = Callable[..., "subprocess.CompletedProcess[str]"]

# Stands for the bundle's wheel: says what it was asked and fails at what FAKE_FAILS names.
COMMAND = """
import os, pathlib, sys
def main():
    print("lc2fer-deploy", *sys.argv[1:], flush=True)
    if sys.argv[1] == "unpack":
        pathlib.Path(sys.argv[-1]).mkdir()
    return int(sys.argv[1] == os.environ.get("FAKE_FAILS"))
"""


def small_wheel(tag: str = "any", name: str = "lc2fer-deploy") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("small_lc2fer.py", COMMAND.replace("lc2fer-deploy", name))
        info = "lc2fer-0.1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: lc2fer\nVersion: 0.1.0\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-{tag}\n")
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\nlc2fer-deploy = small_lc2fer:main\n")
        archive.writestr(f"{info}/RECORD", "")
    return buffer.getvalue()


def pack(path: Path, more: dict[str, bytes] | None = None, **changed: bytes) -> Path:
    """A bundle as far as install.sh looks into one; `changed` members differ from what bundle.json says."""
    files = {
        "lc2fer-0.1.0-py3-none-any.whl": small_wheel(),
        "requirements.txt": f"# of {path.name}\n".encode(),
        "lc2fer.service": (ROOT / "deploy" / "systemd" / "lc2fer.service").read_bytes(),
        **(more or {}),
    }
    records = [{"name": name, "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()]
    members = {"bundle.json": json.dumps({"files": records}).encode(), **files}
    members |= {name.replace("_", "."): content for name, content in changed.items()}
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a script with the tests' tools in front, without network, and with its state in the test's folder."""
    jetson = tmp_path / "jetson"
    jetson.mkdir()

    def run(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(SCRIPTS / script), *map(str, arguments)],
            env=environment_of(tmp_path) | environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def environment_of(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PYTHON": str(TOOLS.with_name("quick_python")),
        "QUICK_PYTHON": sys.executable,
        "FAKE_JETSON": str(folder / "jetson"),
        "LC2FER_STATE": str(folder / "state"),
        "LC2FER_SYSTEM": str(folder / "system"),
    }


def log(folder: Path) -> list[str]:
    return (folder / "jetson" / "log").read_text().splitlines()


def test_shellcheck_finds_nothing() -> None:
    tool = Path(sys.executable).with_name("shellcheck")
    scripts = [*SCRIPTS.glob("*.sh"), *TOOLS.iterdir(), *ROOT.glob(".github/*.sh"), *ROOT.glob("tests/*.sh")]
    done = subprocess.run([str(tool), *map(str, scripts)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


# -- max-performance.sh and build-engines.sh ---------------------------------------------------------------------------


def test_a_jetson_at_its_fastest_and_back(run: Run, tmp_path: Path) -> None:
    script = SCRIPTS / "max-performance.sh"
    assert run("max-performance.sh", "status").stdout == "Power mode 25W, as it was set.\n"
    fast = f"Power mode MAXN_SUPER, clocks at their highest. Back with: {script} off\n"
    assert run("max-performance.sh", "on").stdout == fast
    assert run("max-performance.sh", "on").stdout == fast  # what was there before is remembered once
    assert run("max-performance.sh", "status").stdout == f"Power mode MAXN_SUPER, changed by {script} on.\n"
    assert run("max-performance.sh", "off").stdout == "Power mode 25W, clocks as before.\n"
    assert (tmp_path / "jetson" / "mode").read_text() == "1\n"
    assert (tmp_path / "jetson" / "clocks").read_text() == "free\n"
    assert list((tmp_path / "state").iterdir()) == []


def test_a_jetson_that_cannot_change_is_told(run: Run, tmp_path: Path) -> None:
    stuck = run("max-performance.sh", "on", FAKE_JETSON_STUCK="2")
    assert (stuck.returncode, stuck.stdout) == (1, "")
    assert stuck.stderr.splitlines() == [
        "NVPM WARN: Reboot required for changing to this power mode: 2",
        "nvpmodel did not change to mode 2. Mode 2 was expected. Run: sudo nvpmodel -m 2, and restart if it asks for "
        "it.",
    ]
    assert run("max-performance.sh", "faster").returncode == 2
    nothing = run("max-performance.sh", "status", PATH="/usr/bin:/bin")
    assert nothing.returncode == 3
    assert nothing.stderr.startswith("nvpmodel is not here. A Jetson's power tools were expected.")


def test_engines_are_built_at_the_fastest_and_the_mode_comes_back_even_after_a_failure(
    run: Run, tmp_path: Path
) -> None:
    deploy = tmp_path / "lc2fer-deploy"
    deploy.write_text(f'#!/bin/sh\necho "$*" at $(cat {tmp_path}/jetson/mode)\n[ "$2" != bad ]\n')
    deploy.chmod(0o755)
    done = run("build-engines.sh", "good", "bad", "never", LC2FER_DEPLOY=str(deploy))
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if line.startswith("build")] == [
        "build good at 2",
        "build bad at 2",
    ]
    assert log(tmp_path)[-2:] == ["set 1", "clocks --restore"]
    assert run("build-engines.sh", "x", LC2FER_DEPLOY="no-such-command").returncode == 3


def test_an_interrupted_build_brings_the_mode_back(tmp_path: Path) -> None:
    (tmp_path / "jetson").mkdir()
    deploy = tmp_path / "lc2fer-deploy"
    deploy.write_text("#!/bin/sh\necho building\nexec sleep 60\n")
    deploy.chmod(0o755)
    process = subprocess.Popen(
        ["bash", str(SCRIPTS / "build-engines.sh"), "C6.bundle"],
        env=environment_of(tmp_path) | {"LC2FER_DEPLOY": str(deploy)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        while process.stdout.readline() != "building\n":
            pass
        os.killpg(process.pid, signal.SIGTERM)
    assert log(tmp_path)[-2:] == ["set 1", "clocks --restore"]


def test_engines_are_built_where_the_script_lies_by_the_command_beside_it(run: Run, tmp_path: Path) -> None:
    model, bin_ = tmp_path / "version" / "model", tmp_path / "version" / "venv" / "bin"
    for folder in (model, bin_):
        folder.mkdir(parents=True)
    for name in ("build-engines.sh", "max-performance.sh"):
        shutil.copy(SCRIPTS / name, model)
    (bin_ / "lc2fer-deploy").write_text('#!/bin/sh\necho "$*"\n')
    (bin_ / "lc2fer-deploy").chmod(0o755)
    assert run(model / "build-engines.sh").returncode == 2  # no bundle was unpacked there
    (model / "bundle.json").touch()
    assert f"build {model}" in run(model / "build-engines.sh").stdout.splitlines()


def test_two_installations_at_once_are_refused(run: Run, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    (prefix / "versions").mkdir(parents=True)
    held = os.open(prefix / "versions", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    done = run("install.sh", pack(tmp_path / "a.bundle"), "--prefix", prefix)
    os.close(held)
    assert (done.returncode, done.stderr) == (
        2,
        f"Another install.sh works in {prefix}. One at a time was expected. Wait for it.\n",
    )


# -- install.sh --------------------------------------------------------------------------------------------------------


def test_an_installation_is_made_once_replaced_whole_and_removed(run: Run, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    (prefix / "mine").mkdir(parents=True)
    first, second = pack(tmp_path / "a.bundle"), pack(tmp_path / "b.bundle")
    plan = run("install.sh", first, "--prefix", prefix, "--dry-run")
    assert f"Command: {prefix}/bin/lc2fer-deploy" in plan.stdout
    assert [path.name for path in prefix.iterdir()] == ["mine"]

    done = run("install.sh", first, "--prefix", prefix)
    assert (done.returncode, done.stderr) == (0, "")
    home = prefix / "versions" / hashlib.sha256(first.read_bytes()).hexdigest()[:16]
    assert done.stdout.splitlines() == [
        "lc2fer-deploy doctor",
        f"lc2fer-deploy verify {home}/model",
        f"Installed. Build the engines with: {prefix}/bin/lc2fer-deploy build {prefix}/current/model "
        "--engine onnxruntime",
    ]
    (home / "model" / "built.engine").write_text("kept")
    killed = prefix / "versions" / ".installing-killed"
    killed.mkdir()
    jetson = tmp_path / "jetson"
    (jetson / "etc").mkdir(parents=True)
    (jetson / "etc" / "nv_tegra_release").write_text("# R36 (release), REVISION: 4.0\n")
    again = run("install.sh", first, "--prefix", prefix, LC2FER_SYSTEM=str(jetson))
    assert again.stdout.endswith(f"Build the engines with: bash {prefix}/current/model/build-engines.sh\n")
    assert again.stdout.splitlines()[0] == f"{first} is installed in {home} already."
    assert (home / "model" / "built.engine").read_text() == "kept"
    assert not killed.exists()

    broken = run("install.sh", second, "--prefix", prefix, FAKE_FAILS="verify")
    assert broken.returncode == 1
    assert broken.stderr.startswith("The models do not answer here as the trained network does; what was installed ")
    assert (prefix / "current").resolve() == home
    assert run("install.sh", second, "--prefix", prefix, FAKE_FAILS="doctor").returncode == 0
    assert [path.name for path in (prefix / "versions").iterdir()] == [(prefix / "current").resolve().name]
    command = subprocess.run([prefix / "bin" / "lc2fer-deploy", "hello"], capture_output=True, text=True)
    assert command.stdout == "lc2fer-deploy hello\n"

    assert run("install.sh", "--uninstall", "--prefix", prefix).returncode == 0
    assert [path.name for path in prefix.iterdir()] == ["mine"]
    nothing = run("install.sh", "--uninstall", "--prefix", prefix)
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert nothing.stderr.startswith(f"There is nothing of LC2FER in {prefix}.")


def test_the_wheel_of_this_machine_is_taken(run: Run, tmp_path: Path) -> None:
    wheels = {
        f"lc2fer-0.1.0-py3-none-manylinux_2_5_{machine}.whl": small_wheel(f"manylinux_2_5_{machine}", machine)
        for machine in ("x86_64", "aarch64")
    }
    bundle = pack(tmp_path / "a.bundle", wheels)
    done = run("install.sh", bundle, "--prefix", tmp_path / "prefix", PYTHON=sys.executable)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == f"{platform.machine()} doctor"


@pytest.mark.parametrize(
    ("changed", "options", "text"),
    [
        ({}, ["--sha256", "abc"], "abc was expected. Copy the bundle again."),
        ({"requirements_txt": b"evil\n"}, [], "requirements.txt in {0} is not what bundle.json describes."),
        ({}, ["--fast"], "There is no option --fast. See: install.sh --help"),
        ({}, ["--prefix"], "--prefix came without its value."),
    ],
)
def test_what_is_not_a_sound_bundle_is_refused(
    changed: dict[str, bytes], options: list[str], text: str, run: Run, tmp_path: Path
) -> None:
    packed = pack(tmp_path / "a.bundle", **changed)
    done = run("install.sh", packed, "--prefix", tmp_path / "prefix", *options)
    assert done.returncode == 2
    assert text.format(packed) in done.stderr
    assert not (tmp_path / "prefix" / "current").exists()
    assert list(tmp_path.glob("prefix/versions/.installing-*")) == []


def test_a_missing_bundle_and_a_missing_python(run: Run, tmp_path: Path) -> None:
    missing = run("install.sh", tmp_path / "x.bundle")
    assert (missing.returncode, missing.stderr) == (
        2,
        f"{tmp_path}/x.bundle is missing. A bundle of lc2fer-deploy was expected. Copy it here.\n",
    )
    packed = pack(tmp_path / "a.bundle")
    done = run("install.sh", packed, "--prefix", tmp_path / "prefix", PYTHON="python9")
    assert done.returncode == 3
    assert done.stderr.startswith("python9 is missing, has no venv, or is not 3.10 to 3.13. Run: sudo apt-get install")


def test_a_user_without_a_home_is_asked_for_a_place(run: Run, tmp_path: Path) -> None:
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    path = {"HOME": "", "XDG_DATA_HOME": "", "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = run("install.sh", pack(tmp_path / "a.bundle"), "--dry-run", **path)
    text = "This user has no home folder. A place for the installation was expected. Name one: --prefix DIR\n"
    assert (done.returncode, done.stderr) == (2, text)


def test_the_systems_packages_are_asked_for_first(run: Run, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "apt-get").write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\n')
    (tools / "python9").write_text("#!/bin/sh\nexit 1\n")  # has no OpenCV and no venv, not even now
    for tool in tools.iterdir():
        tool.chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    arguments = ("install.sh", pack(tmp_path / "a.bundle"), "--prefix", tmp_path / "prefix", "--packages")
    assert run(*arguments, "--dry-run", PATH=path).returncode == 0
    assert not (tmp_path / "asked").exists()
    assert run(*arguments, PATH=path, PYTHON="python9").returncode == 3
    assert (tmp_path / "asked").read_text() == (
        "update\ninstall -y --no-install-recommends python3-venv python3-opencv\n"
    )


@pytest.fixture
def tools(tmp_path: Path) -> str:
    """A PATH whose systemctl and useradd write down in `asked` what they were asked."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("systemctl", "useradd"):
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/asked\n')
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_the_service_has_the_prefix_and_is_removed(run: Run, tmp_path: Path, tools: str) -> None:
    prefix, unit = tmp_path / "prefix", tmp_path / "system" / "etc" / "systemd" / "system" / "lc2fer.service"
    assert run("install.sh", pack(tmp_path / "a.bundle"), "--prefix", prefix, "--service", PATH=tools).returncode == 0
    text = unit.read_text()
    assert f'ExecStart="{prefix}/bin/lc2fer-deploy" run "{prefix}/current/model" $LC2FER_OPTIONS' in text
    assert "/opt/" not in text
    options = tmp_path / "system" / "etc" / "lc2fer.env"
    assert options.read_text() == "LC2FER_OPTIONS=--source usb:0 --web\n"
    assert options.stat().st_mode & 0o777 == 0o600
    asked = (tmp_path / "asked").read_text()
    assert f"useradd --system --home-dir {prefix} --shell /usr/sbin/nologin --groups video lc2fer" in asked
    assert asked.endswith("systemctl daemon-reload\nsystemctl enable lc2fer.service\n")
    assert run("install.sh", "--uninstall", "--prefix", prefix, PATH=tools).returncode == 0
    assert (tmp_path / "asked").read_text().endswith("systemctl disable --now lc2fer.service\n")
    assert not unit.exists()


def test_a_prefix_may_be_called_anything_a_unit_can_name(run: Run, tmp_path: Path, tools: str) -> None:
    prefix = tmp_path / "ü 50% & (1) | pre fix" / "opt" / "lc2fer"
    unit = tmp_path / "system" / "etc" / "systemd" / "system" / "lc2fer.service"
    done = run("install.sh", pack(tmp_path / "a.bundle"), "--prefix", prefix, "--service", PATH=tools)
    assert done.returncode == 0, done.stderr
    escaped = str(prefix).replace("%", "%%")
    text = unit.read_text()
    assert f'ExecStart="{escaped}/bin/lc2fer-deploy" run "{escaped}/current/model" $LC2FER_OPTIONS' in text
    if shutil.which("systemd-analyze") is not None:
        verified = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
        assert [line for line in verified.stderr.splitlines() if "lc2fer" in line] == []
    assert run("install.sh", "--uninstall", "--prefix", prefix, PATH=tools).returncode == 0
    assert not unit.exists()


@pytest.mark.parametrize("name", ['a"b', "a'b", "a$b", "a\\b", "a`b", "a\nb"])
def test_a_prefix_that_no_unit_can_name_is_refused_before_anything_is_done(run: Run, tmp_path: Path, name: str) -> None:
    done = run("install.sh", pack(tmp_path / "a.bundle"), "--prefix", tmp_path / name, "--service")
    assert done.returncode == 2
    assert done.stderr == (
        f"{tmp_path / name} cannot stand in a service. A path without quotes, \\, $ and control characters was "
        "expected. Choose another --prefix.\n"
    )
    assert not (tmp_path / name).exists()


def test_a_prefix_may_be_told_from_here(run: Run, tmp_path: Path) -> None:
    plan = run("install.sh", pack(tmp_path / "a.bundle"), "--prefix", "here", "--dry-run")
    assert f"Command: {Path.cwd()}/here/bin/lc2fer-deploy" in plan.stdout


def test_the_unit_runs_without_root_and_sees_only_its_devices() -> None:
    unit = (ROOT / "deploy" / "systemd" / "lc2fer.service").read_text().splitlines()
    for line in ("Type=notify", "User=lc2fer", "NoNewPrivileges=yes", "ProtectSystem=strict", "DevicePolicy=closed"):
        assert line in unit
    assert next(line for line in unit if line.startswith("WatchdogSec=")) == "WatchdogSec=30"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_understands_the_unit_and_finds_it_well_closed(tmp_path: Path) -> None:
    unit = tmp_path / "lc2fer.service"
    text = (ROOT / "deploy" / "systemd" / "lc2fer.service").read_text()
    unit.write_text(text.replace("/opt/lc2fer/bin/lc2fer-deploy", "/bin/true"))
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    assert [line for line in verified.stderr.splitlines() if "lc2fer.service" in line] == []
    security = ["systemd-analyze", "security", "--offline=true", "--threshold=25", unit]
    assert subprocess.run(security, capture_output=True).returncode == 0  # of 100, the less the better

"""What docker.sh built, run as docker/compose.yaml says: `python container.py ROOT OUT`, in namespaces of its own.

ROOT is the image's mounted file system. It is made read-only, with a tmpfs for /tmp and one for the volume; the user is
10001 with no capability, and none to gain. What happened is written to OUT as JSON; exit code 1 where it is not right.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
USER = "10001"
HOME = "/home/lc2fer"
TOKEN = "correct-horse-battery"
_FILM_S = 90
_WAIT_S = 900.0  # compose.yaml's start_period


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("out", type=Path)
    chosen = parser.parse_args(arguments)
    root = chosen.root
    service = yaml.safe_load((HERE.parent / "docker" / "compose.yaml").read_text())["services"]["cpu"]
    _mount(root)
    volume = root / HOME[1:] / "engines"
    film = volume / "face.mp4"
    subprocess.run([sys.executable, str(HERE / "fakes" / "video.py"), str(film), str(_FILM_S)], check=True)
    given = {**service["environment"], "LC2FER_TOKEN": TOKEN, "LC2FER_SOURCE": "engines/face.mp4"}
    started = time.monotonic()
    command = service["command"][0].replace("$${", "${")
    process = subprocess.Popen(_jailed(root, given, *service["entrypoint"], command))
    healthy_after_s = None
    while time.monotonic() < started + _WAIT_S and process.poll() is None:
        time.sleep(5)
        if _asked(root, service, given) == 0:
            healthy_after_s = round(time.monotonic() - started)
            break
    found: dict[str, Any] = {"command": command, "healthy_after_s": healthy_after_s}
    if healthy_after_s is not None:
        time.sleep(5)
        with urllib.request.urlopen(
            urllib.request.Request("http://127.0.0.1:8000/api/status", headers={"Authorization": f"Bearer {TOKEN}"})
        ) as answer:
            found["status"] = json.load(answer)["status"]["state"]
        found["health_check_with_another_token"] = _asked(root, service, {**given, "LC2FER_TOKEN": TOKEN[::-1]})
        found |= _told(root / "proc" / str(process.pid))
        found["writing"] = {place: _write(root, given, place) for place in ("/file", f"{HOME}/file", "/tmp/file")}
        process.send_signal(signal.SIGTERM)
    found["exit_code"] = process.wait(60)
    wanted = {
        "status": "live",
        "health_check_with_another_token": 1,
        "user": USER,
        "capabilities": "0000000000000000",
        "could_gain": "0000000000000000",
        "no_new_privileges": "1",
        "writing": {"/file": "Read-only file system", f"{HOME}/file": "Read-only file system", "/tmp/file": "written"},
        "exit_code": 0,
    }
    wrong = [name for name, value in wanted.items() if found.get(name) != value]
    chosen.out.write_text(json.dumps({**found, "wrong": wrong}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({**found, "wrong": wrong}, indent=1))
    return 1 if wrong else 0


def _mount(root: Path) -> None:
    """The container's file systems, in this process's own mount namespace, and its loopback."""
    volume = root / HOME[1:] / "engines"
    mounts = [
        ["--bind", str(root), str(root)],
        ["-o", "remount,bind,ro", str(root)],
        ["-t", "proc", "proc", str(root / "proc")],
        ["--rbind", "/sys", str(root / "sys")],
        ["-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(root / "tmp")],
        ["-t", "tmpfs", "-o", f"uid={USER},gid={USER}", "tmpfs", str(volume)],
        ["--rbind", "/dev", str(root / "dev")],
    ]
    for mount in mounts:
        subprocess.run(["mount", *mount], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def _jailed(root: Path, environment: dict[str, str], *command: str) -> list[str]:
    """That command in the container, as Docker starts it with cap_drop and no-new-privileges."""
    words = [f"{name}={value}" for name, value in environment.items()]
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    jail = ["chroot", str(root), "env", "-i", "-C", HOME, path, f"HOME={HOME}", *words]
    bound = ["--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    return [*jail, "setpriv", f"--reuid={USER}", f"--regid={USER}", *bound, *command]


def _asked(root: Path, service: dict[str, Any], environment: dict[str, str]) -> int:
    """Exit code of compose.yaml's health check, in the container."""
    command = service["healthcheck"]["test"][1:]
    return subprocess.run(_jailed(root, environment, *command), capture_output=True, timeout=60).returncode


def _told(process: Path) -> dict[str, str]:
    """What the kernel says of the container's process."""
    lines = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    names = {"Uid": "user", "CapEff": "capabilities", "CapBnd": "could_gain", "NoNewPrivs": "no_new_privileges"}
    return {name: lines[field].split()[0] for field, name in names.items()}


def _write(root: Path, environment: dict[str, str], place: str) -> str:
    done = subprocess.run(_jailed(root, environment, "touch", place), capture_output=True, text=True)
    return "written" if done.returncode == 0 else done.stderr.strip().rpartition(": ")[2]


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C"
    sys.exit(main(sys.argv[1:]))

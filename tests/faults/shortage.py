"""Two commands at once in one folder, a full /dev/shm, a full disk, too little memory, and a clock that was set back:
whole commands, each with its exit code.

`python shortage.py DATA --out FILE`; DATA as commands.py has it. Mounting needs root, and setting the clock back a C
compiler; what cannot be done is left out, and not in FILE.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lc2fer import artifact as artifacts
from lc2fer.errors import ArtifactError

_RUN = "import sys; from lc2fer import cli; sys.exit(cli.run(sys.argv[1], sys.argv[2:]))"
_SHM = 'mount -t tmpfs -o size=4k tmpfs /dev/shm && head -c 4096 /dev/zero > /dev/shm/full; exec "$@"'
_DISK_KB = (20, 200, 1000, 3000)
_ROOM = "300m"
_MEMORY_MB = (300, 400, 500, 600, 700, 800, 1000, 1200, 1500, 2000, 3000, 4000)
_TIMEOUT_S = 900
_COMMANDS = ("train", "export", "bench", "build")  # the last under `memory` alone
_KINDS = ("together", "shared_memory", "disk", "clock", "memory")
_OWN = "LC2FER_SHORTAGE_OWN_MOUNTS"


class Trials:
    """What was tried and how it ended."""

    def __init__(self, data: Path, work: Path, out: Path, commands: Sequence[str]) -> None:
        self.data, self.work, self.limited = data, work, commands
        self.commands = [name for name in commands if name != "build"]
        self._out, self._started = out, time.monotonic()
        self.megabytes: Sequence[int] = _MEMORY_MB
        self.ends: dict[str, list[str]] = {}
        self.wrong: list[str] = []

    def train(self, out: Path, seed: int = 0) -> list[str]:
        given = ["--config", "C8", "--data", str(self.data / "faces"), "--epochs", "2", "--batch", "64", "--size", "32"]
        return ["train", *given, "--seed", str(seed), "--out", str(out)]

    def export(self, out: Path, target: str = "openvino-int8") -> list[str]:
        given = [
            "--config",
            "C8",
            "--weights",
            str(self.data / "small.safetensors"),
            "--data",
            str(self.data / "faces"),
        ]
        return ["export", *given, "--calibration-images", "40", "--target", target, "--out", str(out)]

    def bench(self, out: Path) -> list[str]:
        given = ["--models", str(self.data / "small.safetensors"), "--data", str(self.data / "faces")]
        return [
            "bench",
            *given,
            "--launches",
            "1",
            "--runs",
            "64",
            "--seconds",
            "1",
            "--threads",
            "1",
            "--out",
            str(out),
        ]

    def build(self, out: Path) -> list[str]:
        """On the device; the bundle is made before, where there is memory."""
        bundle = self.work / "bundle" / "C8.bundle"
        if not bundle.is_file():
            given = [each if each != "export" else "bundle" for each in self.export(bundle.parent)]
            place = given.index("--target")
            command = [sys.executable, "-c", _RUN, "deploy", *given[:place], *given[place + 2 :]]
            subprocess.run(command, check=True, capture_output=True)
        copied = shutil.copy(bundle, out)  # a bundle is unpacked beside itself
        return ["deploy", "build", str(copied), "--engine", "onnxruntime", "--threads", "1"]

    def start(self, arguments: Sequence[str], before: Sequence[str] = ()) -> subprocess.Popen[str]:
        environment = {**os.environ, "LC2FER_CACHE": str(self.data / "cache"), "OMP_NUM_THREADS": "1"}
        command = [*before, sys.executable, "-c", _RUN, *arguments]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self, name: str, process: subprocess.Popen[str], allowed: Sequence[int]) -> int:
        """The exit code; 2 and 3 have to come with three sentences."""
        try:
            errors = process.communicate(timeout=_TIMEOUT_S)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            self.wrong.append(f"{name}: still there after {_TIMEOUT_S} s")
            return 124
        last = errors.strip().splitlines()[-1] if errors.strip() else ""
        code = process.returncode
        self.ends.setdefault(name, []).append(f"exit code {code}" + (f": {last}" if code else ""))
        silent = code in (2, 3) and errors.count(". ") + errors.count("? ") < 2
        if code not in allowed or silent or "Unexpected" in errors or "Traceback" in errors:
            self.wrong.append(f"{name}: exit code {code}: {errors[-600:]}")
        self.keep()
        return code

    def keep(self) -> None:
        """Write what is known so far."""
        document = {"ends": self.ends, "wrong": self.wrong, "seconds": round(time.monotonic() - self._started, 1)}
        self._out.write_text(json.dumps(document, indent=1) + "\n")

    def whole(self, name: str, folder: Path) -> None:
        """Every artifact in a folder is whole; what lies there and is none has no manifest, and no name of one."""
        for path in folder.glob("*.json"):
            if path.name in {"report.json", "run.json", "split.json", "first_losses.json"}:
                json.loads(path.read_text())
                continue
            try:
                artifacts.load(path)
            except ArtifactError as error:
                self.wrong.append(f"{name}: {error}")

    def together(self) -> None:
        """Two of each at once into one folder."""
        for command, name, one, other in (
            ("train", "two trainings", self.train, lambda out: self.train(out, seed=1)),
            ("export", "two exports", self.export, self.export),
            ("bench", "two benches", self.bench, self.bench),
        ):
            if command not in self.commands:
                continue
            out = self.work / name.replace(" ", "-")
            processes = [self.start(one(out)), self.start(other(out))]
            codes = sorted(self.end(name, process, (0, 2)) for process in processes)
            self.whole(name, out)
            if codes[0] != 0:
                self.wrong.append(f"{name}: none of both went through, {codes}")

    def shared_memory(self) -> None:
        """Nothing that this project does lies in /dev/shm, or it says so."""
        if os.geteuid() != 0 or shutil.which("unshare") is None:
            return
        for name in self.commands:
            out = self.work / f"shm-{name}"
            process = self.start(getattr(self, name)(out), ("unshare", "-m", "bash", "-c", _SHM, "-"))
            self.end(f"{name} with a full /dev/shm", process, (0, 2))
            self.whole(name, out)

    def disk(self) -> None:
        """A folder on a disk of a few kilobytes; with more room the next run goes on."""
        if os.geteuid() != 0:
            return
        for name in self.commands:
            out = self.work / f"disk-{name}"
            out.mkdir()
            for kilobytes in _DISK_KB:
                subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(out)], check=True)
                self.end(f"{name} on a full disk", self.start(getattr(self, name)(out)), (0, 2))
                self.whole(name, out)
                left = [path.name for path in out.iterdir() if path.name.startswith(".making-")]
                if left:
                    self.wrong.append(f"{name} on a disk of {kilobytes} kB: {left} is left")
                subprocess.run(["mount", "-o", f"remount,size={_ROOM}", str(out)], check=True)
                if self.end(f"{name} with more room", self.start(getattr(self, name)(out)), (0,)):
                    self.wrong.append(f"{name}: does not go on after a disk of {kilobytes} kB")
                self.whole(name, out)
                subprocess.run(["umount", str(out)], check=True)

    def clock(self) -> None:
        """A run of today goes on, and is done again, the day before yesterday."""
        compiler = shutil.which("cc")
        if compiler is None:
            return
        library = self.work / "clock.so"
        source = Path(__file__).with_name("clock.c")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
        back = ("env", f"LD_PRELOAD={library}")
        for name in self.commands:
            out = self.work / f"clock-{name}"
            self.end(f"{name}, then the clock is set back", self.start(getattr(self, name)(out)), (0,))
            more = ["--epochs", "3"] if name == "train" else []
            arguments = [*getattr(self, name)(out), *more]
            self.end(f"{name} with the clock set back", self.start(arguments, back), (0,))
            self.whole(name, out)

    def memory(self) -> None:
        """Under `ulimit -v`: a sentence, or the signal by which an engine's own code ends; and never half."""
        for name in self.limited:
            out = self.work / f"memory-{name}"
            out.mkdir()
            if name == "build":  # compiles what it then finds: minutes
                self.end("build with all memory", self.start(self.build(out)), (0,))
            for megabytes in self.megabytes:
                before = ("bash", "-c", f'ulimit -v {megabytes * 1024}; exec "$@"', "-")
                process = self.start(getattr(self, name)(out), before)
                self.end(f"{name} with too little memory", process, (0, 2, 3, -6, -11, -7, 127))
                self.whole(name, out)
            if self.end(f"{name} afterwards", self.start(getattr(self, name)(out)), (0,)):
                self.wrong.append(f"{name}: does not go on")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="+", choices=_KINDS, default=_KINDS)
    parser.add_argument("--commands", nargs="+", choices=_COMMANDS, default=_COMMANDS)
    parser.add_argument("--megabytes", nargs="+", type=int, default=_MEMORY_MB, help="of ulimit -v")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    if os.geteuid() == 0 and not os.environ.get(_OWN):  # mounts are seen by nobody else, and go with this process
        os.environ[_OWN] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, __file__, *arguments])
    with tempfile.TemporaryDirectory(prefix="lc2fer-shortage-") as work:
        trials = Trials(given.data, Path(work), given.out, given.commands)
        trials.megabytes = given.megabytes
        for name in given.only:
            getattr(trials, name)()
        trials.keep()
    return 1 if trials.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

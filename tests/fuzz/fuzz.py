"""Fuzz every reader and the operators: `nice -n 19 python tests/fuzz/fuzz.py --seconds 3600 [NAME ...]`.

Each reader gets a process of its own for so many seconds, one after the other (`--jobs` at a time). A process that an
input ended, by a signal, a hang or memory, is told with that input. `--out` keeps the counts as JSON; inputs that were
answered wrongly lie in `--folder`. Exit code 1 where there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OPERATORS = "operators"  # the C++ of lc2fer/kernels under libFuzzer
NETWORKS = "lc2"  # the C++ reader of .lc2 files under libFuzzer, by tests/native/fuzz.sh
_SANITIZED = ("-std=c++17", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_TIMED = ("sh", "-c", '"$@"; code=$?; times; exit $code', "sh")  # the last line: a processor's time, user and system
_GRACE_S = 600.0  # beyond what was asked for: imports, and an input that takes long


def main(arguments: list[str]) -> int:
    from readers import READERS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[*READERS, OPERATORS, NETWORKS])
    parser.add_argument("--seconds", type=float, default=60.0, help="each (default: 60)")
    parser.add_argument("--jobs", type=int, default=1, help="at a time (default: 1)")
    parser.add_argument("--plain", action="store_true", help="mutation alone, also where atheris is installed")
    parser.add_argument("--folder", type=Path, help="for corpora that grow and inputs with a fault; default: a new one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON")
    given = parser.parse_args(arguments)
    place = given.folder or Path(tempfile.mkdtemp(prefix="lc2fer-fuzz-"))
    found: dict[str, Any] = {}

    def one(name: str) -> None:
        found[name] = fuzz(name, given.seconds, place / name, plain=given.plain, seed=given.seed)
        fault = found[name]["fault"]
        print(f"{name}: {found[name]['inputs']:,} inputs, {fault or 'no fault'}", file=sys.stderr, flush=True)
        if given.out is not None:  # as far as it is
            given.out.write_text(json.dumps({"seconds": given.seconds, "readers": found}, indent=1) + "\n")

    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(one, given.names))
    print(json.dumps({"folder": str(place), "readers": found}), flush=True)
    return 1 if any(each["fault"] for each in found.values()) else 0


def fuzz(name: str, seconds: float, place: Path, *, plain: bool = False, seed: int = 0) -> dict[str, Any]:
    """Inputs tried, how, the seconds that it took, and the fault, if there was one."""
    place.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    command = [sys.executable, str(HERE / "one.py"), name, "--seconds", str(seconds), "--folder", str(place)]
    command += ["--seed", str(seed), *["--plain"] * plain]
    if name == OPERATORS:
        built = build_operators(place)
        if built is None:
            return {"how": "left out: no clang++", "inputs": 0, "fault": None, "seconds": 0.0}
        corpus = place / "corpus"
        corpus.mkdir(exist_ok=True)
        command = [str(built), f"-max_total_time={max(1, round(seconds))}", f"-seed={seed + 1}", "-max_len=256"]
        command += ["-print_final_stats=1", f"-artifact_prefix={place}/", str(corpus), str(HERE / "corpus" / OPERATORS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE), "PYTHON": sys.executable}
    if name == NETWORKS:
        script = ["bash", str(HERE.parent / "native/fuzz.sh")]
        if not (place / "fuzz").is_file():  # compiling is not the fuzzer's time
            built = subprocess.run([*script, "1", str(place)], capture_output=True, text=True, env=environment)
            if built.returncode == 3:
                return {"how": "left out: no clang++", "inputs": 0, "fault": None, "seconds": 0.0}
            started = time.monotonic()
        command = [*script, str(max(1, round(seconds))), str(place)]
    try:
        done = subprocess.run(
            [*_TIMED, *command],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + _GRACE_S,
            env=environment,
        )
        code, output, errors = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as hung:
        code, output, errors = 124, str(hung.stdout or ""), "it hung"
    lines = [line for line in output.splitlines() if line.startswith('{"how"')]
    document: dict[str, Any] = json.loads(lines[-1]) if lines else {"how": "libFuzzer", "inputs": 0, "fault": None}
    stats = [line for line in errors.splitlines() if "number_of_executed_units" in line]
    if name in (OPERATORS, NETWORKS) and stats:
        document["inputs"] = int(stats[-1].split()[-1])
        document["cpu_s"] = round(sum(map(_seconds, output.splitlines()[-1].split())), 1)
    if code and not document["fault"] and "libFuzzer: run interrupted" not in errors:
        document["fault"] = f"exit code {code}: {errors[-1500:]}"
    return {**document, "seconds": round(time.monotonic() - started, 1)}


def _seconds(text: str) -> float:
    """Of what a shell's `times` says: 2m3.5s."""
    minutes, _, rest = text.rstrip("s").partition("m")
    return 60 * float(minutes) + float(rest)


def build_operators(place: Path) -> Path | None:
    """The operators' fuzzer, compiled; None where there is no clang++."""
    names = ("clang++", *(f"clang++-{number}" for number in range(25, 13, -1)))
    compiler = next((name for name in names if shutil.which(name)), None)
    if compiler is None:
        return None
    made = place / OPERATORS
    kernels = HERE.parents[1] / "lc2fer/kernels"
    read = [HERE / "operators.cpp", *kernels.rglob("*.h"), *kernels.rglob("*.cpp")]
    if made.is_file() and made.stat().st_mtime > max(path.stat().st_mtime for path in read):
        return made  # compiling it took 8.4 minutes of a processor
    sources = {"operators.cpp": ("-fsanitize=fuzzer",), "generic.cpp": ()}
    if platform.machine() == "x86_64":
        sources["avx2.cpp"] = ("-march=x86-64-v3",)
    objects = []
    for name, flags in sources.items():
        source = HERE / name if name == "operators.cpp" else kernels / "variants" / name
        objects.append(str(place / f"{name}.o"))
        command = [compiler, *_SANITIZED, *flags, "-c", str(source), "-o", objects[-1]]
        subprocess.run(command, check=True, capture_output=True)
    subprocess.run([compiler, *_SANITIZED, "-fsanitize=fuzzer", *objects, "-o", str(made)], check=True)
    return made


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    sys.exit(main(sys.argv[1:]))

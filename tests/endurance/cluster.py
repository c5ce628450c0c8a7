"""`lc2fer-predict --engine ray` on many: `python tests/endurance/cluster.py PICTURES --model MODEL --out FILE`.

The same pictures locally and on a Ray of two workers on this machine. At work on the second part one of the workers is
killed; once there are two parts, the command is interrupted; then it is given again and has to go on. All answers have
to be the local ones, in their order.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as parquet

from lc2fer.inputs import LABELS

PROGRAM = "import sys; from lc2fer.cli import predict; sys.exit(predict())"
WORKERS = 2
_PATIENCE_S = 900.0


def _command(given: argparse.Namespace, *more: object) -> list[str]:
    common = ["--model", given.model, "--faces", "crop", "--batch", 32, *more, given.pictures]
    return [sys.executable, "-c", PROGRAM, *map(str, common)]


def _waited(process: subprocess.Popen[str], told: Path) -> tuple[dict[str, Any], float]:
    started = time.monotonic()
    code = process.wait(_PATIENCE_S)
    last = told.read_text().splitlines()[-1]
    return {"exit_code": code, **json.loads(last)}, round(time.monotonic() - started, 1)


def locally(given: argparse.Namespace, work: Path) -> tuple[list[dict[str, str]], float]:
    """The rows of the local command's CSV, and its seconds."""
    with (work / "local").open("w") as out:
        process = subprocess.Popen(_command(given, "--csv", work / "local.csv"), stdout=out, text=True)
        _, seconds = _waited(process, work / "local")
    with (work / "local.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file)), seconds


def _kill_a_worker(driver: psutil.Process) -> bool:
    for process in driver.children(recursive=True):
        try:
            if any("MapBatches(Judge))." in word for word in process.cmdline()):  # at work on a batch
                process.kill()
                return True
        except psutil.Error:
            continue
    return False


def disturbed(given: argparse.Namespace, work: Path, answers: Path) -> dict[str, Any]:
    """The first run: a worker is killed in the second part, and the command interrupted in the third."""
    command = _command(given, "--engine", "ray", "--workers", WORKERS, "--part", given.part, "--out", answers)
    killed = False
    started = time.monotonic()
    with (work / "first").open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, text=True)
        driver = psutil.Process(process.pid)
        while process.poll() is None and time.monotonic() < started + _PATIENCE_S:
            parts = len(list(answers.glob("part-*.parquet")))
            if parts == 1 and not killed:
                killed = _kill_a_worker(driver)
            if parts == 2:
                left = driver.children(recursive=True)
                process.send_signal(signal.SIGINT)
                process.wait(120)
                _, alive = psutil.wait_procs(left, timeout=60)
                return {
                    "worker_killed": killed,
                    "exit_code": process.returncode,
                    "parts": len(list(answers.glob("part-*.parquet"))),
                    "processes_left": len(alive),
                    "seconds": round(time.monotonic() - started, 1),
                }
            time.sleep(0.01)
    return {"worker_killed": killed, "exit_code": process.returncode, "parts": None}


def resumed(given: argparse.Namespace, work: Path, answers: Path) -> dict[str, Any]:
    """The same command again."""
    command = _command(given, "--engine", "ray", "--workers", WORKERS, "--part", given.part, "--out", answers)
    with (work / "second").open("w") as out:
        document, seconds = _waited(subprocess.Popen(command, stdout=out, text=True), work / "second")
    return {**{name: document[name] for name in ("exit_code", "parts", "parts_there", "pictures")}, "seconds": seconds}


def compared(answers: Path, local: list[dict[str, str]]) -> dict[str, Any]:
    """How many rows are another picture's or another expression, and the largest difference of a share."""
    rows = [row for path in sorted(answers.glob("part-*.parquet")) for row in parquet.read_table(path).to_pylist()]
    pairs = list(zip(rows, local))
    return {
        "rows": len(rows),
        "local_rows": len(local),
        "other_picture": sum(Path(row["picture"]).name != Path(own["picture"]).name for row, own in pairs),
        "other_expression": sum(
            row["expression"] != max(LABELS, key=lambda name: float(own[name])) for row, own in pairs
        ),
        "largest_difference": max(abs(row[name] - float(own[name])) for row, own in pairs for name in LABELS),
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--part", type=int, default=2500)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    document: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="lc2fer-cluster-") as folder:
        work, answers = Path(folder), Path(folder) / "answers"
        local, document["local_seconds"] = locally(given, work)
        for name, step in (("disturbed", disturbed), ("resumed", resumed)):
            document[name] = step(given, work, answers)
            print(f"{name}: {document[name]}", file=sys.stderr, flush=True)
        document |= compared(answers, local)
    given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document))
    same = document["rows"] == document["local_rows"] and not (
        document["other_picture"] or document["other_expression"]
    )
    return 0 if same and document["disturbed"]["worker_killed"] and document["resumed"]["parts_there"] >= 2 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

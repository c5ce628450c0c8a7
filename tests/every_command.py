"""Every command that README, CONTRIBUTING and docs/ show, run in a folder as a reader would; prints a table.

python tests/every_command.py FOLDER [PAGE ...]      # all pages, or these: README.md docs/tutorial.md
python tests/every_command.py --list                 # what is run by neither this nor the gate, and why

A page's commands run one after another in a folder of its own, with the names in them as files: photo.jpg, FACES.
What all pages start from is made once a FOLDER, in FOLDER/began, so that pages can be run one at a time; it is made
anew when its models do not open any more.
tests/documents.toml says with which flags there is less to do. Takes half an hour; exits 1 where a command failed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "fakes"))

import documents
from documents import NEVER, PAGES, PYTHON, ROOT, Line, Rule

PHOTOGRAPHS = (("skimage", "data/astronaut.png"), ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"))
FACES = 250  # a class: INT8 takes its ranges from 300 of D^v
MADE = ("onnx-fp32", "onnx-int8", "ort-int8-fused", "openvino-int8")  # what pages take for granted in out/
ALLOWED_S = 900


def photographs() -> list[Path]:
    """In the public domain: Eileen Collins, and Grace Hopper."""
    found = []
    for package, inside in PHOTOGRAPHS:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            sys.exit(f"{package} is not installed. Its photograph {inside} was expected. Run: pip install -e '.[dev]'")
        found.append(Path(spec.origin).parent / inside)
    return found


def shell(command: str, folder: Path, log: Path) -> int:
    """Its exit code; what it says goes to the log."""
    there = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with log.open("a") as file:
        print(f"\n== {command}", file=file, flush=True)
        try:
            done = subprocess.run(
                ["bash", "-c", command], cwd=folder, env=there, stdout=file, stderr=file, timeout=ALLOWED_S
            )
        except subprocess.TimeoutExpired:
            return 124
    return done.returncode


def make_models(folder: Path, log: Path) -> None:
    """out/ with models and a report, and what stands for a reader's own files."""
    short = "--launches 1 --seconds 0.1 --runs 30 --limit 50"
    for target in MADE:
        if shell(f"lc2fer export --config C6 --target {target} --out out", folder, log):
            sys.exit(f"{target} could not be made: {log} has the reason. The pages take it for granted.")
    if shell(f"lc2fer bench --configs C6 --targets onnx-fp32 onnx-int8 {short} --out out", folder, log):
        sys.exit(f"No report could be made: {log} has the reason. The pages take one for granted.")
    for name in ("A.json", "B.json"):
        shutil.copy(folder / "out" / "report.json", folder / name)
    for suffix in (".onnx", ".json"):
        shutil.copy(folder / f"out/C6-ort-int8-fused{suffix}", folder / f"MODEL{suffix}")
    for name in (".venv", "lc2fer", "native", "tests"):  # native/ finds the kernels beside it
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    (folder / "baselines").symlink_to(ROOT / "benchmarks" / "baselines")


def run(line: Line, rule: Rule, folder: Path, log: Path) -> int:
    if line.language == PYTHON:
        (folder / "block.py").write_text(line.text, encoding="utf-8")
        return shell("python block.py", folder, log)
    if rule.before and shell(rule.before, folder, log):
        return 1
    return shell(rule.command(line.text), folder, log)


def main() -> int:
    """Print the table as Markdown, and below it what was not run."""
    rules = documents.rules()
    if len(sys.argv) < 2 or (sys.argv[1].startswith("-") and sys.argv[1] != "--list"):
        sys.exit(__doc__)
    asked = [ROOT / name for name in sys.argv[2:]] or PAGES
    lines = {page: [(line, documents.rule_of(line, rules)) for line in documents.lines_of(page)] for page in asked}
    failed = count = 0
    if sys.argv[1] != "--list":
        root = Path(sys.argv[1])
        began = root / "began"
        log = root / "began.log"
        if not (began / "complete").exists() or shell("lc2fer predict face.jpg --model MODEL.onnx", began, log):
            shutil.rmtree(began, ignore_errors=True)
            documents.prepare(began, photographs(), FACES)
            make_models(began, log)
            (began / "complete").touch()
        print("| where | command | exit | s |\n| --- | --- | --: | --: |", flush=True)
        for page in asked:
            ours = [(line, rule) for line, rule in lines[page] if rule.how != NEVER]
            folder = root / page.stem
            if ours:
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(began, folder, symlinks=True)
            for line, rule in ours:
                since = time.monotonic()
                code = run(line, rule, folder, root / f"{page.stem}.log")
                count += 1
                failed += code not in rule.exit_codes
                shown = line.text.splitlines()[0] if line.language == PYTHON else rule.command(line.text)
                cell = shown.replace("|", "\\|")
                print(f"| {line.place} | `{cell}` | {code} | {time.monotonic() - since:.0f} |", flush=True)
        print(f"\n{count} ran, {failed} failed. Not run:\n")
    print("| where | command | why |\n| --- | --- | --- |")
    for page in asked:
        for line, rule in lines[page]:
            if rule.how == NEVER:
                shown = line.text.splitlines()[0].replace("|", "\\|")
                print(f"| {line.place} | `{shown}` | {rule.why} |")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())

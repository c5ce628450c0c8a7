"""Mutation testing: small changes to a module, each in a process of its own, and whether its tests notice.

`nice -n 19 python tests/mutation/mutate.py [MODULE ...] [--sample N] --out FILE`. Packages are imported once; each
mutant is a fork that imports the project anew, with the one module changed as it is loaded, and runs that module's
tests until the first that fails. Modules and their tests stand in SUBJECTS. A mutant that survives is told with its
line; those in equivalent.txt were looked at and change nothing that can be seen.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_NUMBERS = "tests/properties/test_numbers.py"
_DOCUMENTS = "tests/properties/test_documents.py"
_JUDGING = ("paired", "spread", "validity", "gate", "choose", "compare")  # tests/benchmarks/judging
_RANGES = (
    f"{_NUMBERS}::test_a_range_scales_with_its_values",
    f"{_NUMBERS}::test_rounding_to_int8_stays_within_half_a_step",
)


def _judging(*first: str, also: tuple[str, ...] = ()) -> tuple[str, ...]:
    """A module's own tests first, for a mutant is left at the first that fails; then the others of its folder."""
    names = (*first, *(name for name in _JUDGING if name not in first))
    return (*(f"tests/benchmarks/judging/test_{name}.py" for name in names), *also)


SUBJECTS: dict[str, tuple[str, ...]] = {
    "lc2fer.metrics": ("tests/test_metrics.py", _NUMBERS),
    "lc2fer.data.split": ("tests/data/test_split.py", _NUMBERS),
    "lc2fer.artifact": ("tests/test_artifact.py", "tests/test_header.py", _DOCUMENTS),
    "lc2fer.deploy.device.bundle": (
        "tests/deploy/device/test_archive.py",
        "tests/deploy/device/test_unpacking.py",
        _DOCUMENTS,
    ),
    "lc2fer.benchmarks.judging.paired": _judging(
        "paired",
        also=(
            f"{_NUMBERS}::test_a_drop_is_the_others_gain",
            f"{_NUMBERS}::test_verdicts_do_not_depend_on_the_rows_order",
        ),
    ),
    "lc2fer.benchmarks.judging.spread": _judging(
        "spread", also=(f"{_NUMBERS}::test_a_ratio_is_the_inverse_of_the_other",)
    ),
    **{
        f"lc2fer.benchmarks.judging.{name}": _judging(first)
        for name, first in (
            ("validity", "validity"),
            ("rules", "gate"),
            ("gate", "gate"),
            ("choose", "choose"),
            ("compare", "compare"),
        )
    },
    "lc2fer.benchmarks.judging.ratios": _judging("figures", also=("tests/benchmarks/measuring/test_turns.py",)),
    "lc2fer.benchmarks.judging.figures": _judging(
        "figures",
        also=("tests/benchmarks/measuring/test_labels.py", "tests/benchmarks/report/test_document.py"),
    ),
    "lc2fer.benchmarks.judging.peers": (
        "tests/benchmarks/judging/test_figures.py",
        "tests/benchmarks/report/test_document.py",
        "tests/benchmarks/judging/test_compare.py",
    ),
    "lc2fer.export.int8.ranges": ("tests/export/int8/test_ranges.py", *_RANGES),
    "lc2fer.export.int8.quantize": ("tests/export/int8/test_quantize.py",),
    "lc2fer.export.int8.lint": ("tests/export/int8/test_lint.py",),
    "lc2fer.export.int8.recorded": ("tests/export/int8/test_recorded.py",),
    "lc2fer.export.int8.smooth": ("tests/export/int8/test_smooth.py",),
    "lc2fer.export.int8.calibration": ("tests/export/int8/test_calibration.py",),
}
_PRELOADED = ("numpy", "scipy.stats", "PIL.Image", "hypothesis", "tabulate", "rich.console", "psutil")
_PRELOADED += ("onnx", "onnxscript", "torch", "torch.onnx")
_COMPARED = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_COMPUTED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


def mutants(tree: ast.Module) -> Iterator[tuple[str, ast.Module]]:
    """Every changed copy of a module, with its line and what was changed."""
    for place, node in enumerate(_nodes(tree)):
        for change in _changes(node):
            changed = copy.deepcopy(tree)
            target = list(_nodes(changed))[place]
            before = ast.unparse(target)[:60]
            _apply(target, change)
            ast.fix_missing_locations(changed)
            yield f"{getattr(node, 'lineno', 0)}: {before} -> {ast.unparse(target)[:60]}", changed


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that do something when they run: no annotations, texts of errors or documentation."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "type_params", "decorator_list"):
            continue
        if isinstance(tree, ast.Raise) and field == "exc":
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, (ast.JoinedStr, ast.Import, ast.ImportFrom)):
                continue
            if isinstance(child, ast.AST):
                yield child
                yield from _nodes(child)


def _changes(node: ast.AST) -> list[Any]:
    if isinstance(node, ast.Compare):
        return [type(node.ops[0])] if type(node.ops[0]) in _COMPARED else []
    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        return [type(node.op)] if type(node.op) in _COMPUTED else []
    if isinstance(node, ast.BoolOp):
        return ["swap"]
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        return ["negate"]
    if isinstance(node, ast.UnaryOp):
        return ["drop"] if isinstance(node.op, (ast.Not, ast.USub)) else []
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        return ["next"]
    return []


def _apply(node: Any, change: Any) -> None:
    if isinstance(node, ast.Compare):
        node.ops[0] = _COMPARED[change]()
    elif isinstance(node, (ast.BinOp, ast.AugAssign)):
        node.op = _COMPUTED[change]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else node.op
        if isinstance(node.op, ast.Not):
            node.operand = ast.UnaryOp(ast.Not(), node.operand)
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from a changed tree."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self._name, self._path, self._tree = name, path, tree

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> Any:
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(name, self._path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._tree, str(self._path), "exec"), module.__dict__)


def run(module: str, path: Path, tree: ast.Module, tests: tuple[str, ...], timeout_s: float) -> bool:
    """Whether a test fails on that tree; a hang counts as a failure."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        sys.meta_path.insert(0, _Changed(module, path, tree))
        import pytest

        options = [
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "-m",
            "not slow and not every",
            "--no-header",
        ]
        code = 1
        try:  # the others are not even collected where the module's own tests notice it
            code = int(pytest.main([*options, str(ROOT / tests[0])]))
            if code == 0 and tests[1:]:
                code = int(pytest.main([*options, *(str(ROOT / test) for test in tests[1:])]))
        finally:
            os._exit(code)
    ends = time.monotonic() + timeout_s
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) != 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=list(SUBJECTS))
    parser.add_argument("--sample", type=int, help="mutants of each module, drawn from seed 0; default: all")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="a module; the rest is left untried")
    parser.add_argument("--timeout", type=float, help="seconds a mutant (default: from what the tests take)")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    os.chdir(ROOT)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in _PRELOADED:
        importlib.import_module(name)
    known = set((Path(__file__).parent / "equivalent.txt").read_text(encoding="utf-8").splitlines())
    document: dict[str, Any] = {}
    for module in given.modules:
        path = _path(module)
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        every = list(mutants(tree))
        chosen = random.Random(0).sample(every, len(every) if given.sample is None else min(given.sample, len(every)))
        started = time.monotonic()
        if run(module, path, tree, SUBJECTS[module], 600):
            print(f"{module}: its tests fail unchanged", file=sys.stderr, flush=True)
            continue
        timeout_s = given.timeout or 10 + 5 * (time.monotonic() - started)
        survivors: list[str] = []
        killed = 0
        ends = time.monotonic() + given.seconds
        for told, changed in chosen:
            if time.monotonic() > ends:  # they stand in no order, so those that were tried are a sample as well
                chosen = chosen[: killed + len(survivors)]
                break
            if run(module, path, changed, SUBJECTS[module], timeout_s):
                killed += 1
            else:
                survivors.append(told)
        left = [one for one in survivors if _line(module, text.splitlines(), one) not in known]
        document[module] = {
            "mutants": len(every),
            "tried": len(chosen),
            "killed": killed,
            "equivalent": len(survivors) - len(left),
            "survivors": left,
            "seconds": round(time.monotonic() - started, 1),
        }
        print(f"{module}: {killed} of {len(chosen)} killed, {len(left)} survive", file=sys.stderr, flush=True)
        given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


def _line(module: str, lines: list[str], told: str) -> str:
    """As equivalent.txt names it: by the line itself, for its number changes, and another line may have that change."""
    number, _, change = told.partition(": ")
    return f"{module}: {lines[int(number) - 1].strip()}: {change}"


def _path(module: str) -> Path:
    parts = module.split(".")
    inside = parts[1:] if parts[1] in ("export", "benchmarks", "deploy") else parts
    return ROOT.joinpath(*inside).with_suffix(".py")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

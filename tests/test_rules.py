"""The rules of CONTRIBUTING.md that a machine can check."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SPOKES = ("export", "benchmarks", "deploy", "native")
BASE = {"numpy", "PIL", "rich", "tabulate"}  # the dependencies of pyproject.toml
# Folder -> what it may import beside these, in any of its modules or the folders inside it that are not named here.
FOLDERS = {
    "lc2fer": set(),
    "lc2fer.network": {"torch", "safetensors"},
    "lc2fer.training": {"torch", "safetensors", "accelerate"},
    "lc2fer.explain": {"torch", "captum", "sklearn", "matplotlib", "threadpoolctl"},
    "lc2fer.export": {
        "torch",
        "safetensors",
        "onnx",
        "onnxscript",
        "onnx_ir",
        "onnxruntime",
        "openvino",
        "nncf",
        "tensorrt",
    },
    "lc2fer.export.peers": {  # a module an engine, in an environment of its own
        "torch",
        "executorch",
        "torchao",
        "litert_torch",
        "ai_edge_quantizer",
        "ai_edge_litert",
        "_tools",  # MNN's
        "MNN",
        "ncnn",
        "pnnx",
    },
    "lc2fer.benchmarks": {"scipy", "psutil"},
    "lc2fer.deploy": set(),
    "lc2fer.native": set(),
}
WITH_TORCH = {"lc2fer.network", "lc2fer.training", "lc2fer.explain", "lc2fer.export"}
ENGINES = {  # a module of deploy -> the one engine, or device, that it is about
    "sessions.onnxruntime": {"onnxruntime"},
    "sessions.openvino": {"openvino"},
    "sessions.tensorrt": {"tensorrt"},
    "sessions.cuda": {"pycuda", "cuda"},
    "device.signing": {"cryptography"},
    "camera.capture": {"cv2"},
    "camera.feed": {"cv2"},
    "camera.readers": {"cv2"},
    "camera.record": {"cv2"},
    "camera.publish": {"paho"},
    "camera.listening": {"starlette"},
    "camera.patience": {"uvicorn"},
    "camera.web": {"starlette", "uvicorn"},
    "serving.metrics": {"prometheus_client"},
    "serving.server": {"starlette", "uvicorn"},
}
HEAVY = {
    "torch",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "tensorrt",
    "pycuda",
    "cuda",
    "accelerate",
    "scipy",
}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "lc2fer" else ("lc2fer", *parts))


SOURCES = {name_of(path): path for folder in ("lc2fer", *SPOKES) for path in sorted((ROOT / folder).rglob("*.py"))}


def room_of(module: str) -> str:
    """The folder of a module, as a package: "lc2fer.export.int8"."""
    return module if SOURCES[module].name == "__init__.py" else module.rpartition(".")[0]


def part_of(module: str) -> str:
    """The folder of FOLDERS that a module is in."""
    room = room_of(module)
    while room not in FOLDERS:
        room = room.rpartition(".")[0]
    return room


def spoke_of(module: str) -> str | None:
    second = (*module.split("."), "")[1]
    return second if second in SPOKES else None


def imports_of(module: str) -> Iterator[tuple[str, int]]:
    """Absolute names of all that a module imports, wherever in it, with the line."""
    path = SOURCES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(
                    [*package.split(".")[: len(package.split(".")) - node.level + 1], *filter(None, [base])]
                )
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                spoke = base == "lc2fer" and alias.name in SPOKES
                yield (inner if inner in SOURCES or spoke else base), node.lineno


@pytest.mark.parametrize("module", SOURCES)
def test_imports_stay_within_the_rules(module: str) -> None:
    part = part_of(module)
    allowed = BASE | FOLDERS[part] | ENGINES.get(module.removeprefix("lc2fer.deploy."), set())
    for name, line in imports_of(module):
        where = f"{SOURCES[module].relative_to(ROOT)}:{line} imports {name}"
        top = name.split(".")[0]
        if top in SPOKES or top == "tests":
            pytest.fail(f"{where}, which is no package of that name")
        elif top == "lc2fer":
            if spoke_of(name) is not None:
                assert spoke_of(name) == spoke_of(module), f"{where}: only the hub reaches a spoke, and by name"
            if name in SOURCES and part_of(name) in WITH_TORCH:
                assert part in WITH_TORCH, f"{where}, which needs torch"
        elif top not in sys.stdlib_module_names:
            assert top in allowed, f"{where}, which {part} may not"


def test_folders_do_not_import_each_other_in_a_circle() -> None:
    """What a folder imports lies below it, and the folder that holds a spoke's rooms lies above them."""
    below: dict[str, set[str]] = {room_of(module): set() for module in SOURCES}
    for module in SOURCES:
        below[room_of(module)] |= {room_of(name) for name, _ in imports_of(module) if name in SOURCES}
    below = {room: rooms - {room} for room, rooms in below.items()}
    while below:
        lowest = [room for room, rooms in below.items() if not rooms & below.keys()]
        assert lowest, f"these import each other: { {room: rooms & below.keys() for room, rooms in below.items()} }"
        for room in lowest:
            del below[room]


@pytest.mark.parametrize("room", sorted({str(path.parent.relative_to(ROOT)) for path in SOURCES.values()}))
def test_each_folder_says_what_it_holds(room: str) -> None:
    said = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8")))
    assert said is not None
    assert said.splitlines()[0].endswith(".")


# -- importing is cheap and touches nothing --------------------------------------------------------------------------

IMPORT = """
import importlib, json, sys
touched = []
def watch(event, arguments):
    path = str(arguments[0]) if event == "open" else ""
    if path.startswith(("/dev/", "/sys/")) and path not in ("/dev/null", "/dev/urandom"):
        touched.append(f"{event} {arguments[0]}")
    elif event in ("subprocess.Popen", "os.system", "os.posix_spawn", "socket.connect"):
        touched.append(f"{event} {arguments[:2]}")
    elif event == "ctypes.dlopen" and arguments[0] and "cuda" in str(arguments[0]):
        touched.append(f"{event} {arguments[0]}")
sys.addaudithook(watch)
failed = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed[name] = repr(error)
print(json.dumps([failed, touched]))
"""


def test_numpy_is_enough_for_the_hub_and_the_harness(python: Any) -> None:
    modules = [module for module in SOURCES if part_of(module) in {"lc2fer", "lc2fer.benchmarks"}]
    done = python(IMPORT, *modules, block=HEAVY)
    assert json.loads(done.stdout) == [{}, []], done.stderr


@pytest.mark.parametrize("module", [module for module in SOURCES if part_of(module) == "lc2fer.deploy"])
def test_an_engine_is_enough_for_its_session(module: str, python: Any) -> None:
    engine = ENGINES.get(module.removeprefix("lc2fer.deploy."), set())
    missing = [name for name in engine if importlib.util.find_spec(name) is None]
    if missing and len(missing) == len(engine):
        pytest.skip(f"{' and '.join(missing)} not installed here")
    done = python(IMPORT, module, block=HEAVY - engine)
    failed, touched = json.loads(done.stdout)
    assert failed == {}
    assert [event for event in touched if "/dev/" in event or "cuda" in event] == []


@pytest.mark.parametrize("spoke", SPOKES)
def test_a_spoke_is_not_imported_under_its_bare_name(spoke: str, python: Any) -> None:
    done = python(f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {spoke}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: This folder is the package lc2fer.{spoke}: pip install -e . and import it under that name."
    )


PARENT = """
import lc2fer, lc2fer.cli, lc2fer.export.command, lc2fer.deploy.camera.scene
from lc2fer import artifact
print(lc2fer.open_session.__module__, lc2fer.__file__, artifact.bundled("C6").is_file(), lc2fer.export.__file__)
"""


@pytest.mark.parametrize("name", ["lc2fer", "other"])
def test_the_package_is_found_from_the_folder_above_the_checkout(name: str, tmp_path: Path, python: Any) -> None:
    """As after `git clone .../lc2fer; pip install -e lc2fer`: the clone is no empty package of that name."""
    (tmp_path / name).symlink_to(ROOT)
    done = python(PARENT, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout.split() == [
        "lc2fer.session",
        str(ROOT / "lc2fer" / "__init__.py"),
        "True",
        str(ROOT / "export" / "__init__.py"),
    ]


# -- packaging --------------------------------------------------------------------------------------------------------


def test_packages_are_the_folders_with_an_init(pyproject: dict[str, Any]) -> None:
    settings = pyproject["tool"]["setuptools"]
    folders = {module: path.parent for module, path in SOURCES.items() if path.name == "__init__.py"}
    assert sorted(settings["packages"]) == sorted(folders)
    assert {name: ROOT / folder for name, folder in settings["package-dir"].items()} == folders
    for path in SOURCES.values():
        assert (path.parent / "__init__.py").is_file(), f"{path.parent} holds modules and is no package"


def test_the_installed_commands_are_the_declared_ones(pyproject: dict[str, Any]) -> None:
    declared = pyproject["project"]["scripts"]
    installed = {entry.name: entry.value for entry in metadata.distribution("lc2fer").entry_points}
    assert installed == declared
    assert set(declared) == {
        "lc2fer",
        "lc2fer-train",
        "lc2fer-export",
        "lc2fer-bench",
        "lc2fer-explain",
        "lc2fer-predict",
        "lc2fer-faces",
        "lc2fer-deploy",
    }


@pytest.mark.parametrize("command", ["train", "export", "bench", "explain", "predict", "faces", "deploy"])
def test_help_is_answered(command: str, python: Any) -> None:
    done = python(f"import sys; from lc2fer import cli; sys.exit(cli.{command}())", "--help", block=HEAVY)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: lc2fer-{command} ")


def test_constraints_name_each_direct_dependency_once_a_python(pyproject: dict[str, Any]) -> None:
    from packaging.requirements import Requirement

    project = pyproject["project"]
    extras = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *(line for name, lines in extras.items() if name not in ("tensorrt", "all") for line in lines),
    ]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for version in ("3.10", "3.11", "3.12", "3.13"):
        chosen = [pin for pin in pins if pin.marker is None or pin.marker.evaluate({"python_version": version})]
        versions = {pin.name.lower().replace("_", "-"): str(pin.specifier) for pin in chosen}
        assert len(versions) == len(chosen)
        assert all(specifier.startswith("==") for specifier in versions.values())
        for requirement in map(Requirement, wanted):
            assert requirement.specifier.contains(versions[requirement.name].removeprefix("==")), requirement
    assert "torch==2.13.0" in lines


# -- the tree ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [".github", "lc2fer", *SPOKES, "tests"])
def test_no_file_is_long_or_named_for_nothing(folder: str) -> None:
    ends = {".py", ".js", ".css", ".sh", ".h", ".c", ".cpp", ".rs"}
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in ends]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert lengths
    assert {name: length for name, length in lengths.items() if length > 400} == {}
    assert not [name for name in lengths if Path(name).stem in {"utils", "util", "helpers", "common", "misc"}]


def test_files_hold_no_machine_and_no_loose_end() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    # Put together here, or this file would be found.
    words = [
        "pypi" + ".org",
        "files.python" + "hosted",
        "/wo" + "rk/",
        "/ro" + "ot/",
        "TO" + "DO",
        "FIX" + "ME",
        "# XX" + "X",
    ]
    found = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if not path.is_file() or b"\0" in (content := path.read_bytes())[:8192]:
            continue
        text = content.decode("utf-8", "replace")
        found += [f"{name}: {word}" for word in words if word in text]
    assert found == []


def test_every_clone_has_the_line_ends_that_scripts_need() -> None:
    """Whatever core.autocrlf says: bash, make and Docker take a carriage return for a part of the word."""
    names = ["a.sh", "Makefile", "docker/cpu.Dockerfile", ".ci/run", "x.py", "x.service", "x.h", "new/folder/x.sh"]
    done = subprocess.run(["git", "check-attr", "text", "eol", "--", *names], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    found = {tuple(line.split(": ")) for line in done.stdout.splitlines()}
    assert found == {(name, *pair) for name in names for pair in (("text", "auto"), ("eol", "lf"))}
    listed = subprocess.run(["git", "ls-files", "--eol"], cwd=ROOT, capture_output=True, text=True).stdout
    assert [line for line in listed.splitlines() if "crlf" in line and not line.endswith(".csv")] == []


_PATH = re.compile(r"(?<![\w./-])(?:lc2fer|export|benchmarks|deploy|native|tests|docs|docker|stubs)/[\w./-]*\w")
_MODULE = re.compile(r"(?<![\w./-])lc2fer(?:\.[a-z0-9_]+)+")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs", "lc2fer", *SPOKES])
def test_paths_and_modules_that_are_named_are_there(name: str) -> None:
    """In documents and in what the sources say: a file that moved leaves no name behind."""
    place = ROOT / name
    files = (
        [place]
        if place.is_file()
        else sorted(path for path in place.rglob("*") if path.suffix in {".md", ".py", ".h", ".c", ".cpp", ".sh"})
    )
    gone = []
    for path in files:
        text = path.read_text(encoding="utf-8")
        found = {each for each in _PATH.findall(text) if "." in Path(each).name or each.count("/") > 1}
        gone += [f"{path.relative_to(ROOT)}: {each}" for each in found if not (ROOT / each).exists()]
        if path.suffix == ".md":
            named = {each for each in _MODULE.findall(text) if each.rpartition(".")[0] not in SOURCES}
            gone += [f"{path.relative_to(ROOT)}: {each}" for each in named - set(SOURCES)]
    assert gone == []

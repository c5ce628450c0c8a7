"""Levels 0 and 1: our code uses only names of the stub, and each of them is in the real bindings of all versions.

The bindings come from the package index, are kept in pytest's cache and never committed. The libraries behind them are
replaced by nine functions that return NULL, so nothing but names can be looked at, in a process of its own.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUB = ROOT / "stubs" / "tensorrt" / "__init__.pyi"
FAKES = ROOT / "tests" / "fakes"

# -- level 0: the stub and the ban list -------------------------------------------------------------------------------

BUILDER, SESSION, HUB = "export/formats/tensorrt_builder.py", "deploy/sessions/tensorrt.py", "lc2fer/nvidia.py"
MISUSES = {  # what a hand might write -> the file, what it replaces, what mypy says
    "a precision switch": (
        BUILDER,
        "config.clear_flag(trt.BuilderFlag.TF32)",
        "config.set_flag(trt.BuilderFlag.FP16)",
        r'has no attribute "FP16"',
    ),
    "a calibrator": (
        BUILDER,
        "config.profiling_verbosity = ",
        "config.int8_calibrator = None; config.profiling_verbosity = ",
        r'"IBuilderConfig" has no attribute "int8_calibrator"',
    ),
    "the flag of implicit batches": (
        BUILDER,
        "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
        "NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
        r'has no attribute "EXPLICIT_BATCH"',
    ),
    "the method of TensorRT 7": (
        BUILDER,
        "builder.build_serialized_network(network, config)",
        "builder.build_engine(network, config)",
        r'"Builder" has no attribute "build_engine"',
    ),
    "a failure that is not looked at": (
        BUILDER,
        "if serialised is None:",
        "if False:",
        r'Argument 1 to "bytes" has incompatible type "IHostMemory \| None"',
    ),
    "bindings instead of names": (
        SESSION,
        "engine.get_tensor_name(place)",
        "engine.get_binding_name(place)",
        r'"ICudaEngine" has no attribute "get_binding_name"',
    ),
    "an engine that may be none": (
        SESSION,
        "if engine is None:",
        "if False:",
        r'expected "tuple\[Runtime, ICudaEngine\]"',
    ),
}


MYPY = (
    *("--config-file=", "--follow-imports=skip", "--no-error-summary"),
    *("--disable-error-code=import-not-found", "--disable-error-code=var-annotated"),
)


def mypy(*files: Path, folder: Path) -> str:
    """mypy's output on files of ours, everything but the stub unknown to it."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *MYPY, *map(str, files)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(STUB.parents[1])},
        timeout=240,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def test_l0_mypy_finds_every_misuse(tmp_path: Path) -> None:
    files = []
    for number, (name, old, new, _) in enumerate([("builder", "", "", ""), ("session", "", "", ""), *MISUSES.values()]):
        source = {"builder": BUILDER, "session": SESSION}.get(name, name)
        text = (ROOT / source).read_text(encoding="utf-8")
        assert old in text, f"{source} has no {old!r} any more: give the misuse another place"
        files.append(tmp_path / f"case{number}.py")
        files[-1].write_text(text.replace(old, new, 1) if old else text)
    said = mypy(*files, folder=tmp_path)
    for number in (0, 1):  # as they are
        assert f"case{number}.py" not in said, said
    for number, (name, (*_, text)) in enumerate(MISUSES.items(), 2):
        lines = [line for line in said.splitlines() if line.startswith(f"case{number}.py")]
        assert any(re.search(text, line) for line in lines), f"{name}: {lines}"


BANNED = {
    r"BuilderFlag\.(FP16|BF16|FP8|INT8|INT4|FP4)\b": "TensorRT 11 has no precision switches",
    r"BuilderFlag\.(OBEY|PREFER)_PRECISION_CONSTRAINTS": "TensorRT 11 has no precision constraints",
    r"\bEXPLICIT_BATCH\b": "TensorRT 11 has no such flag",
    r"\bIInt8\w*Calibrator|\bint8_calibrator\b|\bIAlgorithmSelector": "TensorRT 11 has no calibrators",
    r"\bset_dynamic_range\b|\bplatform_has_fast_\w+": "removed in TensorRT 11",
    r"\bbuild_(cuda_)?engine\(|\bmax_workspace_size\b|\bexecute_async_v2\b|\bget_binding_": "removed in 10",
    r"\bpycuda\.autoinit\b(?!,)": "takes a context for the whole process",
    r"trtexec\b[^\n]*--(fp16|int8|bf16|best|fp8|calib)\b": "TensorRT 11's trtexec has no such option",
}


def banned(text: str) -> list[str]:
    return [f"{found[0]}: {why}" for rule, why in BANNED.items() for found in re.finditer(rule, text)]


def test_l0_nothing_that_was_removed_is_used() -> None:
    found = {}
    for folder in ("lc2fer", "export", "benchmarks", "deploy", "docs", "docker", "stubs"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".pyi", ".sh", ".Dockerfile", ".service"):
                found[str(path)] = banned(path.read_text(encoding="utf-8"))
            elif path.suffix == ".md":  # prose may name what is gone, commands may not use it
                blocks = re.findall(r"(?:^    [^\n]*$|^```.*?^```)", path.read_text(encoding="utf-8"), re.M | re.S)
                found[str(path)] = banned("\n".join(blocks))
    assert len(found) > 60
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "config.set_flag(trt.BuilderFlag.FP16)",
        "class Calibrator(trt.IInt8EntropyCalibrator2):",
        "flags = 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)",
        "trtexec --onnx=m.onnx --fp16 --saveEngine=m.plan",
        "trtexec --stronglyTyped --int8 --onnx=m.onnx",
        "import pycuda.autoinit",
        "context.execute_async_v2(bindings, stream)",
    ],
)
def test_l0_the_ban_list_finds(line: str) -> None:
    assert banned(line) != []
    assert banned("trtexec --stronglyTyped --onnx=m.onnx --saveEngine=m.plan") == []


# -- level 1: the stub against the bindings ---------------------------------------------------------------------------

TENSORRT = {
    "10.3.0": "tensorrt_cu12_bindings==10.3.0",
    "10.16.1": "tensorrt_cu12_bindings==10.16.1.11",
    "11.4.0": "tensorrt_cu13_bindings==11.4.0.106",
}
CUDA_PYTHON = {"12.9": "cuda-bindings==12.9.10", "13.5": "cuda-bindings==13.5.0"}
PATHFINDER, PYCUDA = "cuda-pathfinder==1.9.0", "pycuda==2026.1"
SYMBOLS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
    *("getBuilderPluginRegistry", "getPluginRegistry", "initLibNvInferPlugins"),
)

linux_x86 = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the bindings are those of Linux on x86-64"
)


def members_of(text: str) -> dict[str, dict[str, list[str] | None]]:
    """Class -> member -> parameters, None for attributes; nested classes as "Outer.Inner"; names with _ are ours."""
    found: dict[str, dict[str, list[str] | None]] = {}

    def look(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                name = prefix + node.name
                found[name] = {}
                if any(isinstance(base, ast.Name) and base.id == "_Enum" for base in node.bases):
                    found[name] |= {"name": None, "__int__": None}
                for entry in node.body:
                    if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name):
                        found[name][entry.target.id] = None
                    elif isinstance(entry, ast.FunctionDef) and entry.name != "__buffer__":  # a name of Python 3.12
                        plain = not entry.decorator_list
                        found[name][entry.name] = [a.arg for a in entry.args.args[1:]] if plain else None
                look(node.body, f"{name}.")

    look(ast.parse(text).body, "")
    return found


LOOK = """
import importlib, json, re, sys
module = importlib.import_module(sys.argv[1])
wrong = []
for name, members in json.loads(sys.argv[2]).items():
    place = module
    for part in name.split("."):
        place = getattr(place, part, None)
    if place is None:
        wrong.append(f"no {name}")
        continue
    for member, wanted in members.items():
        found = getattr(place, member, None)
        if not hasattr(place, member):
            wrong.append(f"no {name}.{member}")
        elif wanted is not None and not member.startswith("__get") and member != "__len__":
            told = [line for line in (found.__doc__ or "").splitlines() if f"{member}(self" in line]
            told = [re.findall(r"(\\w+): ", line.split(" -> ")[0]) for line in told]
            if not any(list(wanted) == [n for n in names[1:] if n in wanted] for names in told):
                wrong.append(f"{name}.{member} takes {told}, not {wanted}")
print(json.dumps([getattr(module, "__version__", ""), wrong]))
"""


@pytest.fixture(scope="session")
def fetched(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """The folder with an unpacked package of the index; fetched once, into pytest's cache."""
    cache = Path(request.config.cache.mkdir("bindings"))  # type: ignore[union-attr]

    @lru_cache
    def fetch(requirement: str) -> Path:
        folder = cache / f"{requirement}-{sys.version_info.major}.{sys.version_info.minor}"
        if not folder.is_dir():
            parts = folder.with_suffix(f".{os.getpid()}")
            source = ["--no-binary=:all:", "--no-build-isolation"] if requirement == PYCUDA else ["--only-binary=:all:"]
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *source]
            done = subprocess.run(
                [*command, "--dest", str(parts), requirement], capture_output=True, text=True, timeout=300
            )
            files = list(parts.iterdir()) if parts.is_dir() else []
            if done.returncode or not files:
                lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip said nothing"]
                pytest.fail(
                    f"Level 1 needs {requirement} and pip could not download it: {lines[-1]} "
                    "A package index that has it was expected. Connect this machine to one and run the test again."
                )
            shutil.unpack_archive(files[0], parts, "zip" if files[0].suffix == ".whl" else "gztar")
            parts.rename(folder)
        return folder

    return fetch


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A folder with stand-ins for TensorRT's three libraries of that major version; needs gcc."""

    @lru_cache
    def make(major: int) -> Path:
        folder = tmp_path_factory.mktemp(f"libraries{major}")
        (folder / "none.c").write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in SYMBOLS))
        for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
            library = f"lib{name}.so.{major}"
            command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", library, "none.c"]
            subprocess.run(command, cwd=folder, check=True)
        return folder

    return make


def look(module: str, members: dict[str, Any], *paths: Path, libraries: Path | None = None) -> tuple[str, list[str]]:
    """The module's version and what it lacks of those members, asked in another process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    if libraries is not None:
        environment["LD_LIBRARY_PATH"] = str(libraries)
    done = subprocess.run(
        [sys.executable, "-c", LOOK, module, json.dumps(members)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    version, wrong = json.loads(done.stdout)
    return version, wrong


@linux_x86
@pytest.mark.parametrize("version", TENSORRT)
def test_l1_the_stub_is_what_every_version_has(
    version: str, fetched: Callable[[str], Path], libraries: Callable[[int], Path]
) -> None:
    if version == "10.3.0" and sys.version_info >= (3, 13):
        pytest.skip("TensorRT 10.3.0 has no bindings for Python 3.13")
    folder, shims = fetched(TENSORRT[version]), libraries(int(version.split(".")[0]))
    members = members_of(STUB.read_text(encoding="utf-8"))
    assert sum(map(len, members.values())) > 70
    found, wrong = look("tensorrt_bindings", members, folder, libraries=shims)
    assert found.startswith(version)
    assert wrong == []
    # A misuse that somebody also wrote into the stub, which level 0 believes.
    planted = {
        "Builder": {"build_engine": ["network", "config"], "build_serialized_network": ["graph"]},
        "ICudaEngine": {"get_binding_name": ["index"]},
        "Fusion": {},
        "IInt8Calibrator": {},
        "BuilderFlag": {"FP16": None},
    }
    _, wrong = look("tensorrt_bindings", planted, folder, libraries=shims)
    always = ["no Builder.build_engine", "no ICudaEngine.get_binding_name", "no Fusion"]
    removed = ["no IInt8Calibrator", "no BuilderFlag.FP16"] if version.startswith("11") else []
    assert [text for text in wrong if text.startswith("no ")] == always + removed
    assert any(text.startswith("Builder.build_serialized_network takes ") for text in wrong)


def test_l1_tensorrt_rtx_has_what_the_stub_has() -> None:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt-rtx is not installed here: pip install 'lc2fer[rtx]'")
    version, wrong = look("tensorrt_rtx", members_of(STUB.read_text(encoding="utf-8")))
    assert (version.split(".")[0], wrong) == ("1", [])


def test_the_tests_own_tensorrt_has_no_other_names() -> None:
    stub = members_of(STUB.read_text(encoding="utf-8"))
    fake = members_of((FAKES / "gpu" / "tensorrt" / "__init__.py").read_text(encoding="utf-8"))
    assert set(fake) <= set(stub)
    for name, members in fake.items():
        public = {member for member in members if not member.startswith("_")}
        assert public <= set(stub[name]), name


def attributes_of(path: Path, *objects: str) -> set[str]:
    """Chains of attributes that are read from variables of those names: runtime.cudaError.x gives "cudaError.x"."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            chain = ast.unparse(node)
            for name in objects:
                if re.fullmatch(rf"{re.escape(name)}\.[\w.]+", chain):
                    found.add(chain.removeprefix(f"{name}."))
    return found


def public(path: Path) -> set[str]:
    """Public names that a module of the tests defines, members of classes as "Class.member"."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    found = set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            found.add(node.name)
            for entry in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(entry, ast.FunctionDef) and not entry.name.startswith("_"):
                    found.add(f"{node.name}.{entry.name}")
                elif isinstance(entry, ast.Assign):
                    found |= {f"{node.name}.{ast.unparse(target)}" for target in entry.targets}
        elif isinstance(node, ast.Assign):
            found |= {ast.unparse(target) for target in node.targets if not ast.unparse(target).startswith("_")}
    return found


@linux_x86
@pytest.mark.parametrize("version", CUDA_PYTHON)
def test_l1_cuda_python_has_what_the_session_uses(version: str, fetched: Callable[[str], Path]) -> None:
    used = attributes_of(ROOT / "deploy" / "sessions" / "cuda.py", "runtime", "self._runtime")
    used |= {f"cudaDeviceAttr.{name}" for name in attributes_of(ROOT / "deploy" / "sessions" / "cuda.py", "attribute")}
    assert len(used) > 25
    fake = public(FAKES / "cuda_python" / "cuda" / "bindings" / "runtime.py")
    assert used <= fake, "the tests' own CUDA lacks a name that the session uses"
    # Both wheels bring a part of the package "cuda"; the one with an __init__ would hide the other.
    paths = [fetched(CUDA_PYTHON[version]), fetched(PATHFINDER)]
    members: dict[str, dict[str, None]] = {}
    for name in used | fake:
        first, _, rest = name.partition(".")
        members.setdefault(first, {})
        if rest:
            members[first][rest] = None
    _, wrong = look("cuda.bindings.runtime", members, *paths)
    assert wrong == []


def test_l1_pycuda_has_what_the_session_uses(fetched: Callable[[str], Path]) -> None:
    """By its source: pycuda has no wheels, and building it needs CUDA."""
    used = attributes_of(
        ROOT / "deploy" / "sessions" / "cuda.py", "driver", "self._driver", "self._context", "gpu", "self._stream"
    )
    names = {
        part for name in used | public(FAKES / "pycuda_alone" / "pycuda" / "driver.py") for part in name.split(".")
    }
    assert len(names) > 20
    (folder,) = (path for path in fetched(PYCUDA).iterdir() if path.is_dir())
    source = (folder / "src" / "wrapper" / "wrap_cudadrv.cpp").read_text(encoding="utf-8")
    source += (folder / "pycuda" / "driver.py").read_text(encoding="utf-8")
    missing = {name for name in names if not re.search(rf'"{name}"|_(METHOD|FUNCTION)\({name}\)|def {name}\b', source)}
    assert missing <= {"Error"}
    assert "DECLARE_EXC(Error, NULL)" in source

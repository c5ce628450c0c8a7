"""What many tests share: the checkout, small pictures, a small data set, and Python with packages taken away."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lc2fer import artifact as artifacts
from lc2fer.artifact import Artifact
from lc2fer.kernels import build
from lc2fer.kernels import wheel as kernels_wheel
from lc2fer.telemetry import refuse_telemetry

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

# Beside other work, threads that wait for each other make the small networks of the tests ten times slower. Read by
# torch when it is first imported, here and in every process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

refuse_telemetry()  # some tests import an engine by itself

ROOT = Path(__file__).resolve().parents[1]

# Prepended to a program: importing one of these packages then fails as where they are not installed.
BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""

Python = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def pyproject() -> dict[str, Any]:
    """`pyproject.toml`, read."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def compiler() -> None:
    """Skips what needs torch.compile where PyTorch finds no C++ compiler or no headers of Python's."""
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("there is no C++ compiler here")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        pytest.skip("Python's headers are not installed here")


@pytest.fixture(scope="session")
def own_wheels() -> Iterator[None]:
    """Bundles bring a wheel for this machine, with the libraries of its own compiler; zig would take minutes."""

    def library_for(engine: str, machine: str) -> Path:
        if machine == build.machine():
            return build.library(engine)
        raise build.Lacking(
            "there is no ziglang. The package with zig's compiler was expected. Run: pip install ziglang"
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels_wheel, "library_for", library_for)
        yield


@pytest.fixture(scope="session")
def python() -> Python:
    """Runs a program in a fresh Python with some packages blocked, outside the checkout's import path."""

    def run(
        program: str, *arguments: str, block: Sequence[str] = (), cwd: Path = Path("/")
    ) -> subprocess.CompletedProcess[str]:
        program = (BLOCK.format(packages=set(block)) if block else "") + program
        return subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=300, cwd=cwd
        )

    return run


PHOTOGRAPHS = {  # in the public domain: Grace Hopper, and Eileen Collins
    "grace_hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "astronaut": ("skimage", "data/astronaut.png"),
}


@pytest.fixture(scope="session")
def photograph() -> Callable[[str], Path]:
    """The file of a photograph with one face that comes with a package: grace_hopper, astronaut."""

    def find(name: str) -> Path:
        package, inside = PHOTOGRAPHS[name]
        found = importlib.util.find_spec(package)  # which imports nothing
        if found is None or found.origin is None:
            pytest.skip(f"{package} is not installed here")
        return Path(found.origin).parent / inside

    return find


def write_noise_faces(root: Path, *, train: int, test: int, side: int = 32, layout: str = "official") -> Path:
    """RAF-DB's official or folder layout, `train` and `test` pictures of each class.

    Each class is a pattern of broad coloured blocks under noise, easy to learn; the bytes depend on the arguments
    `train`, `test` and `side` alone.
    """
    rng = np.random.default_rng(7)
    patterns = rng.uniform(60, 196, (7, 4, 4, 3)).repeat(side // 4, axis=1).repeat(side // 4, axis=2)
    lines = []
    for split, count in (("train", train), ("test", test)):
        for number in range(7 * count):
            label = number % 7
            pixels = np.clip(patterns[label] + rng.normal(0, 24, (side, side, 3)), 0, 255).astype(np.uint8)
            name = f"{split}_{number + 1:05d}"
            if layout == "official":
                path = root / "Image" / "aligned" / f"{name}_aligned.png"
                lines.append(f"{name}.png {label + 1}\n")
            else:
                path = root / "DATASET" / split / str(label + 1) / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    if layout == "official":
        (root / "EmoLabel").mkdir()
        (root / "EmoLabel" / "list_patition_label.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="session")
def write_faces() -> Callable[..., Path]:
    """The function that writes a small data set."""
    return write_noise_faces


@pytest.fixture(scope="session")
def noise_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 20 training and 5 test pictures a class, 32x32, in the official layout. Not to be changed."""
    return write_noise_faces(tmp_path_factory.mktemp("faces") / "noise", train=20, test=5)


@pytest.fixture(scope="session")
def of_all_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def small_weights(of_all_workers: Path) -> Path:
    """C8 whose LayerNorms, GRNs and biases do something, for 32x32 pixels; one file, for no two have the same bytes."""
    folder = of_all_workers / "small weights"
    with _alone(folder):
        return artifacts.load(folder / "mine.json").path if (folder / "mine.json").is_file() else _weights(folder)


def _weights(folder: Path) -> Path:
    import torch

    from lc2fer.inputs import InputSpec
    from lc2fer.network import checkpoint
    from lc2fer.network.model import build
    from lc2fer.variants import VARIANTS

    torch.manual_seed(3)
    network = build(VARIANTS["C8"])
    with torch.no_grad():
        for name, value in network.named_parameters():
            if "norm" in name or "grn" in name or "bias" in name:
                value.add_(0.3 * torch.randn_like(value))
            elif "head" in name:
                value.mul_(30)  # logits as far apart as a trained network's
    return checkpoint.save(network, folder, "mine", input_spec=InputSpec(size=32), training={"epoch": 1}).path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first, then those with many tests: else one of several workers ends long after the others."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in slow, -tests[item.path]))


class SmallExports:
    """C8 of `small_weights` on `small_faces`, ranges of 40 images: each target is made once for all workers."""

    def __init__(self, folder: Path, weights: Path, faces: Path) -> None:
        from lc2fer.export.pipeline import Pipeline

        self.pipeline = Pipeline("C8", folder, weights=weights, data=faces, calibration_images=40)

    def __call__(self, target: str) -> Artifact:
        """That artifact, not to be changed."""
        with _alone(self.pipeline.out):
            return self.pipeline.export(target)

    def into(self, folder: Path, *targets: str) -> dict[str, Artifact]:
        """Those artifacts and their weights in a folder of one's own, which a pipeline finds made."""
        made = {target: self(target) for target in ("torch", *targets)}
        folder.mkdir(parents=True, exist_ok=True)
        for artifact in made.values():
            for name in (artifact.manifest_path.name, *(record.name for record in artifact.files)):
                shutil.copy2(self.pipeline.out / name, folder / name)
        return {target: artifacts.load(folder / artifact.path.name) for target, artifact in made.items()}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other worker is at that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    with folder.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_compiles(of_all_workers: Path) -> Iterator[None]:
    """Two workers that lack the kernels do not both take a minute of all cores: the second waits for the first."""
    variants, folder = build.variants, of_all_workers / "compiling"

    def one_at_a_time(compiler: tuple[str, ...], machine: str) -> Path:
        with _alone(folder):
            return variants(compiler, machine)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "variants", one_at_a_time)
        yield


@pytest.fixture(scope="session")
def traced_once(of_all_workers: Path) -> Iterator[Callable[..., bytes]]:
    """A graph that another worker has traced, of equal weights, is not traced again: each takes four seconds.

    Gives what traces each time.
    """
    pytest.importorskip("onnxscript")
    from lc2fer.export.formats import onnx

    traced, folder = onnx._traced, of_all_workers / "traced"
    folder.mkdir(exist_ok=True)

    def of_all(parent: Artifact, recipe: Any, dtype: Any, smoothed: Any) -> bytes:
        factors = b"".join(one.numpy().tobytes() for one in smoothed.factors) if smoothed else b""
        of = (parent.sha256, parent.variant, parent.input_spec.shape, recipe.form, recipe.opset, dtype, factors)
        kept = folder / hashlib.sha256(repr(of).encode()).hexdigest()
        if kept.is_file():
            return kept.read_bytes()
        graph = traced(parent, recipe, dtype, smoothed)
        part = kept.with_suffix(f".{os.getpid()}")
        part.write_bytes(graph)
        part.replace(kept)
        return graph

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx, "_traced", of_all)
        yield traced


@pytest.fixture(scope="session")
def small_exports(of_all_workers: Path, traced_once: object, small_weights: Path, small_faces: Path) -> SmallExports:
    """Artifacts of a small C8, which all workers of a run share."""
    return SmallExports(of_all_workers / "small exports", small_weights, small_faces)


@pytest.fixture(scope="session")
def small_faces(tmp_path_factory: pytest.TempPathFactory, write_faces: Callable[..., Path]) -> Path:
    """60 training and 3 test pictures a class, 32x32: 84 images of D^v."""
    return write_faces(tmp_path_factory.mktemp("small") / "faces", train=60, test=3)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder that is empty, and this test's alone."""
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path / "cache"))

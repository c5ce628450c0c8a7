"""One table of SHA-256 of a network's logits: python tests/kernels/table.py out/C6-ort-{int8,fp16,fp32}-fused.onnx

A line for each compiler and processor (this one, and QEMU's pictures of others), of all its variants of
lc2fer/kernels and numbers of threads; then the same artifacts in ONNX Runtime, whose own head stands behind them. The
images are drawn faces; QEMU, which is slow, takes the first of them alone. A column has one value for each precision,
with and without ONNX Runtime, or the command exits with 1.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from lc2fer import artifact as artifacts
from lc2fer import kernels
from lc2fer.data.drawing import draw
from lc2fer.data.synthetic import sample
from lc2fer.inputs import InputSpec
from lc2fer.kernels import build

SOURCE = Path(__file__).with_name("logits.cpp")
CROSS = "aarch64-linux-gnu-g++"
# Machine -> QEMU's processors.
EMULATED = {"x86_64": ("Haswell", "Nehalem"), "aarch64": ("cortex-a53", "cortex-a76", "max")}
IN_ENGINE = """
import sys
import numpy as np
from lc2fer import open_session
images = np.fromfile(sys.argv[2], np.float32).reshape(-1, 3, *[int(sys.argv[3])] * 2)
with open_session(sys.argv[1], threads=int(sys.argv[4])) as session:
    sys.stdout.buffer.write(np.concatenate([session.run(images[i : i + 1]) for i in range(len(images))]).tobytes())
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="artifacts of the targets ort-*-fused")
    parser.add_argument("--images", type=int, default=64, metavar="N")
    parser.add_argument("--emulated-images", type=int, default=4, metavar="N")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 3], metavar="N")
    parser.add_argument("--emulated-threads", type=int, nargs="+", default=[1, 2], metavar="N")
    given = parser.parse_args()
    values: dict[tuple[str, str, int], set[str]] = {}
    few = given.emulated_images
    print(f"| runs in | precision | variants | threads | SHA-256, {given.images} images | the first {few} of them |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as work:
        for path in given.models:
            artifact = artifacts.load(path)
            assert artifact.recipe is not None
            precision = artifact.recipe.precision
            images = pictures(artifact.input_spec, given.images)
            network = Path(work, "network")
            network.write_bytes(dumped(path))
            Path(work, "images").write_bytes(images.tobytes())
            classes = len(artifact.input_spec.labels)
            for where, variants, threads, found in runs(Path(work), precision, given):
                show(values, where, precision, variants, threads, found, given, classes)
            variants = able([str(built("g++", build.machine()))], precision)
            found = in_engine(path, Path(work), artifact.input_spec.size, variants)
            show(values, "ONNX Runtime", precision, variants, "1 2", found, given, classes)
    return int(any(len(found) != 1 for found in values.values()))


def show(
    values: dict[tuple[str, str, int], set[str]],
    where: str,
    precision: str,
    variants: list[str],
    threads: str,
    found: set[bytes],
    given: argparse.Namespace,
    classes: int,
) -> None:
    """A line of the table, of the logits of all its runs; `values` gets what has to be equal."""
    cells = []
    for count in (given.images, given.emulated_images):
        size = 4 * classes * count
        hashes = {hashlib.sha256(logits[:size]).hexdigest() for logits in found if len(logits) >= size}
        values.setdefault((where if where == "ONNX Runtime" else "kernels", precision, count), set()).update(hashes)
        cells.append(", ".join(f"`{value[:16]}`" for value in sorted(hashes)))
    print(f"| {where} | {precision} | {' '.join(variants)} | {threads} | {' | '.join(cells)} |", flush=True)


def pictures(spec: InputSpec, count: int) -> np.ndarray:  # type: ignore[type-arg]
    rng = np.random.default_rng(64)
    drawn = np.stack([spec.pixels(draw(sample(place % 7, rng))) for place in range(count)])
    return np.ascontiguousarray(drawn.transpose(0, 3, 1, 2), np.float32)  # NHWC -> NCHW


def dumped(path: Path) -> bytes:
    """What logits.cpp reads of an ONNX file."""
    graph = onnx.load_model(path).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    shapes = {value.name: shape_of(value) for value in (*graph.input, *graph.value_info)}
    operations = [node for node in graph.node if node.domain == kernels.DOMAIN]
    out = [number(len(operations))]
    for node in operations:
        its = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        out += [text(node.op_type.encode()), number(its["version"]), text(its["precision"])]
        out += [struct.pack("<f", its.get("inverse_step", 1.0))]
        out += [number(its.get(name, 1)) for name in ("kernel", "stride", "channels")]
        out += [number(its.get("by_row", 0))]
        out += [shape(shapes[node.input[0]])]
        for name in node.input[1:]:
            out += [shape(constants[name].shape), text(constants[name].tobytes())]
    for name in ("linear.weight", "linear.bias"):
        out += [number(constants[name].size), constants[name].astype("<f4").tobytes()]
    return b"".join(out)


def shape_of(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(each.dim_value for each in value.type.tensor_type.shape.dim)


def number(value: int) -> bytes:
    return struct.pack("<i", value)


def text(value: bytes) -> bytes:
    return number(len(value)) + value


def shape(sizes: tuple[int, ...]) -> bytes:
    return number(len(sizes)) + b"".join(map(number, sizes))


def able(command: list[str], precision: str) -> list[str]:
    """The variants that have this precision where the program runs, best first."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [line.split() for line in done.stdout.splitlines()]
    return [variant for has, variant in found if has == kernels.PRODUCTS[precision]]


def runs(work: Path, precision: str, given: argparse.Namespace) -> Iterator[tuple[str, list[str], str, set[bytes]]]:
    """(where, variants, threads, logits) of the kernels alone."""
    compilers = ["g++", *(name for name in ("clang++", "clang++-16") if shutil.which(name))][:2]
    for compiler in compilers:
        program = built(compiler, build.machine())
        yield answered(work, f"this processor, {compiler}", [str(program)], precision, given.threads, given.images)
    for machine, processors in EMULATED.items():
        compiler = "g++" if machine == build.machine() else CROSS
        if shutil.which(f"qemu-{machine}") is None or shutil.which(compiler) is None:
            continue
        program = built(compiler, machine)
        for processor in processors:
            command = [f"qemu-{machine}", "-cpu", processor, str(program)]
            where = f"QEMU's {processor}, {compiler}"
            yield answered(work, where, command, precision, given.emulated_threads, given.emulated_images)


def built(compiler: str, machine: str) -> Path:
    """logits.cpp for a machine, linked statically, so that QEMU needs no other library; made once."""
    made = Path(tempfile.gettempdir()) / f"lc2fer-logits-{machine}-{os.path.basename(compiler)}-{os.getpid()}"
    if not made.exists():
        objects = build.variants((compiler,), machine)
        sources = (str(SOURCE), str(build.HERE / "dispatch.cpp"), str(objects))
        build.run((compiler, "-std=c++17", "-O1", *sources, "-static", "-pthread", "-o", str(made)))
    return made


def answered(
    work: Path, where: str, command: list[str], precision: str, threads: list[int], images: int
) -> tuple[str, list[str], str, set[bytes]]:
    variants, found = able(command, precision), set()
    for name in variants:
        for count in threads:
            arguments = [*command, str(work / "network"), str(work / "images"), str(images), str(count)]
            done = subprocess.run(arguments, capture_output=True, check=True, env={**os.environ, "LC2FER_CPU": name})
            found.add(done.stdout)
    return where, variants, " ".join(map(str, threads)), found


def in_engine(path: Path, work: Path, size: int, variants: list[str]) -> set[bytes]:
    found = set()
    for name in variants:
        for count in (1, 2):
            command = [sys.executable, "-c", IN_ENGINE, str(path), str(work / "images"), str(size), str(count)]
            done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "LC2FER_CPU": name})
            found.add(done.stdout)
    return found


if __name__ == "__main__":
    sys.exit(main())

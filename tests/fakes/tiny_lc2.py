"""A network of some kilobytes in an .lc2 file: every operation, channels that fill no panel, numbers from a seed.

`python tests/fakes/tiny_lc2.py FOLDER` writes one a precision there.
"""

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from lc2fer.export.formats import native
from lc2fer.export.formats.kernels import FusedNetwork, Operation

from lc2fer import kernels
from lc2fer.inputs import InputSpec

LABELS = ("glad", "sad", "ärgerlich")
SPEC = InputSpec(size=20, labels=LABELS, alignment="level")


def network(precision="int8", seed=0):
    rng = np.random.default_rng(seed)

    def product(outputs, depth, rows=2):
        if precision == "int8":
            columns, scale = rng.integers(-127, 128, (outputs, depth), np.int8), 1 / (127 * 40)
        else:
            columns, scale = rng.uniform(-1, 1, (outputs, depth)).astype(np.float32), 1.0
        numbers = rng.uniform(-1, 1, (rows, outputs)).astype(np.float32)
        numbers[0] = rng.uniform(0.5, 1, outputs) * scale * 2 / np.sqrt(depth)
        return native_steps(columns), padded_rows(numbers)

    def rows(count, channels):
        return padded_rows(rng.uniform(-1, 1, (count, channels)).astype(np.float32))

    step = 40.0 if precision == "int8" else 1.0

    def block(channels, by_row=0):
        response = rng.uniform(0.5, 1.5, (2, 4 * channels)).astype(np.float32) * np.float32(step)
        constants = [rows(50, channels), *product(4 * channels, channels), response, *product(channels, 4 * channels)]
        return Operation("Block", {"inverse_step": step, "by_row": by_row}, constants, (1, 0, 0, channels))

    def convolution(kind, outputs, depth, **attributes):
        constants = product(outputs, depth, 4 if kind == "Stem" else 2)
        return Operation(kind, {"channels": outputs, **attributes}, list(constants), (1, 0, 0, outputs))

    operations = [
        convolution("Stem", 8, 48, stride=2),
        block(8),
        convolution("Downsample", 24, 4 * 8, kernel=2, inverse_step=step),
        block(24, by_row=int(precision == "int8")),
    ]
    weight = rng.uniform(-1, 1, (len(LABELS), 24)).astype(np.float32)
    return FusedNetwork(operations, weight, rng.uniform(-1, 1, len(LABELS)).astype(np.float32))


def native_steps(columns):
    from lc2fer.export.formats.kernels import _in_steps

    return np.ascontiguousarray(_in_steps(columns))


def padded_rows(numbers):
    return np.pad(numbers, ((0, 0), (0, -numbers.shape[1] % 16)))


def contents(precision="int8", seed=0):
    assert precision in kernels.PRODUCTS
    return native.contents(network(precision, seed), precision, SPEC)


def mended(content):
    """With the size and the checksum that it has to have."""
    content = content[:16] + struct.pack("<Q", len(content)) + content[24:]
    checksum = zlib.crc32(content[64:], zlib.crc32(content[:56]))
    return content[:56] + struct.pack("<I", checksum) + content[60:]


def noise(count, size=SPEC.size):
    """uint8 [count,size,size,3]"""
    return np.random.default_rng(5).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


if __name__ == "__main__":
    for each in ("int8", "fp32"):
        (Path(sys.argv[1]) / f"tiny-{each}.lc2").write_bytes(contents(each))

"""What a model file is made of: operators counted by type, read from the file without an engine.

These counts are the same on every machine, so a gate can hold them exactly where a latency would only be noise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

from lc2fer.errors import MALFORMED, ArtifactError

QUANTIZERS = ("QuantizeLinear", "DequantizeLinear", "FakeQuantize")

_GRAPH, _NODE, _OP_TYPE = 7, 1, 4  # fields of ModelProto, GraphProto and NodeProto in onnx.proto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers


def operators(path: Path) -> dict[str, int] | None:
    """Operators of an ONNX file or an OpenVINO IR by type; None for files that hold no graph.

    Raises ArtifactError for a damaged file.
    """
    try:
        if path.suffix == ".onnx":
            return dict(sorted(Counter(_onnx(memoryview(path.read_bytes()))).items()))
        if path.suffix == ".xml":
            layers = ElementTree.parse(path).getroot().find("layers")
            return dict(sorted(Counter(layer.attrib["type"] for layer in layers if layer.tag == "layer").items()))  # type: ignore[union-attr]
    except (*MALFORMED, ElementTree.ParseError) as error:
        raise ArtifactError(
            f"The graph in {path} cannot be read ({type(error).__name__}: {error}). Expected an ONNX file or an "
            "OpenVINO IR. Export the model again."
        ) from None
    return None


def quantizers(counts: Mapping[str, int]) -> int:
    """How many of the operators change to or from 8 bits."""
    return sum(counts.get(kind, 0) for kind in QUANTIZERS)


def _onnx(model: memoryview) -> Iterator[str]:
    for graph in _fields(model, _GRAPH):
        for node in _fields(graph, _NODE):
            yield from (bytes(kind).decode("utf-8") for kind in _fields(node, _OP_TYPE))


def _fields(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The length-delimited fields of that number, each a message or a string of its own."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            _, place = _varint(message, place)
        elif wire == _BYTES:
            length, place = _varint(message, place)
            if length > len(message) - place:
                raise ValueError("a field longer than its message")
            if number == wanted:
                yield message[place : place + length]
            place += length
        elif wire in (_FIXED64, _FIXED32):
            place += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7
    raise ValueError("a number of more than ten bytes")

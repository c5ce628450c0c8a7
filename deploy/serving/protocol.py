"""KServe's protocol, version 2, as JSON and with its extension for binary tensors: requests in, answers out.

What comes from outside is data: who reads the body bounds its size, and every field is looked at before it is used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer.artifact import Artifact
from lc2fer.batch import check_pixels
from lc2fer.errors import UsageError
from lc2fer.recipe import INPUT, OUTPUT
from lc2fer.targets import KINDS

VERSION = "1"  # of every model: there is one
TYPES: Mapping[str, Any] = {"FP32": np.dtype("<f4"), "UINT8": np.dtype("u1")}  # that pixels may come in
_MOST_DIMENSIONS = 8
# What Triton calls it; what it does not know is called by the engine.
_PLATFORMS = {"onnx": "onnxruntime_onnx", "openvino": "openvino", "tensorrt": "tensorrt_plan", "checkpoint": "pytorch"}


class Refused(Exception):
    """A request that is not answered; the text says why, what was expected, and what to do."""


@dataclass(frozen=True)
class Wanted:
    """An output that was asked for."""

    binary: bool
    best: int = 0  # so many labels, with their logits, instead of the logits


@dataclass(frozen=True)
class Asked:
    """A request for inference."""

    pixels: NDArray[np.float32]  # [n,3,H,W]
    wanted: Wanted
    name: str | None  # the client's, for the request
    timeout_s: float | None


def server(version: str) -> dict[str, Any]:
    """What the server says of itself."""
    return {"name": "lc2fer", "version": version, "extensions": ["binary_tensor_data", "classification"]}


def metadata(name: str, artifact: Artifact) -> dict[str, Any]:
    """What the server says of its model."""
    spec = artifact.input_spec
    return {
        "name": name,
        "versions": [VERSION],
        "platform": _platform(artifact),
        "inputs": [{"name": INPUT, "datatype": "FP32", "shape": [-1, *spec.shape]}],
        "outputs": [
            {
                "name": OUTPUT,
                "datatype": "FP32",
                "shape": [-1, len(spec.labels)],
                "parameters": {"labels": list(spec.labels)},
            }
        ],
        "parameters": {"target": artifact.target, "sha256": artifact.sha256, "engine": KINDS[artifact.kind].engine},
    }


def config(name: str, artifact: Artifact, most: int) -> dict[str, Any]:
    """The same as Triton's clients ask for it: dimensions without the batch."""
    spec = artifact.input_spec
    return {
        "name": name,
        "platform": _platform(artifact),
        "max_batch_size": most,
        "input": [{"name": INPUT, "data_type": "TYPE_FP32", "dims": list(spec.shape)}],
        "output": [{"name": OUTPUT, "data_type": "TYPE_FP32", "dims": [len(spec.labels)]}],
        "dynamic_batching": {},
    }


def _platform(artifact: Artifact) -> str:
    return _PLATFORMS.get(artifact.kind, KINDS[artifact.kind].engine.lower())


def parse(body: bytes, header_bytes: int | None, artifact: Artifact) -> Asked:
    """A request's body, of which the first `header_bytes` are JSON where binary tensors follow; raises Refused."""
    head = body if header_bytes is None else body[:header_bytes]
    rest = b"" if header_bytes is None else body[header_bytes:]
    try:
        fields = json.loads(head)
    except (ValueError, RecursionError):
        raise Refused(
            f"The request's {len(head):,} bytes are no JSON. Expected KServe's inference request. Send it as "
            "application/json, or with Inference-Header-Content-Length where binary tensors follow."
        ) from None
    if not isinstance(fields, dict):
        raise Refused("The request is no JSON object. Expected inputs and outputs. Send KServe's inference request.")
    inputs = fields.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise Refused(f"The request has the inputs {_shown(inputs)}. Expected one, {INPUT!r}. Send it alone.")
    parameters = _parameters(fields)
    return Asked(
        _pixels(inputs[0], rest, artifact),
        _wanted(fields.get("outputs"), parameters, len(artifact.input_spec.labels)),
        fields["id"] if isinstance(fields.get("id"), str) else None,
        _timeout(parameters.get("timeout")),
    )


def answer(name: str, asked: Asked, logits: NDArray[np.float32], labels: Sequence[str]) -> tuple[bytes, int | None]:
    """The answer's body, and how many bytes of it are JSON where a binary tensor follows."""
    wanted = asked.wanted
    output: dict[str, Any] = {"name": OUTPUT, "datatype": "FP32", "shape": list(logits.shape)}
    if wanted.best:
        order = np.argsort(-logits, axis=1, kind="stable")[:, : wanted.best]
        texts = [[f"{row[place]:f}:{place}:{labels[place]}" for place in places] for row, places in zip(logits, order)]
        output |= {"datatype": "BYTES", "shape": list(order.shape)}
        flat = [text for row in texts for text in row]
        tensor = b"".join(len(each.encode()).to_bytes(4, "little") + each.encode() for each in flat)
        data: list[Any] = flat
    else:
        tensor = np.ascontiguousarray(logits, "<f4").tobytes()
        data = [] if wanted.binary else logits.ravel().tolist()
    output |= {"parameters": {"binary_data_size": len(tensor)}} if wanted.binary else {"data": data}
    fields = {"model_name": name, "model_version": VERSION, **({} if asked.name is None else {"id": asked.name})}
    head = json.dumps({**fields, "outputs": [output]}, separators=(",", ":")).encode()
    return (head + tensor, len(head)) if wanted.binary else (head, None)


def _pixels(given: dict[str, Any], rest: bytes, artifact: Artifact) -> NDArray[np.float32]:
    name, kind, shape = given.get("name"), given.get("datatype"), given.get("shape")
    wanted = ", ".join(map(str, artifact.input_spec.shape))
    if name != INPUT or not isinstance(kind, str) or kind not in TYPES or not _is_shape(shape):
        raise Refused(
            f"The input is {_shown(name)}, {_shown(kind)} {_shown(shape)}. Expected {INPUT!r}, FP32 or UINT8 "
            f"[N, {wanted}]. Look at the model's metadata."
        )
    assert isinstance(shape, list)
    count, dtype = int(np.prod(shape, dtype=np.float64)), TYPES[kind]
    size = _parameters(given).get("binary_data_size")
    if size is not None:
        if size != len(rest) or size != count * dtype.itemsize:
            raise Refused(
                f"The input has {_shown(size)} binary bytes, and {len(rest):,} came. Expected "
                f"{count * dtype.itemsize:,} for {kind} {shape}. Correct binary_data_size."
            )
        pixels = np.frombuffer(rest, dtype)
    else:
        pixels = _numbers(given.get("data"), kind, shape, count)
        if rest:
            raise Refused(
                f"{len(rest):,} binary bytes came, and the input has no binary_data_size. Expected their number there. "
                "Correct the request."
            )
    batch = np.ascontiguousarray(pixels.reshape(shape), np.float32)
    try:
        check_pixels(batch, artifact)
    except UsageError as error:
        raise Refused(str(error)) from None
    return batch


def _numbers(data: object, kind: str, shape: list[int], count: int) -> NDArray[Any]:
    """A tensor of JSON, flat, nested, or flat within its first axes; raises Refused for another one."""
    try:
        found = np.asarray(data)
    except (ValueError, RecursionError):  # ragged
        found = np.empty(0, object)
    if found.dtype.kind not in "iuf" or (kind == "UINT8" and bool(np.any(found % 1))):
        what = "no whole numbers" if kind == "UINT8" else "no numbers"
        raise Refused(
            f"The input's data are {what}. Expected {count:,} of {kind} for {shape}. Send such, flat or nested."
        )
    if not any(found.shape == (*shape[:axis], math.prod(shape[axis:])) for axis in range(len(shape))):
        nested = f" in {list(found.shape)}" if found.ndim > 1 else ""
        raise Refused(
            f"The input's data are {found.size:,} numbers{nested}. Expected {count:,} for {shape}. Send as many, flat "
            "or nested."
        )
    return found


def _wanted(outputs: object, parameters: Mapping[str, Any], classes: int) -> Wanted:
    binary = parameters.get("binary_data_output") is True
    if outputs is None or outputs == []:
        return Wanted(binary)
    if not isinstance(outputs, list) or len(outputs) != 1 or not isinstance(outputs[0], dict):
        raise Refused(f"The request wants {_shown(outputs)}. Expected one output, {OUTPUT!r}. Ask for it alone.")
    if outputs[0].get("name") != OUTPUT:
        raise Refused(f"There is no output {_shown(outputs[0].get('name'))}. Expected {OUTPUT!r}. Ask for it.")
    own = _parameters(outputs[0])
    best = own.get("classification", 0)
    if not isinstance(best, int) or isinstance(best, bool) or best < 0:
        raise Refused(f"{_shown(best)} classes were asked for. Expected 1 to {classes}. Correct classification.")
    return Wanted(own["binary_data"] is True if "binary_data" in own else binary, min(best, classes))


def _timeout(given: object) -> float | None:
    """Seconds; the protocol has microseconds."""
    if given is None:
        return None
    if not isinstance(given, (int, float)) or isinstance(given, bool) or not 0 < given < 1e12:
        raise Refused(f"The timeout is {_shown(given)}. Expected microseconds, more than 0. Correct or leave it out.")
    return given / 1e6


def _parameters(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    found = fields.get("parameters")
    return found if isinstance(found, dict) else {}


def _is_shape(shape: object) -> bool:
    return (
        isinstance(shape, list)
        and 1 <= len(shape) <= _MOST_DIMENSIONS
        and all(isinstance(side, int) and not isinstance(side, bool) and 0 < side < 1 << 24 for side in shape)
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

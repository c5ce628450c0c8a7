"""A model as repositories that model servers read: NVIDIA Triton's, and OpenVINO Model Server's.

Both get the file as it is: raw pixels in, logits out, any batch. Neither server has run here; what is written is held
against their published schemas by tests/deploy/serving/test_package.py.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lc2fer import artifact as artifacts
from lc2fer import kernels
from lc2fer.artifact import Artifact
from lc2fer.errors import UsageError
from lc2fer.recipe import FUSED, INPUT, OUTPUT
from lc2fer.targets import KINDS

VERSION = "1"
LABELS = "labels.txt"
_CONFIG = "config.json"  # of OpenVINO Model Server
_DELAY_US = 500  # that Triton waits for more images

# Kind of file -> Triton's backend, or its older platform, and what the backend expects the file to be called.
_TRITON: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "onnx": ("backend", "onnxruntime", "model.onnx"),
        "openvino": ("backend", "openvino", "model.xml"),
        "tensorrt": ("platform", "tensorrt_plan", "model.plan"),
    }
)


AT = "/models"  # where the servers' images expect repositories


def write(artifact: Artifact, server: str, name: str, out: Path, *, most: int, instances: int, at: str) -> list[Path]:
    """Write the model's repository into the new folder `out`; returns the files. `server` is a key of SERVERS.

    `most` images are run together, `instances` times at once; `at` is where the server will find the folder. Raises
    UsageError for a model that the server cannot run and for a folder that holds something.
    """
    if os.path.lexists(out) and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            f"{out} is there already and holds something. Expected a new or an empty folder. Name another one."
        )
    form = None if artifact.recipe is None else artifact.recipe.form
    if artifact.kind not in _TRITON or (server == "ovms" and artifact.kind == "tensorrt"):
        expected = "an ONNX or OpenVINO model" if server == "ovms" else "an ONNX, OpenVINO or TensorRT one"
        raise UsageError(
            f"{artifact.path.name} runs on {KINDS[artifact.kind].engine}, which {_NAMES[server]} does not serve. "
            f"Expected {expected}. Export another target."
        )
    if form == FUSED and (artifact.kind == "openvino" or server == "ovms"):
        raise UsageError(
            f"{artifact.path.name} has operations of our own, which the server's release of OpenVINO does not know. "
            "Expected a model of the engine's operations alone. Export openvino-int8, or serve this one with "
            "lc2fer-deploy serve."
        )
    if server == "ovms" and name == _CONFIG:
        raise UsageError(
            f"The model is called {name}, as the server's own file beside it. Expected another name. Pass --name."
        )
    there = out.is_dir()  # a folder that is there may be the one that somebody is in, or a link's
    with artifacts.staged(out if there else out.parent) as staging:
        folder = staging / "repository"
        folder.mkdir()
        SERVERS[server](artifact, name, folder, at, most, instances)
        if there:
            for path in sorted(folder.iterdir(), key=Path.is_file):  # what names the models, last
                path.replace(out / path.name)
        else:
            folder.replace(out)
    return sorted(path for path in out.rglob("*") if path.is_file())


def _triton(artifact: Artifact, name: str, folder: Path, at: str, most: int, instances: int) -> None:
    """NAME/config.pbtxt, NAME/labels.txt and NAME/1/model.*"""
    spec = artifact.input_spec
    key, value, file = _TRITON[artifact.kind]
    home = folder / name
    _copy(artifact, home / VERSION, file)
    (home / LABELS).write_text("".join(f"{label}\n" for label in spec.labels), encoding="utf-8")
    if artifact.kind == "tensorrt":
        most = int((artifact.device or {}).get("max_batch", 1))
    batched = most > 1
    one = [] if batched else [1]
    config: dict[str, Any] = {
        "name": name,
        key: value,
        "default_model_filename": file,
        "max_batch_size": most if batched else 0,
        "input": [{"name": INPUT, "data_type": _Word("TYPE_FP32"), "dims": [*one, *spec.shape]}],
        "output": [
            {
                "name": OUTPUT,
                "data_type": _Word("TYPE_FP32"),
                "dims": [*one, len(spec.labels)],
                "label_filename": LABELS,
            }
        ],
        "instance_group": [
            {"count": instances, "kind": _Word("KIND_GPU" if artifact.kind == "tensorrt" else "KIND_CPU")}
        ],
    }
    if batched:
        config["dynamic_batching"] = {"max_queue_delay_microseconds": _DELAY_US}
    if artifact.kind == "onnx":  # an instance a thread: an engine is faster with an image a thread than with a batch
        config["parameters"] = [
            {"key": "intra_op_thread_count", "value": {"string_value": "1"}},
            {"key": "inter_op_thread_count", "value": {"string_value": "1"}},
        ]
    if artifact.recipe is not None and artifact.recipe.form == FUSED:
        library = kernels.library("onnxruntime", artifact.recipe.precision)
        shutil.copyfile(library, home / library.name)
        config["model_operations"] = {"op_library_filename": [f"{at}/{name}/{library.name}"]}
    (home / "config.pbtxt").write_text(_text(config), encoding="utf-8")


def _ovms(artifact: Artifact, name: str, folder: Path, at: str, most: int, instances: int) -> None:
    """config.json, and NAME/1/model.*; the server takes the first axis of every request as it comes."""
    _copy(artifact, folder / name / VERSION, f"model{KINDS[artifact.kind].suffix}")
    labels = "".join(f"{label}\n" for label in artifact.input_spec.labels)
    (folder / name / LABELS).write_text(labels, encoding="utf-8")
    sides = ",".join(map(str, artifact.input_spec.shape))
    entry = {
        "name": name,
        "base_path": f"{at}/{name}",
        "shape": {INPUT: f"(1:{most},{sides})"},
        "nireq": instances,
        "target_device": "CPU",
        "plugin_config": {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(instances)},
    }
    document = {"model_config_list": [{"config": entry}]}
    (folder / _CONFIG).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _copy(artifact: Artifact, to: Path, name: str) -> None:
    """The model under the server's name for it; what belongs to it keeps its own ending."""
    to.mkdir(parents=True)
    stem = name.partition(".")[0]
    for suffix in (artifact.path.suffix, *([".bin"] if artifact.kind == "openvino" else [])):
        renamed = name if suffix == artifact.path.suffix else f"{stem}{suffix}"
        shutil.copyfile(artifact.path.with_suffix(suffix), to / renamed)


SERVERS: Mapping[str, Callable[[Artifact, str, Path, str, int, int], None]] = MappingProxyType(
    {"triton": _triton, "ovms": _ovms}
)
_NAMES = {"triton": "Triton", "ovms": "OpenVINO Model Server"}


class _Word(str):
    """A name of an enumeration, which protobuf's text has without quotes."""


def _text(message: Mapping[str, Any], indent: str = "") -> str:
    """A message as protobuf's text; a list is a repeated field."""
    lines = []
    for field, value in message.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                lines.append(f"{indent}{field} {{\n{_text(each, indent + '  ')}{indent}}}\n")
            else:
                shown = each if isinstance(each, _Word) else json.dumps(each)
                lines.append(f"{indent}{field}: {shown}\n")
    return "".join(lines)

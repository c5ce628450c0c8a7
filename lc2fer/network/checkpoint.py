"""Weights on disk: safetensors, with the manifest beside them.

The file's own header names variant, classes, and size and alignment of the images, so that weights without a manifest
can be told apart: C2 and C4 have the same tensors and differ in a stride. Nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lc2fer import header as headers
from lc2fer.artifact import Artifact, publish, record_of, staged, tool_versions
from lc2fer.errors import ArtifactError
from lc2fer.inputs import InputSpec
from lc2fer.network.model import MEAN, STD, Network, build
from lc2fer.variants import VARIANTS, variant


def load(path: str | Path, expected: str | None = None, *, shallower: bool = False) -> Network:
    """The network of a checkpoint, float32, in eval mode, on the CPU; `expected` is the variant asked for, if any.

    With `shallower`, one that only has fewer blocks than `expected` is taken too.

    Names may stand behind torch.compile's `_orig_mod.` or DistributedDataParallel's `module.`. Raises ArtifactError for
    a file that is missing, truncated, not safetensors, of another variant, project or dtype, or that holds NaN or
    infinity. What its classes are called and how large its images are, `lc2fer.header.input_spec` says.
    """
    path = Path(path)
    if path.is_dir():
        inside = [one for one in sorted(path.glob("*.safetensors")) if one.name != "state.safetensors"]
        raise ArtifactError(
            f"{path} is a folder. Expected a file, weights as safetensors. "
            + (f"Pass {inside[0]}." if inside else "There are none in it. Correct the path.")
        )
    if not path.is_file():
        raise ArtifactError(
            f"{path} is missing. Expected weights as safetensors. Train them with lc2fer-train, or correct the path."
        )
    headers.refuse_other(path, "weights as safetensors")
    headers.refuse_foreign(path, headers.read(path))
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {headers.bare(name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(
            f"{path} cannot be read as safetensors ({error}). It may be truncated or of another format. "
            "Copy it again; pickled .pth files are not read."
        ) from None
    name = header.get("variant") or expected
    if name is None:
        raise ArtifactError(
            f"{path} does not say its variant. Expected one of {', '.join(VARIANTS)} in its header. Pass --config."
        )
    if expected is not None and name != expected and not (shallower and variant(expected).deepens(variant(name))):
        raise ArtifactError(f"{path} holds {name}. {expected} was asked for. Pass --config {name}, or other weights.")
    if (header.get("mean"), header.get("std")) not in {(str(MEAN), str(STD)), (None, None)}:
        raise ArtifactError(
            f"{path} was trained on (pixel - {header.get('mean')}) / {header.get('std')}. This version normalises by "
            f"{MEAN} and {STD}. Use the version that trained it."
        )
    classes = tensors["head.linear.bias"].numel() if "head.linear.bias" in tensors else 0
    network = build(variant(name), max(classes, 1))
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    if wanted != found:
        odd = sorted(set(wanted.items()) ^ set(found.items()))[0][0]
        raise ArtifactError(
            f"{path} does not fit {name}: {odd} has shape {found.get(odd)}. Expected {wanted.get(odd)}. "
            "Pass the configuration that it was trained as."
        )
    for key, value in tensors.items():
        if not torch.isfinite(value).all():
            raise ArtifactError(f"{path} holds NaN or infinity in {key}. Finite weights were expected. Train it again.")
    network.load_state_dict(tensors)
    return network.eval()


def save(
    network: Network,
    folder: Path,
    stem: str,
    *,
    input_spec: InputSpec,
    training: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> Artifact:
    """Write `folder/stem.safetensors` and its manifest, both or neither."""
    tensors = {key: value.detach().to("cpu", dtype).contiguous() for key, value in network.state_dict().items()}
    header = {
        "variant": network.variant.name,
        "mean": str(MEAN),
        "std": str(STD),
        "labels": json.dumps(input_spec.labels),
        "size": str(input_spec.size),
        "alignment": input_spec.alignment,
    }
    with staged(folder) as staging:
        path = staging / f"{stem}.safetensors"
        save_file(tensors, path, header)
        artifact = Artifact(
            path=path,
            kind="checkpoint",
            target="torch",
            variant=network.variant.name,
            input_spec=input_spec,
            files=(record_of(path),),
            training=training,
            tools=tool_versions("torch", "safetensors"),
        )
        return publish(artifact, folder)

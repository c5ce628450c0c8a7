"""What a file of weights says of itself, read without torch: its header, and what else a file may be instead.

A safetensors file begins with the length of its header, 8 bytes, and the header, JSON: each tensor's dtype and shape,
and under `__metadata__` what its writer had to say. Here that is variant, mean, std, labels, size and alignment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lc2fer import artifact as artifacts
from lc2fer.alignment import ALIGNMENTS
from lc2fer.artifact import Artifact
from lc2fer.errors import MALFORMED, ArtifactError
from lc2fer.inputs import InputSpec
from lc2fer.variants import VARIANTS

_HEADER_LIMIT = 10_000_000  # bytes; C3's, the longest, has 12,000
_FLOATS = {"F64", "F32", "F16", "BF16"}
# How the rest of the format's dtypes are called elsewhere.
_DTYPES = {"BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu"} | {
    f"{short}{bits}": f"{long}{bits}" for short, long in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
}
_WRAPPERS = ("_orig_mod.", "module.")  # torch.compile's and DistributedDataParallel's
# What others call the tensors of a ConvNeXt V2.
_OTHERS = {
    r"stages\.\d+\.blocks\.\d+\.(conv_dw|mlp)\.|stem\.0\.": "timm's ConvNeXt V2",
    r"convnextv2\.(embeddings|encoder|layernorm)\.": "Hugging Face's ConvNeXt V2",
    r"downsample_layers\.\d+\.|stages\.\d+\.\d+\.(dwconv|pwconv1|grn)\.": "Facebook Research's ConvNeXt V2",
}


@dataclass(frozen=True)
class Header:
    """The header of a safetensors file."""

    said: Mapping[str, str]
    dtypes: Mapping[str, str]  # of each tensor, as the format calls them: "F32", "I8"

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The classes in order; None where it does not say them, or says what are none."""
        try:
            found = json.loads(self.said["labels"])
        except MALFORMED:
            return None
        good = isinstance(found, list) and found and all(isinstance(one, str) and one for one in found)
        return tuple(found) if good and len(set(found)) == len(found) else None

    @property
    def alignment(self) -> str | None:
        """How the faces were cut out; None where it does not say that, as weights of before there was any."""
        return self.said.get("alignment")

    @property
    def size(self) -> int | None:
        """Pixels a side of the images; None where it does not say that."""
        text = self.said.get("size", "")
        return int(text) if re.fullmatch(r"[1-9][0-9]{0,3}", text) else None


def told(path: Path) -> str | None:
    """What a file is that was meant to be another: a Git LFS pointer or a web page; None for any other."""
    with path.open("rb") as file:
        begin = file.read(1024)
    if begin.startswith(b"version https://git-lfs.github.com/spec/"):
        size = re.search(rb"^size ([0-9]+)$", begin, re.MULTILINE)
        return f"a Git LFS pointer to {int(size[1]):,} bytes" if size else "a Git LFS pointer"
    text = begin.decode("utf-8", "replace").lstrip("\ufeff \t\r\n").lower()
    return "a web page" if text.startswith(("<!doctype html", "<html")) else None


def refuse_other(path: Path, expected: str) -> None:
    """Raise ArtifactError, naming it, for a file that is something else than what was `expected`."""
    what = told(path)
    if what is None:
        return
    mend = (
        "Run git lfs pull where it was cloned" if "LFS" in what else "Download it again; its address may want a login"
    )
    raise ArtifactError(f"{path} is {what}. Expected {expected}. {mend}, or copy the file itself.")


def read(path: Path) -> Header:
    """The header of a safetensors file; an empty one where it cannot be read, which whoever reads the tensors says."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            fields = json.loads(file.read(length)) if length <= _HEADER_LIMIT else {}
        said = {str(key): str(value) for key, value in fields.pop("__metadata__", {}).items()}
        return Header(said, {name: str(one["dtype"]) for name, one in fields.items()})
    except (OSError, *MALFORMED):
        return Header({}, {})


def refuse_foreign(path: Path, header: Header) -> None:
    """Raise ArtifactError for tensors that are no floats, and for another project's network, by name."""
    for name, dtype in sorted(header.dtypes.items()):
        if dtype not in _FLOATS:
            raise ArtifactError(
                f"{path} holds {name} as {_DTYPES.get(dtype, dtype)}. Weights as float32, float16 or bfloat16 were "
                "expected. Pass those from before they were quantised: INT8 is made by lc2fer-export."
            )
    for pattern, whose in _OTHERS.items():
        theirs = next((name for name in sorted(header.dtypes) if re.match(pattern, bare(name))), None)
        if theirs is not None:
            raise ArtifactError(
                f"{path} holds {whose} ({theirs}). Expected one of {', '.join(VARIANTS)}, whose stages have other "
                "kernels and widths. Train one with lc2fer-train."
            )


def bare(name: str) -> str:
    """A tensor's name without what torch.compile and DistributedDataParallel put before it."""
    while name.startswith(_WRAPPERS):
        name = name.removeprefix("_orig_mod.").removeprefix("module.")
    return name


def input_spec(path: Path, classes: int, size: int | None = None) -> tuple[InputSpec, Artifact | None]:
    """What goes into the network of these weights and what its classes are called; and its manifest, where it has one.

    `classes` is how many the head tells apart, `size` the images' side where nothing else says it. Raises ArtifactError
    where header and manifest contradict each other, where neither says size or labels, and for another number of them.
    """
    manifest = artifacts.load(path) if path.with_suffix(".json").is_file() else None
    spec = _claimed(path, read(path), classes, size) if manifest is None else manifest.input_spec
    if size is not None and size != spec.size:
        raise ArtifactError(
            f"{path} has size {spec.size} by its {'header' if manifest is None else 'manifest'}, and --size {size} was "
            "given. The same was expected. Leave --size out."
        )
    check(path, spec, classes)
    return spec, manifest


def check(path: Path, spec: InputSpec, classes: int) -> None:
    """Raise ArtifactError where a manifest's spec contradicts the header, or the head of so many classes."""
    header = read(path)
    claims = {
        "labels": (header.labels, spec.labels),
        "size": (header.size, spec.size),
        "alignment": (header.alignment, spec.alignment),
    }
    for what, (one, other) in claims.items():
        if one is not None and one != other:
            raise ArtifactError(
                f"{path} has {what} {_text(other)} by its manifest, and {_text(one)} in its header. The same was "
                "expected. Copy the weights and the manifest of one training."
            )
    _check_classes(path, spec.labels, classes)


def _check_classes(path: Path, labels: tuple[str, ...], classes: int) -> None:
    if len(labels) != classes:
        raise ArtifactError(
            f"{path} tells {classes} classes apart. The {len(labels)} expressions {', '.join(labels)} were expected. "
            "Pass weights that were trained on them."
        )


def _claimed(path: Path, header: Header, classes: int, size: int | None) -> InputSpec:
    """By the header alone, or for a copy of bundled weights by what these are."""
    if header.labels is not None:
        _check_classes(path, header.labels, classes)
    side, labels = header.size or size, header.labels
    if side is None and labels is not None and _bundled(path):
        side = InputSpec().size
    if side is None or labels is None:
        lacks = " nor ".join(name for name, value in (("size", side), ("labels", labels)) if value is None)
        raise ArtifactError(
            f"{path} does not say its {lacks}, and has no manifest. Expected both in its header, as lc2fer-train "
            f"writes them, or in {path.with_suffix('.json').name} beside it. Copy that too"
            + (", or pass the pixels a side to lc2fer-export as --size." if labels is not None else ".")
        )
    cut = header.alignment or "none"
    if cut not in ALIGNMENTS:
        raise ArtifactError(
            f"{path} asks for alignment {cut!r} in its header. This version knows {', '.join(ALIGNMENTS)}. Use the "
            "version that trained it."
        )
    return InputSpec(size=side, labels=labels, alignment=cut)


def _bundled(path: Path) -> bool:
    sha256 = artifacts.hash_file(path)
    ours = (artifacts.bundled(name) for name in VARIANTS)
    return any(one is not None and artifacts.hash_file(one) == sha256 for one in ours)


def _text(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)

"""Small bundles, made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lc2fer.deploy.device import bundle

from lc2fer.inputs import InputSpec

SIZE = 8


def written(folder: Path, key: Path | None = None, **members: bytes) -> Path:
    contents = {
        "a.onnx": b"model",
        bundle.IMAGES: bytes(SIZE * SIZE * 3),
        bundle.LOGITS: np.arange(7, dtype="<f4").tobytes(),
        **members,
    }
    (folder / "members").mkdir(parents=True)
    for name, content in contents.items():
        (folder / "members" / name).write_bytes(content)
    path = folder / "C8.bundle"
    models, spec = [bundle.Model("a.onnx", 20.0)], InputSpec(size=SIZE)
    files = list((folder / "members").iterdir())
    bundle.write(path, files, variant="C8", input_spec=spec, parent_sha256="ab", models=models, key=key)
    return path

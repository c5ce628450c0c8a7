"""Making a bundle, where the weights are; needs what lc2fer-export needs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lc2fer import artifact as artifacts
from lc2fer import kernels
from lc2fer.artifact import Artifact
from lc2fer.errors import ParityError
from lc2fer.processor import has_exact_products
from lc2fer.reading import Reading
from lc2fer.session import open_session
from lc2fer.spokes import exporter
from lc2fer.variants import variant

from . import bundle, golden, signing, wheel
from .bundle import Model

# What a GPU's engines are built from: TensorRT's FP16 and both of its INT8 forms.
SOURCES = ("onnx-fp16", "onnx-int8", "onnx-int8-fp16")
# What ONNX Runtime runs on a CPU as fast as it can, with our operations and, where they cannot be had, without; and
# what liblc2fer runs.
ON_CPU = ("ort-fp32-fused", "ort-fp16-fused", "ort-int8-fused", "native-int8", "ort-fp32", "ort-int8")

# What installs, tunes and serves on the device.
_SCRIPTS = (
    "scripts/install.sh",
    "scripts/requirements.txt",  # REQUIREMENTS with all that they need, and the hashes of their files
    "scripts/build-engines.sh",
    "scripts/max-performance.sh",
    "systemd/lc2fer.service",
)

# What the wheel needs on a device: to run, to show its page, to measure, to reach a Jetson's GPU (pycuda has no wheel).
# Wheels for aarch64 Linux exist of these. CPython 3.10 and CUDA 12 are JetPack 6's, 3.12 and CUDA 13 JetPack 7's. numpy
# stays below 2, for which the system's OpenCV is compiled there and in Debian 12; beside numpy 2 it cannot be imported.
REQUIREMENTS = """\
cuda-bindings==12.9.10; python_version < '3.11' and platform_machine == 'aarch64'
cuda-bindings==13.5.0; python_version >= '3.11' and platform_machine == 'aarch64'
numpy==1.26.4; python_version < '3.13'
numpy==2.4.6; python_version >= '3.13'
onnxruntime==1.23.2; python_version < '3.11'
onnxruntime==1.32.0; python_version >= '3.11'
pillow==12.3.0; python_version < '3.11'
pillow==13.0.0; python_version >= '3.11'
psutil==7.2.2
rich==15.0.0
scipy==1.15.3; python_version < '3.11'
scipy==1.17.1; python_version >= '3.11'
starlette==1.7.0; python_version < '3.11'
starlette==1.10.0; python_version >= '3.11'
tabulate==0.10.0
uvicorn==0.54.0
"""


def make(
    config: str,
    out: Path,
    *,
    weights: Path | None,
    data: str,
    images: str,
    reading: Reading = Reading(),  # noqa: B008
    calibration_images: int | None = None,
    key: Path | None = None,
    say: Callable[[str], None],
) -> tuple[Path, list[golden.Verdict]]:
    """Write `<out>/<config>.bundle` and return it with what its models answer to the golden faces.

    Raises what an export raises, and ParityError where a model's answers to the golden faces are not its parent's.
    """
    config = variant(config).name
    if key is not None:
        signing.sign(b"", key)  # before the minutes of work
    exports = exporter(
        config,
        out,
        weights=weights,
        data=data,
        images=images,
        reading=reading,
        calibration_images=calibration_images,
        say=say,
    )
    parent = exports.export("torch")
    made = [exports.export(target) for target in (*SOURCES, *_on_cpu(say))]
    pixels = golden.faces(parent.input_spec)
    reference = _logits(parent, pixels)
    models, verdicts = [], []
    for each in made:
        assert each.recipe is not None
        logits = _logits(each, pixels, optimize=False)
        model = Model(each.path.name, golden.floor_db(reference, logits, each.recipe.precision))
        verdict = golden.judge(each.path.name, reference, logits, model.sqnr_db)
        if not verdict.passed:
            raise ParityError(
                f"{each.path.name} answers {len(verdict.wrong)} of {verdict.decided} golden faces otherwise than the "
                f"trained network, at {verdict.sqnr_db} dB. The same answers were expected. No bundle was written; "
                "export it with other calibration images."
            )
        models.append(model)
        verdicts.append(verdict)
    path = out / f"{config}.bundle"
    with artifacts.staged(out) as staging:
        (staging / bundle.IMAGES).write_bytes(pixels.tobytes())
        (staging / bundle.LOGITS).write_bytes(reference.astype("<f4").tobytes())
        for told in (*wheel.write_all(staging), *wheel.write_library(staging)):
            say(told)
        for script in _SCRIPTS:
            content = (resources.files("lc2fer.deploy") / script).read_bytes()
            (staging / Path(script).name).write_bytes(content)
        for each in made:
            for file in (each.path, each.manifest_path):
                shutil.copyfile(file, staging / file.name)
        bundle.write(
            path,
            [file for file in staging.iterdir() if file.is_file()],
            variant=config,
            input_spec=parent.input_spec,
            parent_sha256=parent.sha256,
            models=models,
            key=key,
        )
    return path, verdicts


def _on_cpu(say: Callable[[str], None]) -> tuple[str, ...]:
    """Those of ON_CPU that can be made and proven here."""
    lacking = [target for target in ON_CPU if kernels.or_instead(target) != target]
    if lacking:
        say(f"The bundle goes without {', '.join(lacking)}, which cannot run here. lc2fer-deploy doctor says why.")
    without_vnni = () if has_exact_products() else ("ort-int8",)
    return tuple(target for target in ON_CPU if target not in (*lacking, *without_vnni))


def _logits(artifact: Artifact, pixels: NDArray[np.uint8], **options: bool) -> NDArray[np.float32]:
    batch = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)  # NHWC -> NCHW
    with open_session(artifact, **options) as session:
        return session.run(batch)

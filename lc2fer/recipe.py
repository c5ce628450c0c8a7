"""How an artifact is to be made; a recipe that cannot work is refused when it is written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from lc2fer.errors import MALFORMED, ArtifactError, UsageError


@dataclass(frozen=True)
class Precision:
    """The least that an artifact of one precision shows beside the trained network, or it is broken."""

    sqnr_db: float  # of the logits, where it is made
    agreement: float  # share of images with the same first class, where the network is decided
    golden_db: float  # SQNR that is enough on a device, whose engine may add in another order


# Measured on trained networks: fp32 above 100 dB, fp16 74 dB, bf16 47 dB, int8 25 to 32 dB; random ones reach less. The
# floors tell a broken export from a rounded one; the verdict on accuracy is the bench's. On devices: docs/tensorrt.md.
PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    {
        "fp32": Precision(60.0, 1.0, 60.0),
        "fp16": Precision(15.0, 0.95, 30.0),
        "int8": Precision(8.0, 0.85, 24.0),
    }
)
RESTS = ("fp32", "fp16")
# How the deploy form is written: lc2fer/network/fuse.py, and for the last one lc2fer/kernels.
FORMS = TRANSPOSE, FOLDED, ROWS, FUSED = ("transpose", "folded", "rows", "fused")
INPUT, OUTPUT, BATCH = "pixels", "logits", "batch"  # what every graph calls them, and their open first axis
PLAIN = "plain"  # no deploy form: the network as it was trained, for stock routes
PRODUCTS = "products"  # the same, and of it the convolutions alone in int8, where an engine can be told so
METHODS = ("max", "percentile", "entropy", "mse")  # how a range is chosen: export/int8/ranges.py
LEAST_ERROR = "least-error"  # smoothing as each block's output is best: export/int8/smooth.py
STAGES = LAST_STAGE, ALL_STAGES = ("last-stage", "all")
FEWEST_IMAGES = 32  # below this, ranges are anecdotes
IR_VERSION = 10  # of ONNX files: the newest that ONNX Runtime 1.20 reads
HALF_SCALES = 19  # opset from which a scale may be float16, and with it what DequantizeLinear gives
NEWEST_OPSET = 20  # TensorRT 10.3's parser, JetPack 6, reads 9..20


@dataclass(frozen=True)
class Calibration:
    """Which images give the ranges and how: `count` images of D^v drawn with `seed`.

    `percentile` is the share of magnitudes, in percent, that the method of that name leaves unclipped.
    """

    method: str = "max"
    count: int = 300
    seed: int = 0
    percentile: float | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(
                f"There is no calibration method {self.method!r}. Expected one of {', '.join(METHODS)}. Choose one."
            )
        if (self.method == "percentile") != (self.percentile is not None) or not 50 <= (self.percentile or 99) <= 100:
            raise UsageError(
                f"Calibration by {self.method} was given the percentile {self.percentile}. Expected 50 to 100 for the "
                "method percentile and none for any other. Correct the recipe."
            )
        if self.count < FEWEST_IMAGES:
            raise UsageError(
                f"{self.count} calibration images were asked for. At least {FEWEST_IMAGES} are needed for ranges that "
                f"hold. Raise --calibration-images."
            )


def means(name: str, layer: str) -> bool:
    """Whether a recipe's name is that layer's, or the last part of it."""
    return layer == name or layer.endswith(f".{name}")


@dataclass(frozen=True)
class Recipe:
    """Precision, graph form and calibration of one artifact.

    Layers are named as in the deploy form's module tree: "stages.2.1.project", or by the last part, which names all of
    that kind: "depthwise".
    """

    precision: str
    form: str = "transpose"
    opset: int = 18
    batch: int | None = None  # None: files take any; 1: no other, as those of earlier versions
    calibration: Calibration | None = None
    smoothing: float | str | None = None  # share of a range that moves into the weights after GRN, or LEAST_ERROR
    rest: str = "fp32"  # precision of what an int8 graph does not quantise
    kept: tuple[str, ...] = ()  # convolutions that an int8 graph does not quantise
    # The stages whose layers behind GRN have no one range for all images: the fused form takes a step from each pixel's
    # largest magnitude, graphs of Q/DQ pairs keep these layers in float.
    behind_grn: str | None = None
    bias_correction: bool = False  # whether biases take back the mean error that quantisation adds to each channel

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"There is no precision {self.precision!r}. Expected one of {', '.join(PRECISIONS)}. Choose one."
            )
        if (self.precision == "int8") != (self.calibration is not None):
            raise UsageError(
                f"A recipe of precision {self.precision} {'lacks' if self.calibration is None else 'has'} a "
                "calibration. int8 needs one and nothing else may have one. Correct the recipe."
            )
        if self.smoothing is not None and (self.precision != "int8" or not _is_smoothing(self.smoothing)):
            raise UsageError(
                f"Smoothing of {self.smoothing} was asked for with {self.precision}. Expected 0 to 1 or {LEAST_ERROR}, "
                "with int8. Correct the recipe."
            )
        if self.rest not in RESTS or (self.rest != "fp32" and self.precision != "int8"):
            raise UsageError(
                f"A rest of {self.rest!r} was asked for with {self.precision}. Expected one of {', '.join(RESTS)}, and "
                "fp32 for anything but int8. Correct the recipe."
            )
        if self.precision != "int8" and (self.kept or self.bias_correction):
            raise UsageError(
                f"A recipe of precision {self.precision} {'keeps layers' if self.kept else 'corrects biases'}. "
                "Only int8 has what that is for. Correct the recipe."
            )
        if len(set(self.kept)) != len(self.kept):
            raise UsageError(
                f"The layers to keep are {', '.join(self.kept)}. Each was expected once. Correct the recipe."
            )
        if self.form not in (*FORMS, PLAIN, PRODUCTS):
            raise UsageError(
                f"There is no graph form {self.form!r}. Expected one of {', '.join(FORMS)}. Choose one of them."
            )
        if self.behind_grn is not None and (self.precision != "int8" or self.behind_grn not in STAGES):
            raise UsageError(
                f"No one range behind GRN in {self.behind_grn!r} was asked for with {self.precision}. Expected one of "
                f"{', '.join(STAGES)}, with int8. Correct the recipe."
            )
        if self.form == FUSED and self.precision == "int8" and self.kept != ("depthwise",):
            raise UsageError(
                f"The form fused was asked for in int8, keeping {', '.join(self.kept) or 'nothing'}. It keeps the "
                "depthwise convolutions, no more and no less. Choose the form folded."
            )
        if not 17 <= self.opset <= NEWEST_OPSET:
            raise UsageError(
                f"Opset {self.opset} was asked for. Expected 17 (LayerNormalization is one node) to {NEWEST_OPSET} "
                "(the newest that TensorRT 10.3 reads). Choose one of these."
            )
        if self.rest == "fp16" and self.opset < HALF_SCALES:
            raise UsageError(
                f"Opset {self.opset} was asked for with an int8 graph whose rest is fp16. Its scales are float16, "
                f"which opset {HALF_SCALES} is the first to allow. Choose opset {HALF_SCALES} or 20."
            )
        if self.batch not in (None, 1):
            raise UsageError(
                f"A batch of {self.batch} was asked for. Files take any batch, or 1 alone. Correct the recipe."
            )

    def keeps(self, layer: str) -> bool:
        """Whether that convolution stays in float in an int8 graph."""
        return any(means(name, layer) for name in self.kept)

    def without_range(self, blocks: Sequence[int]) -> tuple[str, ...]:
        """The layers behind GRN that have no one range for all images, in a network of so many blocks a stage."""
        if self.behind_grn is None:
            return ()
        last = len(blocks) - 1
        stages = range(last if self.behind_grn == LAST_STAGE else 0, last + 1)
        return tuple(f"stages.{stage}.{1 + block}.project" for stage in stages for block in range(blocks[stage]))

    def to_json(self) -> dict[str, Any]:
        """The manifest's form."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Recipe:
        """The inverse of `to_json`; raises ArtifactError where the manifest is damaged."""
        try:
            calibration = fields["calibration"]
            return cls(
                **{
                    **fields,
                    "calibration": None if calibration is None else Calibration(**calibration),
                    "kept": tuple(fields.get("kept", ())),
                }
            )
        except (*MALFORMED, UsageError) as error:
            raise ArtifactError(
                f"The manifest's recipe is damaged ({error}). Expected the fields of Recipe. Export the artifact again."
            ) from None


def _is_smoothing(value: float | str) -> bool:
    return value == LEAST_ERROR if isinstance(value, str) else 0 <= value <= 1


MIN_SPEEDUP = 1.05


@dataclass(frozen=True)
class Budget:
    """What INT8 may cost and has to bring."""

    max_drop: float  # share of D^v, 0.003 for 0.3 percentage points
    min_speedup: float = MIN_SPEEDUP  # over the fastest higher precision of the same engine

    def __post_init__(self) -> None:
        if not 0 <= self.max_drop < 1 or not self.min_speedup > 0:
            raise UsageError(
                f"A budget of {100 * self.max_drop:g} percentage points and a speedup of {self.min_speedup:g} were "
                "asked for. Expected 0 to 100 points and a speedup above 0. Correct --max-drop or --min-speedup."
            )

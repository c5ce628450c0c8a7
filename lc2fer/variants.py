"""The eight LC2FER variants (Long et al., HOUJS 2024, DOI 10.59266/houjs.2024.465, table of configurations)."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from lc2fer.errors import UsageError

EXPANSION = 4  # pointwise layers go C -> 4C -> C
KERNEL = 7  # depthwise convolution, padding 3
LABEL_COUNT = 7


@dataclass(frozen=True)
class Variant:
    """One configuration: for each stage its downsample (kernel, stride), block count B and width D."""

    name: str
    downsamples: tuple[tuple[int, int], ...]
    blocks: tuple[int, ...]
    widths: tuple[int, ...]

    def feature_sizes(self, size: int = 100) -> tuple[int, ...]:
        """Side of each stage's square feature map, in pixels, for a size x size input.

        Raises UsageError where a downsample's kernel does not fit its map any more.
        """
        sizes: list[int] = []
        side = size
        for stage, (kernel, stride) in enumerate(self.downsamples, 1):
            if side < kernel:
                raise UsageError(
                    f"{self.name} cannot take {size}x{size} images: stage {stage} would convolve a {side}x{side} map "
                    f"with a {kernel}x{kernel} kernel. Its strides need at least {self.smallest_input} pixels a side. "
                    f"Use --size {self.smallest_input} or more."
                )
            side = (side - kernel) // stride + 1
            sizes.append(side)
        return tuple(sizes)

    @property
    def smallest_input(self) -> int:
        """Smallest side, in pixels, that leaves every stage at least one pixel."""
        side = 1
        for kernel, stride in reversed(self.downsamples):
            side = (side - 1) * stride + kernel
        return side

    def deepens(self, other: Variant) -> bool:
        """Whether it is `other` with the same blocks or more of them."""
        same = (self.downsamples, self.widths) == (other.downsamples, other.widths)
        return same and all(mine >= theirs for mine, theirs in zip(self.blocks, other.blocks))

    def parameter_count(self, num_classes: int = LABEL_COUNT) -> int:
        """Number of trainable parameters (the paper's table, there rounded)."""
        total = 0
        inputs = 3
        for stage, ((kernel, _), count, width) in enumerate(zip(self.downsamples, self.blocks, self.widths)):
            norm = 2 * (width if stage == 0 else inputs)  # the stem normalises after its convolution, the others before
            hidden = EXPANSION * width
            block = (KERNEL**2 + 1) * width + 2 * width + (width + 1) * hidden + 2 * hidden + (hidden + 1) * width
            total += norm + (kernel**2 * inputs + 1) * width + count * block
            inputs = width
        return total + 2 * inputs + (inputs + 1) * num_classes

    def mac_count(self, size: int = 100, num_classes: int = LABEL_COUNT) -> int:
        """Multiply-accumulates of the convolutions and the classifier for one size x size RGB image."""
        total = 0
        inputs = 3
        for side, (kernel, _), count, width in zip(
            self.feature_sizes(size), self.downsamples, self.blocks, self.widths
        ):
            block = KERNEL**2 * width + 2 * EXPANSION * width**2
            total += side**2 * (kernel**2 * inputs * width + count * block)
            inputs = width
        return total + inputs * num_classes


_THREE = ((4, 2), (3, 3), (2, 2))

VARIANTS = MappingProxyType(
    {
        variant.name: variant
        for variant in (
            Variant("C1", ((4, 4), (2, 2), (2, 2), (2, 2)), (2, 2, 6, 2), (40, 80, 160, 320)),
            Variant("C2", ((4, 4), (3, 3), (2, 2)), (2, 4, 2), (64, 128, 256)),
            Variant("C3", ((4, 4), (3, 3), (2, 2)), (2, 4, 2), (128, 256, 512)),
            Variant("C4", _THREE, (2, 4, 2), (64, 128, 256)),
            Variant("C5", _THREE, (2, 2, 2), (64, 128, 256)),
            Variant("C6", _THREE, (1, 1, 1), (64, 128, 256)),
            Variant("C7", _THREE, (1, 1, 1), (128, 256, 512)),
            Variant("C8", _THREE, (1, 1, 1), (40, 80, 160)),
        )
    }
)


def variant(name: str) -> Variant:
    """The variant of that name, in either case; raises UsageError for any other."""
    try:
        return VARIANTS[name.upper()]
    except KeyError:
        raise UsageError(
            f"There is no configuration {name!r}. Expected one of {', '.join(VARIANTS)}. Pass one of them as --config."
        ) from None

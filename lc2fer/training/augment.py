"""What is done to a batch of images before it is learned, on the device: augmentation, occlusion, mixing.

The paper's second experiment gives ranges; it is silent on the flip's probability (0.5 here) and on what fills the
borders (the image's own reflection here). All the rest is not the paper's. Randomness is torch's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

# name -> ranges, all at once and drawn at random for each image
AUGMENTATIONS = MappingProxyType(
    {
        "none": None,
        "paper": {"flip": 0.5, "degrees": 9.0, "translate": 0.1, "zoom": 0.1},  # 9 degrees = 0.05 pi
        # what cameras and light do to a face
        "faces": {
            "flip": 0.5,
            "degrees": 15.0,
            "translate": 0.1,
            "zoom": 0.15,
            "brightness": 0.2,
            "contrast": 0.4,
            "gamma": 0.4,
            "grey": 0.2,
            "blur": 0.2,
        },
    }
)
ERASED = (0.04, 0.25)  # share of an erased image's area


def augmentation(name: str) -> Callable[[Tensor], Tensor]:
    """A function of float images [N,3,H,W], 0..255, to images of the same shape and range."""
    ranges = AUGMENTATIONS[name]
    if ranges is None:
        return lambda images: images

    def augment(images: Tensor) -> Tensor:
        moved = _moved(images, ranges)
        return _lit(moved, ranges) if "gamma" in ranges else moved

    return augment


def _moved(images: Tensor, ranges: Mapping[str, float]) -> Tensor:
    """Mirrored, turned, zoomed and shifted, in one sampling (bilinear, square images [N,3,H,H])."""
    count, device = len(images), images.device

    def drawn(spread: float, *shape: int) -> Tensor:  # evenly in -spread..spread
        return spread * (2 * torch.rand(count, *shape, device=device) - 1)

    angle = torch.deg2rad(drawn(ranges["degrees"]))
    zoom = 1 + drawn(ranges["zoom"])
    shift = drawn(2 * ranges["translate"], 2, 1)  # a side is 2 long, as affine_grid counts
    side = torch.where(torch.rand(count, device=device) < ranges["flip"], -1.0, 1.0)
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    turn = torch.stack([torch.stack([side * cos, side * sin], 1), torch.stack([-sin, cos], 1)], 1)  # [N,2,2]
    grid = functional.affine_grid(torch.cat([turn, -turn @ shift], 2), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, "bilinear", "reflection", align_corners=False)


def _lit(images: Tensor, ranges: Mapping[str, float]) -> Tensor:
    """Other light and a poorer camera: contrast, brightness, gamma; some grey, some out of focus."""

    def drawn(spread: float) -> Tensor:  # [N,1,1,1], evenly in -spread..spread
        return spread * (2 * torch.rand(len(images), 1, 1, 1, device=images.device) - 1)

    def some(share: float) -> Tensor:
        return torch.rand(len(images), 1, 1, 1, device=images.device) < share

    unit = images / 255
    unit = torch.where(some(ranges["grey"]), unit.mean(dim=1, keepdim=True), unit)
    unit = torch.where(some(ranges["blur"]), _blurred(unit), unit)
    mean = unit.mean(dim=(1, 2, 3), keepdim=True)
    unit = (unit - mean) * (1 + drawn(ranges["contrast"])) + mean + drawn(ranges["brightness"])
    return 255 * unit.clamp(1e-4, 1) ** drawn(ranges["gamma"]).exp()


def _blurred(images: Tensor) -> Tensor:
    """Under a binomial filter of 5x5."""
    line = torch.cat([images.new_full((1,), weight / 16) for weight in (1, 4, 6, 4, 1)])  # made on the device
    kernel = (line[:, None] * line).expand(images.shape[1], 1, 5, 5)
    padded = functional.pad(images, (2, 2, 2, 2), mode="reflect")
    return functional.conv2d(padded, kernel, groups=images.shape[1])


def erased(images: Tensor, share: float) -> Tensor:
    """That share of the images [N,3,H,W], 0..255, with a rectangle of one random colour on it (arXiv 1708.04896)."""
    count = len(images)
    area = torch.empty(count, device=images.device).uniform_(*ERASED)
    chosen = torch.rand(count, 1, 1, 1, device=images.device) < share
    colour = 255 * torch.rand(count, images.shape[1], 1, 1, device=images.device)
    return torch.where(_rectangles(images, area) & chosen, colour, images)


def mixed(images: Tensor, targets: Tensor, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """Each image with another of the batch, and targets [N,classes] in the same shares.

    mixup (arXiv 1710.09412) blends two images, cutmix (arXiv 1905.04899) pastes a rectangle of the other; both take the
    alpha of the Beta distribution that the share is drawn from, and of two that are above 0 a coin chooses one a batch.
    """
    pasting = cutmix > 0 and (mixup == 0 or torch.rand(()).item() < 0.5)
    alpha = torch.full((len(images),), cutmix if pasting else mixup, device=images.device)
    own = torch.distributions.Beta(alpha, alpha).sample().view(-1, 1, 1, 1)  # the share that an image keeps
    partner = torch.randperm(len(images), device=images.device)
    if pasting:
        pasted = _rectangles(images, 1 - own.flatten())
        own = 1 - pasted.float().mean(dim=(1, 2, 3), keepdim=True)
        images = torch.where(pasted, images[partner], images)
    else:
        images = own * images + (1 - own) * images[partner]
    own = own.view(-1, 1)
    return images, own * targets + (1 - own) * targets[partner]


def _rectangles(images: Tensor, area: Tensor) -> Tensor:
    """One rectangle an image as a mask [N,1,H,W], of the shares of the area [N], in sides of 1:2 to 2:1, whole."""
    height, width = images.shape[-2:]
    stretch = 2 ** torch.empty_like(area).uniform_(-0.5, 0.5)  # of one side; the other shrinks as much
    sides = area.sqrt()[:, None] * torch.stack([stretch, 1 / stretch], dim=1)  # [N,2], shares of height and width
    first = torch.rand_like(sides) * (1 - sides).clamp(min=0)
    inside = []
    for axis, pixels in enumerate((height, width)):
        middles = (torch.arange(pixels, device=images.device) + 0.5) / pixels
        begin, end = first[:, axis, None], (first + sides)[:, axis, None]
        inside.append((middles >= begin) & (middles < end))
    down, across = inside
    return (down[:, :, None] & across[:, None, :])[:, None]

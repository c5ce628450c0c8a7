"""What is done to a batch before it is learned: its ranges, its shares, and that targets follow the pixels."""

from __future__ import annotations

import pytest
import torch

from lc2fer.training.augment import ERASED, augmentation, erased, mixed


@pytest.mark.parametrize("name", ["paper", "faces"])
def test_augmentation_stays_within_pixels(name: str) -> None:
    torch.manual_seed(0)
    images = torch.rand(16, 3, 32, 32) * 255
    moved = augmentation(name)(images)
    assert moved.shape == images.shape
    assert torch.isfinite(moved).all()
    assert 0 <= moved.min() < moved.max() <= 255.001
    assert all(not torch.equal(before, after) for before, after in zip(images, moved))


def test_movements_stay_within_the_papers_limits_and_reach_them() -> None:
    """Table 2.2, read off images whose values are their own pixels' places: half of them mirrored, 9 degrees, 10 %."""
    torch.manual_seed(0)
    side = 40
    places = (torch.arange(side) + 0.5) / side - 0.5  # of a pixel's middle, the image being 1 wide
    across, down = places.expand(side, side), places[:, None].expand(side, side)
    images = torch.stack([across, down, torch.ones_like(down)]).expand(2000, 3, side, side)
    seen = augmentation("paper")(images)[:, :, 15:25, 15:25]  # too far inside to see a border
    here = torch.stack([across[15:25, 15:25].flatten(), down[15:25, 15:25].flatten(), torch.ones(100)], 1)
    x, y = (torch.linalg.lstsq(here, seen[:, axis].flatten(1).T).solution.T for axis in (0, 1))  # [2000,3]
    zoom = 1 / y[:, :2].norm(dim=1)
    angle = torch.rad2deg(torch.atan2(-y[:, 0], y[:, 1]))
    mirrored = x[:, 0] < 0
    turn = torch.stack([x[:, :2], y[:, :2]], 1)
    shift = -torch.linalg.solve(turn, torch.stack([x[:, 2], y[:, 2]], 1))
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.045)  # 4 standard errors
    for found, least, most in ((zoom, 0.9, 1.1), (angle, -9, 9), (shift, -0.1, 0.1)):
        spread = most - least
        assert least - 0.001 * spread <= found.min() < least + 0.01 * spread
        assert most - 0.01 * spread < found.max() <= most + 0.001 * spread
        assert found.std().item() == pytest.approx(spread / 12**0.5, rel=0.06)  # evenly


def test_faces_are_lit_otherwise_and_some_lose_their_colour() -> None:
    torch.manual_seed(0)
    images = torch.full((400, 3, 16, 16), 100.0) * torch.tensor([1.2, 1.0, 0.8]).view(1, 3, 1, 1)
    seen = augmentation("faces")(images)
    light = seen.mean(dim=(1, 2, 3))
    assert light.std() > 20  # of the paper's augmentation: 0
    assert 70 < light.mean() < 130
    grey = (seen.amax(dim=1) - seen.amin(dim=1)).amax(dim=(1, 2)) < 0.01
    assert grey.float().mean().item() == pytest.approx(0.2, abs=0.08)  # 4 standard errors
    assert augmentation("paper")(images).mean(dim=(1, 2, 3)).std() < 0.01


def test_a_rectangle_of_the_asked_share_of_images_is_covered() -> None:
    torch.manual_seed(0)
    images = torch.full((1000, 3, 40, 40), 300.0)  # no colour that a rectangle can have
    covered = (erased(images, 0.25) != 300).all(dim=1)
    areas = covered.float().mean(dim=(1, 2))
    assert (areas > 0).float().mean().item() == pytest.approx(0.25, abs=0.055)  # 4 standard errors
    hit = areas[areas > 0]
    assert 0.8 * ERASED[0] < hit.min() < 0.06
    assert 0.2 < hit.max() < 1.2 * ERASED[1]
    for mask in covered[areas > 0]:  # a whole rectangle: every touched row is the same
        touched = mask[mask.any(dim=1)]
        assert (touched == touched[0]).all()
    assert torch.equal(erased(images, 0.0), images)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0)])
def test_targets_are_mixed_in_the_shares_of_the_pixels(mixup: float, cutmix: float) -> None:
    torch.manual_seed(0)
    values = torch.arange(7.0)
    images = values.view(7, 1, 1, 1).expand(7, 3, 24, 24)  # each image is as bright as its class's number
    new, targets = mixed(images, torch.eye(7), mixup, cutmix)
    torch.testing.assert_close(targets.sum(1), torch.ones(7))
    torch.testing.assert_close(new.mean(dim=(1, 2, 3)), targets @ values)
    assert (targets.max(1).values < 1).any()
    levels = [len(image.unique()) for image in new]
    assert set(levels) <= ({1} if mixup else {1, 2})
    assert mixup or 2 in levels


def test_a_coin_chooses_between_mixup_and_cutmix() -> None:
    torch.manual_seed(0)
    images = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 3, 16, 16)
    pasted = 0
    for _ in range(100):
        new, _ = mixed(images, torch.eye(8), 1.0, 1.0)
        pasted += any(len(image.unique()) == 2 for image in new)
    assert 30 <= pasted <= 70

import numpy as np
import pytest
from lc2fer.benchmarks.measuring.perturb import FACTORS, perturb

IMAGES = np.random.default_rng(0).integers(60, 140, (6, 40, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("factor", FACTORS)
def test_a_factor_changes_each_image_always_in_the_same_way(factor):
    kept = IMAGES.copy()
    found = perturb(factor, IMAGES)
    assert (found.shape, found.dtype) == (IMAGES.shape, np.uint8)
    assert np.array_equal(IMAGES, kept)
    assert all((before != after).any() for before, after in zip(IMAGES, found))
    assert np.array_equal(perturb(factor, IMAGES[:3]), found[:3])


def test_what_the_factors_do():
    covered = (perturb("occlusion", IMAGES) != IMAGES).any(axis=3).sum(axis=(1, 2))
    assert np.all((covered > 150) & (covered <= 14 * 14))
    assert perturb("blur", IMAGES).std() < 0.8 * IMAGES.std()
    means = perturb("brightness", IMAGES).mean(axis=(1, 2, 3)) / IMAGES.mean(axis=(1, 2, 3))
    assert sorted({round(float(mean), 1) for mean in means}) == [0.5, 1.6]
    corners = perturb("rotation", IMAGES)[:, 0, 0]
    assert np.all(corners == 128)

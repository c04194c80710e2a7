"""Our detection and mesh beside sep called directly, and the sky beside photutils, on one crowded field.

Tolerance: sources and segmentation equal; the sky within 0.05 rms of either.
"""

import numpy as np
import pytest
import sep
from photutils.background import SExtractorBackground, StdBackgroundRMS

from skyloom.sky.background import background_map, sky_level
from skyloom.sky.detection import detect


@pytest.fixture(scope="module")
def crowded():
    rng = np.random.default_rng(11)
    image = rng.normal(10, 2, (512, 512))
    rows, columns = np.indices(image.shape)
    for x, y, flux in zip(*rng.uniform(0, 512, (2, 60)), 10 ** rng.uniform(2.5, 4.5, 60), strict=True):
        image += flux / 25 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    return image.astype(np.float32)


def test_sources_are_those_of_sep(crowded):
    theirs, segmap = sep.extract(crowded - 10, 1.5, err=2.0, minarea=8, segmentation_map=True)
    ours = detect(crowded - 10, 2.0, np.ones(crowded.shape, bool))
    np.testing.assert_array_equal(ours.segmap, segmap)
    np.testing.assert_allclose(ours.table["x"], theirs["x"], atol=1e-4)
    np.testing.assert_allclose(ours.table["snr"], theirs["flux"] / np.sqrt(theirs["npix"]) / 2, rtol=1e-4)


def test_the_map_is_that_of_sep(crowded):
    level, rms = background_map(crowded, np.ones(crowded.shape, bool), 64)
    theirs = sep.Background(crowded, bw=64, bh=64)
    assert np.abs(level - theirs.back()).max() < 0.02 * 2
    np.testing.assert_allclose(rms, theirs.rms(), rtol=0.01)


def test_the_level_agrees_with_photutils(crowded):
    level, rms = sky_level(crowded, np.ones_like(crowded))
    assert abs(level - SExtractorBackground()(crowded)) < 0.05 * 2
    assert rms == pytest.approx(StdBackgroundRMS()(crowded[crowded < 14]), rel=0.15) and abs(level - 10) < 0.1 * 2

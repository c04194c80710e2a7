"""The published distance, faults and all, against a slow loop written from a description of what the script does."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from skyloom.errors import RequestError
from skyloom.metrics.legacy import legacy_photometry, sgd_legacy
from skyloom.metrics.photometry import photometry

SCALE = 0.262


def galaxies(count, seed, size=48, r_e=4.0, n=1.0, noise=0.02) -> np.ndarray:
    """Round Sérsic galaxies in three bands on a sky of 0.1, of many sizes and fluxes."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((size, size)) - size // 2
    radius = np.hypot(x, y)
    images = []
    for _ in range(count):
        light = np.exp(-(2 * n - 1 / 3) * (radius / (r_e * rng.uniform(0.6, 1.6))) ** (1 / n))
        colours = rng.uniform(0.5, 2, 3)[:, None, None]
        images.append(rng.uniform(2, 20) * colours * light + rng.normal(0.1, noise, (3, size, size)))
    return np.array(images, np.float32)


def disc(size: int, radius: int) -> list[tuple[int, int]]:
    """Pixels (y, x) no further than `radius` from pixel (size // 2, size // 2)."""
    c = size // 2
    return [(y, x) for y in range(size) for x in range(size) if (y - c) ** 2 + (x - c) ** 2 <= radius**2]


def slow_flux(image: np.ndarray) -> float:
    side = image.shape[0]
    edges = [*range(20), *range(side - 20, side)]
    sky = np.median([image[y, x] for y in edges for x in edges])
    pixels = disc(side, 6)
    return sum(float(image[y, x]) for y, x in pixels) - float(sky) * len(pixels)


def slow_size(image: np.ndarray) -> float:
    """[arcsec]: the ring between s − 1 and s comes out as the disc of s − 1."""
    side = image.shape[0]
    with np.errstate(invalid="ignore"):
        scaled = (image - image.min()) / (image.max() - image.min())
    within_two = np.median([scaled[pixel] for pixel in disc(side, 2)])
    for outer in range(3, side // 2):
        both = set(disc(side, outer)) & set(disc(side, outer - 1))
        if np.median([scaled[pixel] for pixel in both]) <= 0.5 * within_two:
            return (outer - 1) * SCALE
    return np.nan


def slow_sgd(real: np.ndarray, fake: np.ndarray) -> float:
    """Pair by pair: a pair of which either lacks a number is left out; all six terms are added."""
    rows = []
    for one, other in zip(real, fake, strict=False):
        if np.isnan(one).any() or np.isnan(other).any():
            continue
        row = [[slow_flux(band) for band in image] + [slow_size(image[0])] for image in (one, other)]
        if np.isfinite(row).all():
            rows.append(row)
    numbers = np.array(rows)
    with np.errstate(invalid="ignore"):
        mags = 22.5 - 2.5 * np.log10(numbers[..., :3])
    columns = [*np.moveaxis(mags, 2, 0), numbers[..., 3], mags[..., 0] - mags[..., 1], mags[..., 1] - mags[..., 2]]
    total = 0.0
    for column in columns:
        known = np.isfinite(column).all(1)
        total += wasserstein_distance(column[known, 0], column[known, 1])
    return total


@pytest.mark.parametrize("n", [0.5, 1.0, 2.0])
def test_it_agrees_with_a_slow_loop_written_from_the_description(n):
    real, fake = galaxies(12, 0, n=n), galaxies(12, 1, n=n, r_e=5.0)
    fake[3, 1, 5, 5] = np.nan  # costs galaxy 3 of the real ones too
    fake[4, 2] = -fake[4, 2]  # a negative flux: no magnitude, and galaxy 4 of both leaves three of the terms
    real[7, 0] = 1.0  # no light: no size
    found = sgd_legacy(real, fake, pixel_scale=SCALE)
    assert found.total.value == pytest.approx(slow_sgd(real, fake), rel=1e-5)
    assert found.total.n < 12 and found.terms["z"].n == found.terms["g"].n - 1


def test_each_galaxy_has_the_numbers_of_the_slow_loop():
    real = galaxies(6, 2)
    expected = [[slow_flux(band) for band in image] + [slow_size(image[0])] for image in real]
    np.testing.assert_allclose(legacy_photometry(real, SCALE), expected, rtol=1e-5)


def test_the_longer_set_is_cut_and_the_sum_mixes_units():
    real, fake = galaxies(9, 3), galaxies(5, 4)
    found = sgd_legacy(real, fake, pixel_scale=SCALE)
    assert found.total.value == sgd_legacy(real[:5], fake, pixel_scale=SCALE).total.value
    assert found.total.value == pytest.approx(sum(term.value for term in found.terms.values()))
    assert found.total.unit == "mag + arcsec" and found.terms["R_e"].unit == "arcsec"


def test_its_size_is_blind_to_a_steep_core_where_a_half_light_radius_is_not():
    small, large = (galaxies(1, 5, n=4.0, r_e=r_e, noise=0.0, size=96) for r_e in (4.0, 9.0))
    published = [legacy_photometry(image, SCALE)[0, 3] for image in (small, large)]
    ours = [photometry(image - np.float32(0.1), SCALE, [22.5] * 3).r_e[0] for image in (small, large)]
    assert published[0] == published[1]
    assert ours[1] > 2 * ours[0]


def test_identical_sets_are_at_distance_zero_and_nothing_at_none():
    real = galaxies(4, 6)
    assert sgd_legacy(real, real, pixel_scale=SCALE).total.value == 0
    nothing = sgd_legacy(real * np.nan, real, pixel_scale=SCALE).total
    assert np.isnan(nothing.value) and nothing.n == 0


def test_other_numbers_of_bands_are_refused():
    with pytest.raises(RequestError, match="three bands"):
        sgd_legacy(galaxies(2, 7)[:, :2], galaxies(2, 8)[:, :2], pixel_scale=SCALE)

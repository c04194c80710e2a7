"""Power spectra: Parseval's law, white noise, pure waves; the sky's noise around a galaxy; and graded damage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from skyloom.errors import CatalogueError, RequestError
from skyloom.metrics.score import Score
from skyloom.metrics.spectra import (
    noise_distance,
    noise_spectrum,
    power_distance,
    power_spectra,
    sky_noise,
    sky_offsets,
    sky_pixels,
    window,
)

sides = st.integers(8, 33)


def white(n, seed, side=32, bands=1, rms=1.0):
    return np.random.default_rng(seed).normal(0, rms, (n, bands, side, side)).astype(np.float32)


def correlated(n, seed, side=64):
    """Noise of rms 1 whose pixels go together with those r away by exp(−(r / 1.6)²)."""
    noise = gaussian_filter(white(n, seed, side + 16), (0, 0, 0.8, 0.8))[:, :, 8:-8, 8:-8]
    point = np.zeros((33, 33))
    point[16, 16] = 1
    return noise / np.sqrt((gaussian_filter(point, 0.8) ** 2).sum())


def seen(k, correlation):
    """The power at k that belongs to a correlation up to 8 pixels, through a Hann window."""
    y, x = np.mgrid[-8:9, -8:9]
    r = np.hypot(y, x)
    weighted = np.where(r <= 8, correlation(r) * (1 + np.cos(np.pi * r / 9)) / 2, 0)
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)[:, None, None]
    return [(weighted * np.cos(2 * np.pi * one * (y * np.sin(angle) + x * np.cos(angle))).mean(0)).sum() for one in k]


@given(height=sides, width=sides)
def test_the_mean_over_all_modes_is_the_mean_square_of_the_windowed_image(height, width):
    image = np.random.default_rng(height).normal(3, 1, (1, 2, height, width))
    found = power_spectra(image)
    assert found.modes.sum() == height * width
    mean = (found.power * found.modes).sum(2) / found.modes.sum()
    np.testing.assert_allclose(mean, np.mean((image * window(height, width)) ** 2, (2, 3)), rtol=1e-6)
    assert np.mean(window(height, width) ** 2) == pytest.approx(1)


def test_white_noise_is_flat_and_has_its_variance_as_power():
    found = power_spectra(white(400, 0, rms=2.0))
    mean, error = found.power.mean(0)[0], found.power.std(0)[0] / 20
    assert (np.abs(mean - 4) < 4 * error).all() and error.max() < 0.4


@pytest.mark.parametrize("frequency", [(0.25, 0.0), (0.0, 0.125), (0.25, 0.25)])
def test_a_wave_shows_at_its_frequency(frequency):
    y, x = np.indices((64, 64))
    found = power_spectra(np.cos(2 * np.pi * (frequency[0] * y + frequency[1] * x))[None, None])
    assert found.k[found.power[0, 0].argmax()] == pytest.approx(np.hypot(*frequency), abs=1 / 64)


@given(gain=st.floats(0.1, 10))
def test_a_gain_is_a_shift_of_log_power_and_turning_changes_nothing(gain):
    images = white(6, 1)
    assert power_distance(images, gain * images, 2).value == pytest.approx(abs(2 * np.log10(gain)), abs=1e-5)
    np.testing.assert_allclose(power_spectra(np.rot90(images, 1, (2, 3))).power, power_spectra(images).power, rtol=1e-3)


def test_the_null_falls_as_the_root_of_n_and_the_error_is_the_scatter():
    found = {n: [power_distance(white(n, 2 * k, 16), white(n, 2 * k + 1, 16), 50) for k in range(20)] for n in (20, 80)}
    small, large = (np.mean([one.value for one in found[n]]) for n in (20, 80))
    assert small / large == pytest.approx(2, rel=0.25)
    shifted = [power_distance(white(40, 2 * k, 16), white(40, 2 * k + 1, 16, rms=1.5), 50) for k in range(30)]
    assert np.mean([one.error for one in shifted]) == pytest.approx(np.std([one.value for one in shifted]), rel=0.35)
    assert shifted[0].unit == "dex" and shifted[0].n == 40


@pytest.mark.parametrize("damage", ["blur", "gain", "colour", "dropped"])
def test_more_damage_is_further_away(damage, real, fakes):
    found = [power_distance(real, images, 2).value for images in fakes(damage)]
    assert found[0] < found[1] < found[2]


def test_images_without_power_drop_out_and_are_not_counted():
    images = white(10, 0)
    images[:3] = 0
    found = power_distance(white(12, 1), images)
    assert found.n == 7 and np.isfinite(found.value)
    assert power_distance(images[:3], images).n == 0 and np.isnan(power_distance(images[:3], images).value)


def test_the_galaxy_is_not_sky_and_most_of_the_rest_is(discs):
    images = discs(40, 0, 64)
    sky = sky_pixels(images)
    assert not sky[:, 28:36, 28:36].any()
    assert sky[:, :8].mean() > 0.85 and sky_pixels(white(40, 0, 64)).mean() > 0.85
    images[:, 1, 5, 5] = np.nan
    assert not sky_pixels(images)[:, 5, 5].any()


def test_level_and_rms_are_those_of_the_noise_around_a_galaxy(discs):
    rms, level = np.array([1.0, 2.0, 0.5]), np.array([0.0, 3.0, -1.0])
    images = discs(100, 0, 64) * rms[:, None, None] + level[:, None, None]
    found = sky_noise(images.astype(np.float32))
    np.testing.assert_allclose(np.median(found.rms, 0), rms, rtol=0.015)
    np.testing.assert_allclose(np.median(found.level, 0), level, atol=0.03 * rms.max())
    shifted = sky_offsets(found, sky_noise(1.1 * images.astype(np.float32)))
    assert all(one.rms.value == pytest.approx(1.1, abs=0.01) for one in shifted)
    assert shifted[1].level.value == pytest.approx(0.3 / 2, abs=0.02) and shifted[0].rms.n == 100


def test_a_sky_without_noise_has_offsets_too(discs):
    noisy = sky_noise(discs(20, 0, 64).astype(np.float32))
    flat = noisy._replace(rms=np.zeros_like(noisy.rms), level=np.zeros_like(noisy.level))
    assert all(one.rms.value == 0 for one in sky_offsets(noisy, flat))
    assert all(np.isinf(one.rms.value) for one in sky_offsets(flat, noisy))


@pytest.mark.parametrize("with_galaxies", [False, True])
def test_the_spectrum_of_the_noise_is_that_of_theory_holes_or_not(with_galaxies, discs):
    added = int(with_galaxies)  # galaxies bring white noise of their own
    k, power = noise_spectrum(sky_noise(correlated(100, 0) + added * discs(100, 1, 64, 1)))
    expected = np.array(seen(k, lambda r: np.exp(-((r / 1.6) ** 2)))) + added
    off = np.abs(power[0, 0] - expected) / expected.max()
    assert off[2:].max() < 0.01 and off[:2].max() < 0.1  # the brightest broad patches of noise are taken for sources


def test_noise_of_the_wrong_strength_or_colour_is_further_away_the_more_it_is_wrong(discs):
    real, honest = discs(60, 1, 64), discs(60, 2, 64)
    extra = white(60, 3, 64, 3)
    stronger = [noise_distance(real, honest + grade * extra, 20) for grade in (0.0, 0.3, 0.6)]
    smoother = [noise_distance(real, gaussian_filter(honest, (0, 0, s, s)), 20) for s in (0.0, 0.4, 0.8)]
    for found in (stronger, smoother):
        values = [one.value for one in found]
        assert values[0] < 0.02 and values[0] + 5 * found[0].error < values[1] < values[2]
    assert stronger[1].value == pytest.approx(np.log10(1 + 0.3**2), abs=0.01) and stronger[1].unit == "dex"


def test_the_noise_distance_is_blind_to_galaxies(discs):
    real, fewer = discs(150, 1, 64), discs(150, 2, 64, missing=0.4)
    assert noise_distance(real, fewer, 10).value < 0.02


def test_images_without_sky_drop_out_and_a_silent_sky_is_far_but_not_infinitely(discs):
    images = discs(20, 0, 64)
    full = images.copy()
    full[:5] = np.nan
    assert noise_distance(images, full, 5).n == 15
    assert noise_distance(images, np.full_like(images, np.nan))[3] == 0
    silent = noise_distance(images, np.zeros_like(images), 5)
    assert 2.5 < silent.value <= 3


def test_one_seed_gives_one_score():
    assert noise_distance(white(20, 0), white(20, 1), 20, 3) == noise_distance(white(20, 0), white(20, 1), 20, 3)
    assert isinstance(power_distance(white(9, 0), white(9, 1), 20), Score)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(RequestError, match="compare equal ones"):
        power_distance(white(3, 0, 16), white(3, 0, 32))
    with pytest.raises(RequestError, match="bands"):
        noise_distance(white(3, 0), white(3, 0, bands=2))
    with pytest.raises(CatalogueError, match="not finite"):
        power_spectra(np.full((1, 1, 16, 16), np.nan))

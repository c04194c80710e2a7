"""The noise model: what it measures is what was put in, and what it draws is what it measured."""

import numpy as np
import pytest
from scipy.ndimage import correlate

from skyloom.sky.noise_model import MARGIN, REACH, NoiseModel, measure_noise, noise_model_of
from skyloom.sky.positional import unit_normal

SMEARED = np.array([[0.1, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 0.1]])  # not even: x and y differ
ALL = np.ones((8, 128, 128), bool)


def noisy(rms, kernel=SMEARED, n=8, side=128, seed=0):
    white = np.random.default_rng(seed).normal(size=(n, 1, side + 8, side + 8))
    seen = correlate(white, (kernel / np.sqrt((kernel**2).sum()))[None, None])[..., 4:-4, 4:-4]
    return (rms * seen).astype(np.float32)


def correlations(flux):
    lags = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (0, 4))
    return [
        (flux[..., dy:, dx:] * flux[..., : flux.shape[-2] - dy, : flux.shape[-1] - dx]).mean() / (flux**2).mean()
        for dy, dx in lags
    ]


def drawn(model, seed, rows, columns):
    wide = [range(side.start - MARGIN, side.stop + MARGIN) for side in (rows, columns)]
    return np.stack([model.seen(band, unit_normal(seed, band, *wide)[0]) for band in range(len(model.rms))])


def test_noise_drawn_has_the_rms_and_the_correlations_of_the_noise_measured():
    flux = noisy(3e-12)
    model = measure_noise(flux, ALL)
    assert model.rms[0] == pytest.approx(3e-12, rel=0.01)
    again = drawn(model, 1, range(600), range(600))
    assert again.std() == pytest.approx(3e-12, rel=0.01)
    np.testing.assert_allclose(correlations(again), correlations(flux), atol=0.015)


def test_white_noise_stays_white():
    model = measure_noise(noisy(1.0, np.ones((1, 1))), ALL)
    kernel = np.array(model.kernel[0])
    assert kernel[MARGIN, MARGIN] == pytest.approx(1, abs=0.01)
    assert np.abs(kernel).sum() - kernel[MARGIN, MARGIN] < 0.3  # all 288 others together
    assert kernel.shape == (2 * MARGIN + 1,) * 2
    assert MARGIN == 2 * REACH


def test_only_pixels_of_the_sky_count_whatever_the_others_hold():
    flux, sky = noisy(2.0), ALL.copy()
    sky[:, 30:60, 20:90] = False
    covered = flux.copy()
    covered[:, :, 30:60, 20:90] = 1e30
    empty = flux.copy()
    empty[:, :, 30:60, 20:90] = np.nan
    assert measure_noise(covered, sky) == measure_noise(empty, sky)
    assert measure_noise(covered, sky).rms[0] == pytest.approx(2.0, rel=0.01)


def test_a_window_of_the_noise_is_the_same_alone():
    model = measure_noise(noisy(1.0), ALL)
    whole = drawn(model, 4, range(-20, 60), range(-20, 60))
    part = drawn(model, 4, range(-3, 31), range(10, 41))
    np.testing.assert_allclose(whole[:, 17:51, 30:61], part, rtol=1e-5, atol=1e-6)


def test_levels_of_images_do_not_pass_for_noise():
    flux = noisy(1.0) + np.arange(8, dtype=np.float32)[:, None, None, None]
    assert measure_noise(flux, ALL).rms[0] == pytest.approx(1.0, rel=0.01)


def test_facts_bring_it_back():
    model = NoiseModel((1.0, 2.0), (((0.0, 1.0), (0.5, 0.25)),) * 2)
    assert noise_model_of(model.facts()) == model

"""The fitted geometry: exact without noise, honest with it, the same for one galaxy as for many."""

import numpy as np
import pytest
import torch

from skyloom.sky.ellipse import ellipticity_and_angle, shape_of
from skyloom.sky.isophotes import radii

MIDDLE = 63.5


@pytest.fixture(scope="module")
def galaxies(draw):
    """24 galaxies without noise and well sampled, 128² pixels, off the middle by up to 1.5: (images, truth)."""
    rng = np.random.default_rng(0)
    truth = [
        {
            "n": (1, 1, 2, 4)[k % 4],
            "r_e": rng.uniform(12, 20),
            "q": rng.uniform(0.5, 0.95),
            "pa": rng.uniform(-np.pi / 2, np.pi / 2),
            "centre": tuple(MIDDLE + rng.uniform(-1.5, 1.5, 2)),
        }
        for k in range(24)
    ]
    return np.stack([draw((128, 128), **facts) for facts in truth]), truth


@pytest.fixture(scope="module")
def fitted(galaxies, engine):
    return engine.fit(galaxies[0], rounds=18, noise=0.01)


def test_radii_grow_by_a_constant_factor_to_the_corner():
    sma = radii((33, 47))
    np.testing.assert_allclose(sma[1:] / sma[:-1], 1.1, rtol=1e-5)
    corner = np.hypot(33, 47) / 2
    assert sma[0] == 0.5 and corner / 1.1 < sma[-1] <= corner * (1 + 1e-6)


def test_the_centre_is_found_to_a_fiftieth_of_a_pixel(galaxies, fitted):
    isophotes, _ = fitted
    x, y = np.array([facts["centre"] for facts in galaxies[1]]).T
    assert torch.hypot(isophotes.x - torch.from_numpy(x), isophotes.y - torch.from_numpy(y)).max() < 0.02


def test_ellipticity_and_angle_are_those_of_the_galaxy(galaxies, fitted):
    """To 0.005 and 0.5°, from 5 to 45 pixels; from 8 for n = 2 and 4, whose cusps the pixels themselves round off.

    The angle to 1° where ε < 0.1. A disc whose minor axis has a scale of 2 pixels is rounder on its pixels by 0.01.
    """
    isophotes, sma = fitted
    ellipticity, angle = ellipticity_and_angle(isophotes.e1, isophotes.e2)
    for k, facts in enumerate(galaxies[1]):
        seen = (sma > (5 if facts["n"] == 1 else 8)) & (sma < 45)
        assert (ellipticity[k, seen] - (1 - facts["q"])).abs().max() < 0.005, facts
        off = torch.rad2deg(angle[k, seen] - facts["pa"]).add(90).remainder(180).sub(90)
        assert off.abs().max() < (0.5 if facts["q"] < 0.9 else 1.0), facts


def test_the_search_has_come_to_rest(fitted):
    assert fitted[0].moved.max() < 0.5


@pytest.mark.parametrize("start", [(0.5, 0.0), (-0.5, 0.0), (0.0, 0.6), (0.0, 0.0)])
def test_where_the_search_starts_does_not_matter(galaxies, engine, start):
    """Tolerance 0.002 in shape, for searches as long as the engine's own."""
    images = galaxies[0][:4]
    wanted, sma = engine.fit(images, rounds=18, noise=0.1)
    got, _ = engine.fit(images, rounds=18, noise=0.1, start=start)
    outside = (sma > 4) & (sma < 45)
    for shape in ("e1", "e2"):
        assert (getattr(got, shape) - getattr(wanted, shape))[:, outside].abs().max() < 0.002


def test_a_galaxy_is_fitted_in_company_as_it_is_alone(galaxies, fitted, engine):
    """Tolerance: float32 rounding in another order of summation."""
    for k in (0, 3, 17):
        alone, _ = engine.fit(galaxies[0][k : k + 1], rounds=18, noise=0.01)
        for name, ours, theirs in zip(alone._fields, alone, fitted[0], strict=True):
            np.testing.assert_allclose(ours[0], theirs[k], rtol=1e-4, atol=1e-4, err_msg=name)


def test_outskirts_without_signal_carry_the_last_shape_that_was_seen(draw, engine):
    rng = np.random.default_rng(3)
    images = np.stack([draw(r_e=5, q=0.6, pa=0.5, i_e=20) + rng.normal(0, 1, (128, 128)) for _ in range(8)])
    isophotes, sma = engine.fit(images)
    e1, e2 = shape_of(torch.tensor(0.4), torch.tensor(0.5))
    beyond = sma > 30  # light there is below a thousandth of the noise
    for fitted_shape, truth in ((isophotes.e1, e1), (isophotes.e2, e2)):
        outskirts = fitted_shape[:, beyond]
        assert (outskirts - outskirts[:, :1]).abs().max() < 0.01
        assert (outskirts - truth).abs().max() < 0.1
    assert (isophotes.shape_error[:, beyond] >= isophotes.shape_error[:, (sma > 8) & (sma < 12)].mean()).all()


def test_errors_of_shape_and_centre_are_of_the_right_size(draw, engine):
    """Pulls of 60 noisy draws, in rings of S/N 3 to 30 per pixel: their rms is 0.4 to 1.3 (a prior that expects twists
    overstates the errors of galaxies without any), and at most 2 % exceed 3."""
    rng = np.random.default_rng(4)
    clean = draw(r_e=10, q=0.6, pa=0.5, i_e=15)
    isophotes, sma = engine.fit(clean + rng.normal(0, 1, (60, 128, 128)))
    rings = (sma > 4) & (sma < 20)
    truth = shape_of(torch.tensor(0.4), torch.tensor(0.5))
    pulls = torch.stack([(got - e) / isophotes.shape_error for got, e in zip(isophotes[2:4], truth, strict=True)])
    pulls = pulls[..., rings]
    assert 0.4 < pulls.square().mean().sqrt() < 1.3
    assert (pulls.abs() > 3).double().mean() < 0.02
    centre = torch.stack([isophotes.x - MIDDLE, isophotes.y - MIDDLE]) / isophotes.centre_error
    assert 0.5 < centre.square().mean().sqrt() < 2


def test_bad_pixels_have_no_say(draw, engine):
    """A fifth of the pixels, in blobs, spoiled: the shape stays within 0.03."""
    rng = np.random.default_rng(5)
    clean = draw(r_e=14, q=0.6, pa=-0.8)[None]
    y, x = np.indices((128, 128))
    good = np.ones((1, 128, 128))
    for column, row in rng.uniform(10, 118, (2, 25)).T:
        if np.hypot(column - MIDDLE, row - MIDDLE) > 12:
            good[0, np.hypot(x - column, y - row) < 6] = 0
    whole, sma = engine.fit(clean, rounds=18, noise=0.1)
    holed, _ = engine.fit(np.where(good > 0, clean, 1e6), rounds=18, noise=0.1, good=good)
    rings = (sma > 4) & (sma < 50)
    for shape in ("e1", "e2"):
        assert (getattr(holed, shape) - getattr(whole, shape))[:, rings].abs().max() < 0.03


def test_a_loose_prior_follows_a_twist_that_a_tight_one_smooths(draw, engine):
    """Inner and outer disc at right angles; each followed where it outshines the other."""
    image = draw(r_e=4, q=0.6, pa=0.0, i_e=200) + draw(r_e=16, q=0.6, pa=np.pi / 2, i_e=10)
    swing = []
    for walk in (10.0, 1e-3):
        isophotes, sma = engine.fit(image[None], rounds=18, noise=0.1, start=(0.0, 0.0), walk=walk, arms=0.0)
        inner, outer = (isophotes.e1[0, (sma > low) & (sma < high)].mean() for low, high in ((3, 6), (30, 45)))
        swing.append(inner - outer)
    assert swing[0] > 0.5
    assert abs(swing[1]) < 0.1

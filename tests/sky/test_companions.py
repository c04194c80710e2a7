"""Companions: what has no counterpart half a turn away is found, and a symmetric galaxy keeps all its light."""

import numpy as np
import pytest
import torch

from skyloom.sky.companions import NUCLEUS, lopsided, windowed_centre

SHAPE = (96, 96)
MIDDLE = 47.5


def found(image, good=None, rms=1.0, centre=(MIDDLE, MIDDLE)) -> np.ndarray:
    good = np.ones_like(image) if good is None else good
    planes = (image * good, good, rms**2 * good)
    x, y = (torch.tensor([c], dtype=torch.float32) for c in centre)
    return lopsided(*(torch.from_numpy(p.astype(np.float32))[None] for p in planes), x, y)[0].numpy()


def star(x, y, flux, fwhm=3.5) -> np.ndarray:
    rows, columns = np.indices(SHAPE)
    variance = (fwhm / 2.355) ** 2
    return flux / (2 * np.pi * variance) * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * variance))


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("q", [1.0, 0.3])
def test_a_symmetric_galaxy_is_untouched(draw, n, q):
    noise = np.random.default_rng(0).normal(0, 1, SHAPE)
    assert not found(draw(SHAPE, r_e=12, n=n, q=q, i_e=50) + noise).any()


def test_a_two_armed_spiral_is_untouched(draw):
    y, x = np.indices(SHAPE) - MIDDLE
    arms = 1 + 0.5 * np.cos(2 * (np.arctan2(y, x) - np.log(np.hypot(x, y)) * 2))
    assert not found(draw(SHAPE, r_e=12, q=1.0, i_e=50) * arms + np.random.default_rng(1).normal(0, 1, SHAPE)).any()


@pytest.mark.parametrize("x, y", [(65.0, 47.0), (40.0, 62.0), (30.0, 30.0)])
def test_a_star_on_one_side_is_found_whole_and_nothing_else_is(draw, x, y):
    mask = found(draw(SHAPE, r_e=12, i_e=20) + star(x, y, 3000) + np.random.default_rng(2).normal(0, 1, SHAPE))
    rows, columns = np.indices(SHAPE)
    distance = np.hypot(columns - x, rows - y)
    assert mask[distance < 4].all()
    assert not mask[distance > 15].any()


def test_the_nucleus_is_left_alone(draw):
    rows, columns = np.indices(SHAPE)
    nucleus = np.hypot(columns - MIDDLE, rows - MIDDLE) <= NUCLEUS - 0.5  # judged on pixels two by two
    assert not found(draw(SHAPE, r_e=8, i_e=20) + star(MIDDLE + 3, MIDDLE, 5000))[nucleus].any()


def test_light_whose_counterpart_is_not_seen_is_left_alone(draw):
    image = draw(SHAPE, r_e=12, i_e=20) + star(65, 47, 3000)
    good = np.ones(SHAPE)
    good[:, :48] = 0
    assert not found(image, good).any()
    shifted = np.roll(image, 30, axis=1)
    shifted[:, :30] = 0
    assert not found(shifted, centre=(MIDDLE - 30, MIDDLE))[:, 40:].any()  # counterparts outside the frame


def test_the_unit_of_the_flux_does_not_matter(draw):
    image = draw(SHAPE, r_e=12, i_e=20) + star(65, 47, 3000) + np.random.default_rng(3).normal(0, 1, SHAPE)
    wanted = found(image)
    for factor in (2.0**-30, 2.0**30):
        np.testing.assert_array_equal(found(image * factor, rms=factor), wanted)


@pytest.mark.parametrize("dx, dy", [(0.0, 0.0), (1.5, -2.0), (-3.0, 3.0)])
def test_the_windowed_centre_finds_the_galaxy_beside_a_brighter_star(draw, dx, dy):
    """To 0.2 pixels, from a first guess off by a few."""
    image = draw(SHAPE, centre=(MIDDLE + dx, MIDDLE + dy), r_e=6, i_e=50) + star(70, 70, 1e5)
    guess = torch.tensor([MIDDLE])
    x, y = windowed_centre(torch.from_numpy(image.astype(np.float32))[None], guess, guess)
    assert np.hypot(float(x) - MIDDLE - dx, float(y) - MIDDLE - dy) < 0.2


def test_the_windowed_centre_of_nothing_is_the_first_guess():
    guess = torch.tensor([20.0])
    x, y = windowed_centre(torch.zeros(1, *SHAPE), guess, guess)
    assert x == 20 and y == 20

"""Convolution on the polar grid, where it has an answer in closed form."""

import numpy as np
import pytest

from skyloom.sky.hankel import PolarGrid

GRID = PolarGrid()


def ellipse(sigma, q, pa=0.0):
    """A Gaussian of unit flux on the grid."""
    angle = GRID.angle - pa
    x, y = GRID.radius[:, None] * np.cos(angle), GRID.radius[:, None] * np.sin(angle)
    return np.exp(-0.5 * ((x / sigma) ** 2 + (y / (q * sigma)) ** 2)) / (2 * np.pi * q * sigma**2)


@pytest.mark.parametrize(("sigma", "q", "pa"), [(1.5, 0.4, 0.0), (0.5, 0.9, 0.7), (4.0, 0.25, 2.0)])
def test_an_elliptical_gaussian_convolved_with_a_round_one_is_a_rounder_one(sigma, q, pa):
    blur = 0.5
    transfer = np.exp(-0.5 * (GRID.wavenumber * blur) ** 2)
    image = GRID.image(GRID.transform(GRID.transform(GRID.harmonics(ellipse(sigma, q, pa))) * transfer))
    wide = np.hypot(sigma, blur)
    expected = ellipse(wide, np.hypot(q * sigma, blur) / wide, pa)
    seen = (GRID.radius > 0.02) & (GRID.radius < 3 * sigma)
    np.testing.assert_allclose(image[seen], expected[seen], atol=2e-5 * expected.max())


def test_the_transform_is_its_own_inverse():
    harmonics = GRID.harmonics(ellipse(1.0, 0.5, 0.3))
    again = GRID.image(GRID.transform(GRID.transform(harmonics)))
    seen = (GRID.radius > 0.02) & (GRID.radius < 5)
    np.testing.assert_allclose(again[seen], ellipse(1.0, 0.5, 0.3)[seen], atol=1e-6)

"""Laws of the Sérsic profile, and the values that everybody quotes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from skyloom.sky.sersic import (
    flux_fraction,
    flux_radius,
    half_light_radius,
    intensity,
    scale_length,
    sersic_b,
    total_flux,
)

indices = st.floats(0.4, 8)
radii = st.floats(0.1, 100)


@pytest.mark.parametrize(("n", "b"), [(1, 1.67834699), (2, 3.67206075), (4, 7.66924944)])
def test_b_has_the_values_of_the_literature(n, b):
    """Graham & Driver 2005, section 2.1: 1.678, 3.672, 7.669."""
    np.testing.assert_allclose(sersic_b(n), b, rtol=1e-8)


@given(indices, radii)
def test_half_of_the_light_is_inside_r_e(n, r_e):
    np.testing.assert_allclose(flux_fraction(r_e, r_e, n), 0.5, rtol=1e-10)


@given(indices, radii, st.floats(0.1, 1))
def test_the_total_flux_is_the_integral_of_the_intensity(n, r_e, q):
    def shell(log_radius):
        radius = r_e * np.exp(log_radius)
        return 2 * np.pi * q * radius**2 * float(intensity(radius, r_e, n, 3.0))

    integral = quad(shell, -25, 25, limit=500, epsabs=0, epsrel=1e-9, points=[-5, 0, 3])[0]
    np.testing.assert_allclose(integral, total_flux(3.0, r_e, n, q), rtol=1e-6)


@given(indices, radii, st.floats(0.01, 0.99))
def test_a_share_of_the_flux_and_its_radius_are_inverses(n, r_e, share):
    np.testing.assert_allclose(flux_fraction(flux_radius(share, r_e, n), r_e, n), share, rtol=1e-8)


@given(indices, radii)
def test_scale_length_and_half_light_radius_are_inverses(n, r_e):
    np.testing.assert_allclose(half_light_radius(scale_length(r_e, n), n), r_e, rtol=1e-12)


@given(radii)
def test_an_exponential_falls_by_e_in_one_scale_length(h):
    r_e = half_light_radius(h, 1)
    np.testing.assert_allclose(intensity(0, r_e, 1) / intensity(h, r_e, 1), np.e, rtol=1e-9)


def test_a_gaussian_is_the_sersic_law_of_one_half():
    radius = np.linspace(0, 5, 11)
    sigma = scale_length(1.0, 0.5) / np.sqrt(2)
    np.testing.assert_allclose(
        intensity(radius, 1.0, 0.5) / intensity(0, 1.0, 0.5), np.exp(-0.5 * (radius / sigma) ** 2), rtol=1e-10
    )

"""Laws of the Moffat."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import j0

from skyloom.sky.psf import (
    gaussian,
    moffat,
    moffat_alpha,
    moffat_flux_fraction,
    moffat_fwhm,
    moffat_half_light_radius,
    moffat_transfer,
    pixel_transfer,
)

widths = st.floats(0.3, 3)
betas = st.floats(1.5, 6)


@given(widths, betas)
def test_half_of_the_peak_is_at_half_of_the_width(fwhm, beta):
    np.testing.assert_allclose(moffat(fwhm / 2, fwhm, beta), moffat(0, fwhm, beta) / 2, rtol=1e-12)
    np.testing.assert_allclose(moffat_fwhm(moffat_alpha(fwhm, beta), beta), fwhm, rtol=1e-12)


@given(widths, betas, st.floats(0.1, 20))
def test_the_flux_inside_a_circle_is_the_integral_of_the_intensity(fwhm, beta, radius):
    inside = quad(lambda r: 2 * np.pi * r * float(moffat(r, fwhm, beta)), 0, radius, limit=200)[0]
    np.testing.assert_allclose(inside, moffat_flux_fraction(radius, fwhm, beta), rtol=1e-6)


@given(widths, betas)
def test_half_of_the_light_is_inside_the_half_light_radius(fwhm, beta):
    radius = moffat_half_light_radius(fwhm, beta)
    np.testing.assert_allclose(moffat_flux_fraction(radius, fwhm, beta), 0.5, rtol=1e-10)


@given(widths, st.floats(2.0, 5.0), st.floats(0.1, 10))
def test_the_transfer_function_is_the_hankel_transform(fwhm, beta, wavenumber):
    reach = 400 * fwhm
    transform = quad(
        lambda r: 2 * np.pi * r * float(moffat(r, fwhm, beta)) * j0(wavenumber * r), 0, reach, limit=20_000
    )[0]
    np.testing.assert_allclose(transform, moffat_transfer(wavenumber, fwhm, beta), atol=2e-5)


def test_both_transfer_functions_are_one_at_zero():
    np.testing.assert_allclose(moffat_transfer(0.0, 0.7, 3.0), 1.0, rtol=1e-6)
    np.testing.assert_allclose(pixel_transfer(0.0, 0.2), 1.0, rtol=1e-12)


def test_a_steep_moffat_is_a_gaussian():
    radius = np.linspace(0, 1, 6)
    np.testing.assert_allclose(moffat(radius, 0.8, 1000.0), gaussian(radius, 0.8), rtol=0.01)

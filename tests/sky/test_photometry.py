"""Laws of magnitudes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from skyloom.sky.photometry import flux, flux_per_pixel, magnitude, magnitude_error, surface_brightness

fluxes = st.floats(1e-12, 1e12)
zero_points = st.floats(0, 35)
pixel_scales = st.floats(0.02, 5)


@given(fluxes, st.floats(1e-6, 1e6), zero_points)
def test_scaling_the_flux_shifts_the_magnitude(value, factor, zero_point):
    shift = magnitude(factor * value, zero_point) - magnitude(value, zero_point)
    np.testing.assert_allclose(shift, -2.5 * np.log10(factor), atol=1e-9)


@given(fluxes, zero_points)
def test_a_magnitude_turns_back_into_its_flux(value, zero_point):
    np.testing.assert_allclose(flux(magnitude(value, zero_point), zero_point), value, rtol=1e-12)


@given(st.floats(max_value=0, allow_nan=False), zero_points)
def test_a_flux_that_is_not_positive_has_no_magnitude_and_no_error(value, zero_point):
    assert np.isnan(magnitude(value, zero_point))
    assert np.isnan(magnitude_error(value, 1.0))


@given(fluxes, pixel_scales, st.integers(1, 20), zero_points)
def test_surface_brightness_does_not_depend_on_the_size_of_the_pixels(value, scale, pieces, zero_point):
    whole = surface_brightness(value, scale, zero_point)
    piece = surface_brightness(value / pieces**2, scale / pieces, zero_point)
    np.testing.assert_allclose(piece, whole, atol=1e-9)


@given(st.floats(10, 35), pixel_scales, zero_points)
def test_a_surface_brightness_turns_back_into_flux_per_pixel(mu, scale, zero_point):
    np.testing.assert_allclose(surface_brightness(flux_per_pixel(mu, scale, zero_point), scale, zero_point), mu)


def test_the_zero_point_is_the_magnitude_of_one_unit_of_flux():
    assert magnitude(1.0, 22.5) == 22.5
    assert surface_brightness(1.0, 1.0, 22.5) == 22.5


def test_a_small_error_of_the_flux_is_the_spread_of_the_magnitudes():
    rng = np.random.default_rng(0)
    spread = magnitude(100 + rng.standard_normal(100_000), 25.0).std()
    np.testing.assert_allclose(magnitude_error(100.0, 1.0), spread, rtol=0.01)

"""Flux, centre and size of light whose numbers are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyloom.sky.moments import Light, enclosed, light

Y, X = np.indices((64, 64))
NOISE = np.array([1.0, 2.0])


def blob(x=31.0, y=33.0, width=4.0, flux=(1e5, 2e5)):
    shape = np.exp(-((X - x) ** 2 + (Y - y) ** 2) / (2 * width**2))
    return np.array(flux)[:, None, None] * shape / shape.sum()


@given(st.floats(20, 44), st.floats(20, 44))
def test_the_centre_of_a_round_source_is_found(x, y):
    found = light(blob(x, y), NOISE)
    assert (found.x, found.y) == pytest.approx((x, y), abs=0.02)


@pytest.mark.parametrize("width", [2.0, 4.0, 7.0])
def test_half_of_a_gaussian_lies_within_its_known_radius(width):
    found = light(blob(width=width, flux=(1e7, 1e7)), NOISE)
    assert found.half == pytest.approx(width * np.sqrt(2 * np.log(2)), rel=0.03)


@given(st.floats(1e-12, 1e12))
def test_the_unit_of_flux_changes_neither_centre_nor_size(unit):
    ours, theirs = light(blob(), NOISE), light(unit * blob(), unit * NOISE)
    assert theirs == pytest.approx(ours, rel=1e-6)


def test_half_of_the_light_lies_within_one_radius_and_all_of_it_in_a_large_circle():
    found = light(blob(flux=(1e7, 2e7)), NOISE)
    assert enclosed(blob(), found, 1)[0] == pytest.approx([5e4, 1e5], rel=0.05)
    whole, pixels = enclosed(blob(), found, 20)
    assert whole == pytest.approx([1e5, 2e5]) and pixels == 64 * 64


def test_blank_sky_has_no_centre_and_no_size_and_its_flux_is_that_of_the_frame():
    blank = np.ones((2, 16, 16))
    found = light(0 * blank, NOISE)
    assert np.isnan(found).all() and isinstance(found, Light)
    flux, pixels = enclosed(blank, found)
    assert (flux == 256).all() and pixels == 256

"""Angles in the image and on the sky: there and back, and against astropy's own position angles."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from skyloom.sky.orientation import compass, in_the_image, on_the_sky, pixel_angle, position_angle

DIFFERENCE = 1e-9  # [deg] of an angle after a round trip in float64


def cards(turn=0.0, parity=-1, dec=0.0, **more) -> str:
    """A gnomonic WCS of 0.2″ pixels, its north turned by `turn` [deg] from +y towards −x."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix = (359.9999, dec), (31.0, 21.0)
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    wcs.wcs.cd = 0.2 / 3600 * np.array([[parity * cos, parity * sin], [-sin, cos]])
    header = wcs.to_header()
    header.update(more)
    return "".join(card.image[:80] for card in header.cards)


@given(
    st.lists(st.floats(-180, 180), min_size=1, max_size=5),
    st.floats(-180, 180),
    st.sampled_from([-1, 1]),
    st.floats(-80, 80),
    st.floats(0, 63),
    st.floats(0, 63),
)
def test_there_and_back_an_angle_is_itself(angles, turn, parity, dec, x, y):
    wcs, angles = cards(turn, parity, dec), np.array(angles)
    there = position_angle(wcs, x, y, angles)
    back = pixel_angle(wcs, x, y, there)
    assert ((back - angles + 180) % 360 - 180) == pytest.approx(0, abs=DIFFERENCE)


@given(st.floats(-180, 180), st.floats(-180, 180), st.sampled_from([-1, 1]), st.floats(-60, 60))
def test_the_position_angle_is_the_one_that_astropy_measures(angle, turn, parity, dec):
    wcs = cards(turn, parity, dec)
    solution = WCS(fits.Header.fromstring(wcs))
    start = solution.pixel_to_world(30.0, 20.0)
    end = solution.pixel_to_world(30 + np.cos(np.radians(angle)), 20 + np.sin(np.radians(angle)))
    found = position_angle(wcs, 30.0, 20.0, np.array([angle]))[0]
    assert np.sin(start.position_angle(end).rad - np.radians(found)) == pytest.approx(0, abs=1e-5)


def test_many_pixels_at_once_are_as_one_by_one():
    wcs, x, y, angle = cards(30.0, dec=60.0), np.array([0.0, 40, 63]), np.array([5.0, 2, 60]), np.array([1.0, 50, 170])
    steps = compass(wcs, x, y)
    one_by_one = [position_angle(wcs, *pixel, np.array([a]))[0] for *pixel, a in zip(x, y, angle, strict=True)]
    np.testing.assert_array_equal(on_the_sky(steps, angle), one_by_one)
    np.testing.assert_allclose(in_the_image(steps, np.array(one_by_one)), angle, atol=DIFFERENCE)


def test_a_distorted_wcs_is_read_without_its_distortion():
    sip = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-3}
    plain, distorted = (compass(wcs, np.array([3.0]), np.array([50.0])) for wcs in (cards(20), cards(20, **sip)))
    np.testing.assert_allclose(plain, distorted, rtol=1e-12)


def test_without_a_wcs_there_is_no_angle():
    assert np.isnan(pixel_angle(None, 1.0, 1.0, np.array([0.0]))).all()

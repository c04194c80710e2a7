"""Pictures: what they may depend on, what they must not, and which bands they show."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import skyloom as sl
from skyloom.report.bands import colour_bands, reference_band
from skyloom.report.galaxies import composite, look_of, picture
from skyloom.report.portraits import crop
from skyloom.sky.wavelengths import by_wavelength


def field(seed=0, size=48):
    rng = np.random.default_rng(seed)
    y, x = np.indices((size, size)) - size // 2
    galaxy = 40 * np.exp(-np.hypot(x, y / 0.5) / 4)
    return rng.normal(0, 1, (3, size, size)) + galaxy * np.array([3, 2, 1])[:, None, None]


@given(st.floats(-25, 25))
def test_a_picture_does_not_depend_on_the_unit_of_the_flux(exponent):
    flux, good = field(), np.ones((3, 48, 48), bool)
    factor = 10**exponent
    before = composite(flux, good, np.ones(3), np.array([3.0, 2, 1]))
    after = composite(flux * factor, good, np.full(3, factor), np.array([3.0, 2, 1]) * factor)
    assert np.abs(before.astype(int) - after).max() <= 1  # rounding at an edge of two of the 256 levels


def test_the_look_of_a_survey_does_not_depend_on_the_unit_of_any_band(tiny_survey):
    cutouts = list(tiny_survey.read())
    factors = np.array([1e-12, 1.0, 1e6], np.float32)[:, None, None]
    other = [
        replace(c, flux=c.flux * factors, ivar=c.ivar / factors / factors, sky=None, sky_rms=None) for c in cutouts
    ]
    one, two = look_of(cutouts, tiny_survey.info), look_of(other, tiny_survey.info)
    a, b = (picture(c[0], look).astype(int) for c, look in ((cutouts, one), (other, two)))
    assert np.abs(a - b).max() <= 2


@pytest.mark.parametrize("value", [np.nan, 1e30, 0.0])
def test_what_lies_under_ivar_0_is_never_seen(tiny_survey, value):
    cutout = next(tiny_survey.read())
    look = look_of([cutout], tiny_survey.info)
    ivar = cutout.ivar.copy()
    ivar[:, 20:30, 20:30] = ivar[0, 40:] = 0
    flux = np.where(ivar > 0, cutout.flux, np.float32(value))
    plain = np.where(ivar > 0, cutout.flux, np.float32(7))
    pictures = [picture(replace(cutout, flux=f, ivar=ivar), look) for f in (flux, plain)]
    np.testing.assert_array_equal(*pictures)
    assert (pictures[0][21:29, 21:29, 3] == 0).all() and (pictures[0][50, :, 3] == 255).all()


def test_the_sky_is_dark_grey_and_cores_are_not_burnt_out():
    shown = composite(field(), np.ones((3, 48, 48), bool), np.ones(3), np.array([3.0, 2, 1]))
    sky = shown[:10, :, :3].mean()
    assert 15 < sky < 70
    assert (shown[..., :3] == 255).all(-1).sum() <= 2


def test_colours_survive_in_the_brightest_pixels():
    shown = composite(field(), np.ones((3, 48, 48), bool), np.ones(3), np.ones(3))
    red, green, blue = shown[24, 24, :3].astype(int)
    assert red > green > blue


@pytest.mark.parametrize(
    "bands, red_green_blue",
    [("ugriZYJHK", "irg"), ("griz", "irg"), ("YJH", "HJY"), ("rg", "rgg"), ("r", "rrr"), ("HJY", "HJY")],
)
def test_the_three_bands_nearest_to_i_r_g_are_shown(bands, red_green_blue):
    assert "".join(bands[k] for k in colour_bands(list(bands))) == red_green_blue


def test_bands_are_known_by_the_end_of_their_names_and_unknown_ones_keep_their_order():
    assert by_wavelength(["VISTA-Ks", "sdss_r", "hst.F814W", "u"]) == ["u", "sdss_r", "hst.F814W", "VISTA-Ks"]
    assert by_wavelength(["narrow", "r", "g"]) == ["narrow", "r", "g"]
    assert reference_band(["u", "Ks", "Z"]) == "Z"
    assert reference_band(["a", "b2", "c"]) == "b2"


@given(st.floats(-50, 150), st.floats(-50, 150), st.floats(1, 200))
def test_a_crop_is_a_square_within_the_cutout(x, y, half):
    rows, columns = crop((80, 100), x, y, half)
    assert rows.stop - rows.start == columns.stop - columns.start <= 80
    assert rows.start >= 0 and rows.stop <= 80 and columns.start >= 0 and columns.stop <= 100


def test_a_survey_without_a_sky_column_is_shown_too(tiny_survey):
    cutout = replace(next(tiny_survey.read()), sky=None, sky_rms=None)
    assert picture(cutout, look_of([cutout], tiny_survey.info), side=32).shape == (32, 32, 4)
    assert look_of([], sl.SurveyInfo((sl.Band("r"),), (8, 8))).white == (1, 1, 1)

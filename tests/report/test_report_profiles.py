"""Rows of a profile table as ellipses, curves and words."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from skyloom.infer.profiles import profile
from skyloom.report.distributions import at_half_light, summarise
from skyloom.report.drawing import NIGHT, PAPER
from skyloom.report.portraits import largest, mark
from skyloom.report.profiles import MEANINGS, Ellipse, ellipses, flag_counts, names_of, pixel_angle, shown_radii
from skyloom.sky.profiles import Flag

ROW = {
    "object_id": "one", "band": "r", "x": 30.0, "y": 20.0, "sma": [1.0, 2.0, 4.0], "ellipticity": [0.1, 0.3, 0.5],
    "pa": [170.0, 175.0, 5.0], "r_e": 2.0, "r_26": 3.0, "flag": int(Flag.NO_WCS),
}  # fmt: skip


def header(scale=0.2, turn=0.0, parity=-1):
    """A gnomonic WCS at the equator, its north turned by `turn` [deg] from +y towards −x."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix = (150.0, 0.0), (31.0, 21.0)
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    wcs.wcs.cd = scale / 3600 * np.array([[parity * cos, parity * sin], [-sin, cos]])
    return wcs.to_header_string()


def test_an_isophote_is_an_ellipse_in_pixels():
    found = ellipses(ROW, 0.5, None)
    assert found[1] == pytest.approx(Ellipse(30.0, 20.0, 4.0, 4.0 * 0.7, 175.0))
    assert [e.a for e in found] == [2, 4, 8]


def test_between_isophotes_the_geometry_is_interpolated_across_north():
    middle = ellipses(ROW, None, None, [3.0])[0]
    assert middle.b == pytest.approx(3 * (1 - 0.4))
    assert min(middle.angle, 180 - middle.angle) == pytest.approx(0, abs=0.1)  # half way from 175 to 185


@given(st.floats(0, 180), st.floats(-180, 180), st.sampled_from([-1, 1]))
def test_position_angles_become_pixel_angles_by_the_wcs(pa, turn, parity):
    wcs = header(turn=turn, parity=parity)
    angle = np.radians(pixel_angle(wcs, 30.0, 20.0, np.array([pa])))[0]
    solution = WCS(fits.Header.fromstring(wcs))
    start = solution.pixel_to_world(30.0, 20.0)
    end = solution.pixel_to_world(30 + np.cos(angle), 20 + np.sin(angle))
    assert np.sin(start.position_angle(end).rad - np.radians(pa)) == pytest.approx(0, abs=1e-5)


def test_north_up_and_east_left_is_a_quarter_turn():
    assert pixel_angle(header(), 30.0, 20.0, np.array([0.0, 90.0])) == pytest.approx([90, 180])
    assert np.isnan(pixel_angle(None, 1.0, 1.0, np.array([0.0]))).all()


def test_ellipses_follow_the_galaxy_that_was_measured(tiny_survey):
    table = profile(tiny_survey, band="r").to_pylist()
    for number, row in enumerate(table):
        outer = ellipses(row, 0.2, None, [row["r_e"]])[0]
        assert (outer.x, outer.y) == pytest.approx((31.5, 31.5), abs=0.5)
        truth = np.degrees(number) % 180  # conftest turns galaxy n by n radians
        if row["ellipticity"][-1] > 0.2:
            assert np.sin(np.radians(outer.angle - truth)) == pytest.approx(0, abs=0.12)


def test_a_mark_lies_where_its_pixels_are_drawn():
    """A picture's first row is at the bottom: y runs the other way, and so do angles."""
    box = slice(10, 50), slice(5, 45)
    drawn = mark(Ellipse(5.0, 10.0, 4.0, 2.0, 30.0), box, "#fff", 1)
    assert 'cx="0.50" cy="39.50" rx="4.00" ry="2.00"' in drawn and 'rotate(-30.00 0.50 39.50)"' in drawn


@pytest.mark.parametrize("hole", [{"sma": []}, {"sma": None}, {"x": np.nan}])
def test_an_empty_row_has_no_ellipses(hole):
    row = {**ROW, "ellipticity": [], "pa": [], **hole}
    assert ellipses(row, 0.2, None) == []


def test_shown_radii_end_at_the_last_isophote():
    assert shown_radii(ROW)[-1] == pytest.approx(4)
    assert shown_radii({**ROW, "sma": []}) == []


def test_every_flag_has_a_meaning_and_a_count():
    assert set(MEANINGS) == set(Flag)
    counts = flag_counts([0, int(Flag.FAINT | Flag.CROWDED), int(Flag.FAINT)])
    assert counts[Flag.FAINT] == 2 and counts[Flag.CROWDED] == 1 and counts[Flag.NOTHING] == 0
    assert names_of(int(Flag.BAD_CENTRE | Flag.NO_WCS)) == ["bad centre"]


def test_the_largest_come_first_and_empty_rows_never():
    rows = [{**ROW, "r_26": None, "r_e": 9.0}, ROW, {**ROW, "sma": []}, {**ROW, "r_26": np.nan, "r_e": 1.0}]
    assert [row["r_e"] for row in largest(rows, 5)] == [9.0, 2.0, 1.0]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=50), st.integers(0, 5))
def test_a_summary_ignores_what_was_not_measured(values, holes):
    number = summarise("x", "", np.array(values + [np.nan] * holes))
    assert number.n == len(values) and number.median == pytest.approx(np.median(values))


def test_the_error_of_a_median_is_that_of_theory():
    drawn = np.random.default_rng(0).normal(size=2000)
    assert summarise("x", "", drawn).error == pytest.approx(1.2533 / 2000**0.5, rel=0.25)  # π/2 of the mean's variance


def test_profiles_are_read_at_half_light(tiny_survey):
    table = profile(tiny_survey, band="r")
    values = at_half_light(table, "sma")
    assert values == pytest.approx(table["r_e"].to_numpy())


@pytest.mark.parametrize("palette", [PAPER, NIGHT])
def test_bands_are_told_apart_by_lightness_alone(palette):
    colours = [tuple(int(c[k : k + 2], 16) / 255 for k in (1, 3, 5)) for c in palette.for_bands(9)]
    lightness = [0.2126 * r**2.2 + 0.7152 * g**2.2 + 0.0722 * b**2.2 for r, g, b in colours]
    assert (np.diff(lightness) > 0).all()

"""Our reading of FITS headers against astropy's own, on headers that surveys write."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.data.headers import (
    celestial_cards,
    facts_of,
    open_fits,
    read_pixels,
    shift_cards,
    stated_pixel_scale,
    wcs_of,
)
from skyloom.errors import SourceError, UnitError


def header(scale=0.2, rotation=30.0, projection="TAN", matrix="CD", **more):
    a, s = np.radians(rotation), scale / 3600
    turn = np.array([[-s * np.cos(a), s * np.sin(a)], [s * np.sin(a), s * np.cos(a)]])
    cards = fits.Header()
    for i in (1, 2):
        cards[f"CTYPE{i}"] = ("RA---" if i == 1 else "DEC--") + projection
        cards[f"CRVAL{i}"] = (150.1, 2.2)[i - 1]
        cards[f"CRPIX{i}"] = (17.25, 12.75)[i - 1]
        for j in (1, 2):
            cards[f"{matrix}{i}_{j}"] = turn[i - 1, j - 1]
    cards["RADESYS"] = "ICRS"
    cards.update(more)
    return cards


@pytest.mark.parametrize("matrix", ["CD", "PC"])
def test_kept_cards_are_the_same_wcs_as_astropy_reads(matrix):
    original = header(matrix=matrix)
    kept = wcs_of(celestial_cards(original))
    assert kept.wcs.compare(WCS(original).wcs)


def test_the_kept_cards_are_a_string_that_astropy_takes():
    assert WCS(celestial_cards(header())).wcs.compare(WCS(header()).wcs)


def test_distortions_come_along():
    original = header(projection="TAN-SIP", A_ORDER=2, B_ORDER=2, A_2_0=1e-5, B_0_2=-2e-5)
    kept = wcs_of(celestial_cards(original))
    np.testing.assert_allclose(
        kept.all_pix2world([[3.0, 4.0]], 0), WCS(original).all_pix2world([[3.0, 4.0]], 0), rtol=1e-14
    )


@given(st.integers(-300, 300), st.integers(-300, 300), st.floats(-180, 180))
@settings(max_examples=30, deadline=None)
def test_a_shifted_wcs_gives_the_same_sky_for_the_same_pixel(x, y, rotation):
    cards = celestial_cards(header(rotation=rotation))
    whole = wcs_of(cards).all_pix2world([[x + 5.0, y + 9.0]], 0)
    np.testing.assert_allclose(wcs_of(shift_cards(cards, x, y)).all_pix2world([[5.0, 9.0]], 0), whole, atol=1e-11)


@given(st.floats(0.01, 20), st.floats(-180, 180))
@settings(max_examples=30, deadline=None)
def test_the_pixel_scale_survives_rotation(scale, rotation):
    assert stated_pixel_scale(header(scale=scale, rotation=rotation), "x.fits") == pytest.approx(scale, rel=1e-9)


def test_a_cube_keeps_the_wcs_of_its_sky_axes_only():
    cube = header(CTYPE3="FREQ", CRVAL3=1e9, CRPIX3=1.0, CDELT3=1e6, WCSAXES=3)
    assert wcs_of(celestial_cards(cube)).wcs.compare(WCS(header()).wcs)


def test_a_linear_axis_is_no_sky():
    assert celestial_cards(fits.Header({"CTYPE1": "LINEAR", "CTYPE2": "LINEAR", "CRVAL1": 1})) is None


def test_pixels_that_are_not_square_are_refused():
    with pytest.raises(UnitError, match="not square"):
        stated_pixel_scale(header(rotation=0, CD2_2=0.3 / 3600), "x.fits")


@pytest.mark.parametrize("card", ["MAGZERO", "MAGZP", "PHOTZP", "ZP", "MAGZPT"])
def test_every_zero_point_card_is_read(card):
    assert facts_of(fits.Header({card: 27.5}), "x.fits").band.zero_point == 27.5


@pytest.mark.parametrize(("unit", "zero_point"), [("nanomaggy", 22.5), ("Jy", 8.9), ("uJy", 23.9), ("nJy", 31.4)])
def test_units_that_are_ab_by_definition_need_no_card(unit, zero_point):
    assert facts_of(fits.Header({"BUNIT": unit}), "x.fits").band.zero_point == pytest.approx(zero_point, abs=1e-3)


def test_counts_have_no_zero_point():
    band = facts_of(fits.Header({"BUNIT": "adu"}), "x.fits").band
    assert band.zero_point is None and band.unit == "adu"


def test_zero_points_that_disagree_are_refused():
    with pytest.raises(UnitError, match=r"MAGZERO=27\.5.*BUNIT=22\.5"):
        facts_of(fits.Header({"MAGZERO": 27.5, "BUNIT": "nanomaggy"}), "x.fits")


def test_a_psf_width_without_a_unit_is_not_believed():
    with_unit, without = fits.Header(), fits.Header({"PSF_FWHM": 3.4})
    with_unit["PSF_FWHM"] = (0.7, "[arcsec]")
    assert facts_of(with_unit, "x").band.psf_fwhm == 0.7 and facts_of(without, "x").band.psf_fwhm is None


@pytest.mark.parametrize("kind", [fits.PrimaryHDU, fits.CompImageHDU])
def test_scaled_integers_come_out_as_floats_with_nan_for_blank(tmp_path, kind):
    raw = np.array([[-32768, 0], [1, 32767]], np.int16)
    hdu = fits.PrimaryHDU(raw) if kind is fits.PrimaryHDU else fits.CompImageHDU(raw, compression_type="RICE_1")
    hdu.header["BLANK"] = -32768
    hdu.header["BZERO"], hdu.header["BSCALE"] = 32768.0, 1.0
    hdus = [hdu] if kind is fits.PrimaryHDU else [fits.PrimaryHDU(), hdu]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    with open_fits(tmp_path / "a.fits") as opened:
        values = read_pixels(opened[-1], tmp_path / "a.fits")
    assert values.dtype == np.float32 and values.dtype.isnative
    np.testing.assert_array_equal(values, np.array([[np.nan, 32768], [32769, 65535]], np.float32))


def test_a_window_is_the_same_pixels_as_the_whole(tmp_path):
    image = np.random.default_rng(0).normal(size=(40, 30)).astype(">f4")
    fits.PrimaryHDU(image).writeto(tmp_path / "a.fits")
    with open_fits(tmp_path / "a.fits") as hdus:
        window = read_pixels(hdus[0], tmp_path / "a.fits", slice(5, 15), slice(20, 30))
    np.testing.assert_array_equal(window, image[5:15, 20:30])


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("kept", [0, 100, 3000, 6000, 12000])
def test_a_file_cut_anywhere_is_named(tmp_path, kept, compressed):
    whole, cut = tmp_path / "whole.fits", tmp_path / ("cut.fits.gz" if compressed else "cut.fits")
    fits.PrimaryHDU(np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)).writeto(whole)
    content = whole.read_bytes()
    packed = gzip.compress(content) if compressed else content
    cut.write_bytes(packed[: min(kept, len(packed) - 40)])
    with (
        pytest.raises(SourceError, match=r"cut\.fits.*(zero bytes|cut short|not a FITS|cannot be read)"),
        open_fits(cut) as hdus,
    ):
        read_pixels(hdus[0], cut)

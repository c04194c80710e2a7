"""A mosaic in pieces side by side: every pixel where it was, none twice."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import skyloom as sl
from skyloom.errors import RequestError


@pytest.fixture
def mosaic(tmp_path):
    """A mosaic of 50 × 70 pixels with a WCS, its flux, and its WCS."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [30.0, 10.0], [35.5, 25.5]
    wcs.wcs.cdelt = [-1e-4, 1e-4]
    flux = np.random.default_rng(0).normal(size=(50, 70)).astype(np.float32)
    flux[3, 4] = np.nan
    fits.PrimaryHDU(flux, wcs.to_header()).writeto(tmp_path / "r.fits")
    return tmp_path / "r.fits", flux, wcs


def test_pieces_cover_the_middle_of_the_mosaic_once(mosaic, tmp_path):
    path, flux, wcs = mosaic
    survey = sl.ingest(path, tmp_path / "pieces.lance", catalogue="grid", size=20)
    assert len(survey) == 2 * 3
    seen = np.zeros_like(flux)
    for piece in survey.read():
        x, y = (int(piece.columns[name]) - 10 for name in "xy")
        here = np.s_[y : y + 20, x : x + 20]
        np.testing.assert_array_equal(piece.flux[0], flux[here])
        seen[here] += 1
        own = WCS(fits.Header.fromstring(piece.wcs))
        assert own.pixel_to_world(3, 5).separation(wcs.pixel_to_world(x + 3, y + 5)).arcsec < 1e-6
    assert (seen[5:45, 5:65] == 1).all()
    assert seen.sum() == 40 * 60
    assert any("pieces side by side" in note for note in survey.info.notes)


def test_a_piece_larger_than_the_mosaic_is_refused(mosaic, tmp_path):
    with pytest.raises(RequestError, match="does not fit"):
        sl.ingest(mosaic[0], tmp_path / "pieces.lance", catalogue="grid", size=60)


def test_the_sample_knows_the_grid_and_no_other_catalogue(tmp_path):
    with pytest.raises(RequestError, match="say grid"):
        sl.ingest("sample", tmp_path / "pieces.lance", catalogue="mine.csv")

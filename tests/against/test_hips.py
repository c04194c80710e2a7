"""The HiPS of a field against other readers and writers of the standard: reproject and mocpy."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from mocpy import MOC
from reproject import reproject_interp
from reproject.hips import reproject_to_hips

from skyloom.data.tiles.mosaic import open_field
from skyloom.report.fields.colours import Colours, colours_of
from skyloom.report.fields.hips import HipsTiles
from skyloom.report.fields.quadtree import Node
from skyloom.report.galaxies import Look


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_tile_is_that_of_reproject(drawn_field, tmp_path):
    """reproject 0.21 finds pixels by HPX world coordinates: the same pixels, and the same flux in them.

    Tolerance: 4 of 255 in grey for 99.9 % of the pixels, as the two differ in how they treat the edge of the field.
    """
    folder = drawn_field[0]
    field = open_field(folder)
    known = colours_of(field)
    grey = Colours(Look((1, 1, 1), known.look.white[1:2] * 3), known.rms[1:2] * 3)
    (image,) = field.flux(*map(slice, (0, 0), field.shape), (1,))
    reproject_to_hips(
        (image.astype(float), field.plan.wcs(field.info)), coord_system_out="equatorial", level=11,
        reproject_function=reproject_interp, output_directory=str(tmp_path / "theirs"), order="bicubic",
    )  # fmt: skip
    theirs = sorted((tmp_path / "theirs" / "Norder11").glob("Dir*/*.fits"))
    ours = (folder / "hips" / "Norder11").glob("Dir*/*.png")
    assert sorted(path.stem for path in ours) == sorted(path.stem for path in theirs)
    tiles = HipsTiles(field, grey, folder, 11)
    for path in theirs:
        flux = fits.getdata(path)[::-1]  # FITS begins at the bottom
        there = np.isfinite(flux)
        expected = grey.picture(np.nan_to_num(np.array([flux] * 3)), there).astype(int)
        found = tiles.drawn(Node(11, int(path.stem[4:]))).astype(int)
        both = (found[..., 3] > 0) & there
        assert both.sum() > 0.97 * max((found[..., 3] > 0).sum(), there.sum()) - 100
        assert (np.abs(found - expected)[both].max(1) <= 4).mean() > 0.999


def test_mocpy_reads_the_coverage(drawn_field):
    folder = drawn_field[0]
    field = open_field(folder)
    moc = MOC.from_fits(folder / "hips" / "Moc.fits")
    rng = np.random.default_rng(0)
    inside = rng.uniform(-0.49, np.array(field.shape[::-1]) - 0.51, (2000, 2))
    far = 25 * np.array([[-1, 0.5], [0.5, -1]])  # [pixel] beyond the first column, and the first row
    wcs = field.plan.wcs(field.info)
    ra, dec = wcs.wcs_pix2world(inside, 0).T * u.deg
    assert moc.contains_lonlat(ra, dec).all()
    ra, dec = wcs.wcs_pix2world(far, 0).T * u.deg
    assert not moc.contains_lonlat(ra, dec).any()
    stated = (folder / "hips" / "properties").read_text().split("moc_sky_fraction")[1].split()[1]
    assert moc.sky_fraction == pytest.approx(float(stated), rel=1e-4)

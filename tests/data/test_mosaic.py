"""Mosaics: cutouts are slices, the WCS follows, maps are found by name, and bad input is named."""

import bz2
import csv

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from skyloom.data import mosaic as windows
from skyloom.data.readers.mosaic import read_mosaic
from skyloom.errors import CatalogueError, CutoutError, RequestError, SourceError, UnitError

HEIGHT, WIDTH, SIZE = 300, 360, 32
SOURCES = [(60.3, 50.7), (200.0, 90.4), (330.6, 150.2), (120.9, 210.1), (250.2, 280.8)]  # x, y


def header(dx=0.0, scale=0.2):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.1, 2.2], [100.5 + dx, 80.0]
    angle = np.radians(20)
    wcs.wcs.cd = scale / 3600 * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return wcs.to_header()


def picture(seed=0, sky=7.0):
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((HEIGHT, WIDTH))
    image = rng.normal(sky, 1, (HEIGHT, WIDTH))
    for x, y in SOURCES:
        image += 60 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 2 / 2.5**2)
    return image.astype(np.float32)


def write(path, image, head=None, compressed=False):
    kind = fits.CompImageHDU if compressed else fits.ImageHDU
    options = {"compression_type": "GZIP_1", "quantize_level": 0} if compressed else {}
    hdus = [fits.PrimaryHDU(), kind(image, head, **options)] if compressed else [fits.PrimaryHDU(image, head)]
    fits.HDUList(hdus).writeto(path)
    return path


def write_catalogue(path, rows):
    with path.open("w", newline="") as file:
        csv.DictWriter(file, rows[0]).writeheader()
        csv.DictWriter(file, rows[0]).writerows(rows)
    return path


@pytest.fixture
def folder(tmp_path):
    """Bands g and r, the second tile-compressed, with a weight map of r and a mask of g beside them."""
    place = tmp_path / "my field ✨"
    place.mkdir()
    write(place / "g.fits", picture(1), header())
    write(place / "r.fits", picture(2), header(), compressed=True)
    weight = np.full((HEIGHT, WIDTH), 0.8, np.float32)
    weight[:, 55] = 0
    write(place / "r.weight.fits", weight)
    mask = np.zeros((HEIGHT, WIDTH), np.int16)
    mask[45, :] = 3
    write(place / "g_mask.fits", mask)
    return place


@pytest.fixture
def catalogue(tmp_path):
    """The sources by ra and dec, in an order of its own, with a redshift."""
    sky = WCS(header()).pixel_to_world(*np.array(SOURCES).T)
    rows = [
        {"object_id": f"gal {n}", "ra": f"{s.ra.deg:.12f}", "dec": f"{s.dec.deg:.12f}", "redshift": n / 10}
        for n, s in enumerate(sky)
    ]
    return write_catalogue(tmp_path / "objects.csv", rows[::-1])


def test_a_cutout_is_a_slice_of_the_mosaic_with_its_maps(folder, catalogue):
    source = read_mosaic(folder, catalogue=catalogue, size=SIZE)
    cutouts = {cutout.object_id: cutout for cutout in source.cutouts}
    assert source.info.band_names == ("g", "r") and source.total == len(cutouts) == 5
    assert source.info.pixel_scale == pytest.approx(0.2)
    first = cutouts["gal 0"]
    rows, columns = slice(51 - 16, 51 + 16), slice(60 - 16, 60 + 16)
    np.testing.assert_array_equal(first.flux, [picture(1)[rows, columns], picture(2)[rows, columns]])
    assert (first.ivar[0, 45 - 35] == 0).all() and (first.ivar[1, :, 55 - 44] == 0).all()
    assert set(np.unique(first.ivar[1])) == {np.float32(0), np.float32(0.8)}
    assert first.ivar[0].max() == pytest.approx(1, rel=0.1) and len(np.unique(first.ivar[0])) == 2
    np.testing.assert_allclose(first.sky, 7, atol=0.1)
    np.testing.assert_allclose(first.sky_rms, 1, rtol=0.05)
    assert first.columns["redshift"] == 0


def test_the_wcs_of_a_cutout_puts_the_object_at_its_place(folder, catalogue):
    for cutout in read_mosaic(folder, catalogue=catalogue, size=SIZE).cutouts:
        x, y = SOURCES[int(cutout.object_id[-1])]
        inside = WCS(fits.Header.fromstring(cutout.wcs)).pixel_to_world(
            x - round(x) + SIZE // 2, y - round(y) + SIZE // 2
        )
        assert inside.separation(SkyCoord(cutout.ra, cutout.dec, unit="deg")).arcsec < 1e-6


def test_strips_of_any_height_give_the_same_cutouts(folder, catalogue, monkeypatch):
    whole = list(read_mosaic(folder, catalogue=catalogue, size=SIZE).cutouts)
    monkeypatch.setattr(windows, "BUDGET", 2 * WIDTH * (SIZE + 7))
    pieces = list(read_mosaic(folder, catalogue=catalogue, size=SIZE).cutouts)
    assert [c.object_id for c in whole] == [c.object_id for c in pieces]
    assert all(a.flux.tobytes() == b.flux.tobytes() and a.wcs == b.wcs for a, b in zip(whole, pieces, strict=True))


def test_cutouts_over_the_edge_are_padded(folder, catalogue):
    cutout = next(c for c in read_mosaic(folder, catalogue=catalogue, size=128).cutouts if c.object_id == "gal 4")
    assert np.isnan(cutout.flux[:, -1]).all() and not cutout.ivar[:, -1].any()
    assert np.isfinite(cutout.flux[1, 0]).all()


def test_without_a_catalogue_the_sources_are_detected(folder):
    source = read_mosaic(folder, zero_point={"g": 25.0})
    cutouts = list(source.cutouts)
    places = np.array([(c.columns["x"], c.columns["y"]) for c in cutouts])
    nearest = [np.hypot(*(places - where).T).min() for where in SOURCES]
    assert max(nearest) < 0.1 and len(cutouts) < 9
    assert source.info.shape == (64, 64) and any("detected" in note for note in source.info.notes)
    brightest = cutouts[int(np.argmin(np.hypot(*(places - SOURCES[1]).T)))]
    truth = 60 * 2 * np.pi * 2.5**2
    assert brightest.columns["flux_r"] == pytest.approx(truth, rel=0.05)
    assert brightest.columns["mag_g"] == pytest.approx(25 - 2.5 * np.log10(truth), abs=0.06)
    assert "mag_r" not in brightest.columns


def test_detection_in_windows_finds_what_detection_at_once_finds(folder, monkeypatch):
    from skyloom.data import detections

    once = {(round(c.columns["x"]), round(c.columns["y"])) for c in read_mosaic(folder).cutouts}
    monkeypatch.setattr(detections, "MEMORY", 110 * 130**2)
    monkeypatch.setattr(detections, "OVERLAP", 40)
    pieces = [(round(c.columns["x"]), round(c.columns["y"])) for c in read_mosaic(folder).cutouts]
    assert set(pieces) == once and len(set(pieces)) == len(pieces)


def test_pixel_positions_serve_where_there_is_no_wcs(tmp_path):
    write(tmp_path / "r.fits", picture())
    rows = [{"object_id": f"{n}", "x": x, "y": y} for n, (x, y) in enumerate(SOURCES)]
    source = read_mosaic(tmp_path / "r.fits", catalogue=write_catalogue(tmp_path / "c.csv", rows), size=SIZE)
    cutouts = list(source.cutouts)
    assert len(cutouts) == 5 and cutouts[0].ra is None and cutouts[0].wcs is None
    assert any("No WCS" in note for note in source.info.notes) and source.info.pixel_scale is None


def test_one_file_may_hold_the_bands_and_their_maps(tmp_path):
    hdus = [fits.PrimaryHDU()]
    for seed, band in enumerate("gr"):
        hdus += [fits.ImageHDU(picture(seed), header(), name=band.upper())]
        hdus[-1].header["BAND"] = band
        hdus += [fits.ImageHDU(np.full((HEIGHT, WIDTH), 2, np.float32), name=f"RMS_{band}")]
    fits.HDUList(hdus).writeto(tmp_path / "field.fits")
    source = read_mosaic(tmp_path / "field.fits", size=SIZE)
    assert source.info.band_names == ("g", "r")
    np.testing.assert_array_equal(np.unique(next(source.cutouts).ivar), [0.25])


def test_a_cube_is_one_band_per_plane(tmp_path):
    cube = np.array([picture(1), picture(2), picture(3)])
    write(tmp_path / "cube.fits", cube, fits.Header({"BANDS": "gri"}))
    source = read_mosaic(tmp_path / "cube.fits", size=SIZE)
    assert source.info.band_names == ("g", "r", "i") and next(source.cutouts).flux.shape == (3, SIZE, SIZE)


@pytest.mark.parametrize("value", [np.nan, 1e30, 0.0])
def test_what_lies_under_a_mask_changes_no_measurement(folder, value):
    wanted = list(read_mosaic(folder).cutouts)
    image = picture(1)
    image[45, :] = value
    write(folder / "g2.fits", image, header())
    (folder / "g2.fits").replace(folder / "g.fits")
    got = list(read_mosaic(folder).cutouts)
    assert [c.columns for c in got] == [c.columns for c in wanted]
    assert all(a.ivar.tobytes() == b.ivar.tobytes() for a, b in zip(got, wanted, strict=True))
    assert all(a.sky.tobytes() == b.sky.tobytes() for a, b in zip(got, wanted, strict=True))


BAD_ROWS = {
    "off the image": {"object_id": "far", "ra": 151.0, "dec": 2.2},
    "missing or NaN": {"object_id": "void", "ra": "nan", "dec": 2.2},
    "very position of row 1": None,
    "also that of row 1": {"object_id": "gal 4", "ra": 150.101, "dec": 2.2},
}


@pytest.mark.parametrize("reason", BAD_ROWS)
def test_bad_positions_name_their_row_or_are_set_aside(folder, catalogue, reason):
    with catalogue.open() as file:
        rows = list(csv.DictReader(file))
    rows.append({**(BAD_ROWS[reason] or {**rows[0], "object_id": "twin"}), "redshift": 0})
    write_catalogue(catalogue, rows)
    with pytest.raises(CatalogueError, match=f"row 6.*{reason}"):
        read_mosaic(folder, catalogue=catalogue, size=SIZE)
    source = read_mosaic(folder, catalogue=catalogue, size=SIZE, skip_bad=True)
    assert len(list(source.cutouts)) == 5 and source.total == 6
    assert [(bad.row, reason in bad.reason) for bad in source.quarantine] == [(6, True)]


def test_a_size_beyond_the_mosaic_is_refused(folder):
    with pytest.raises(RequestError, match="at most 300"):
        read_mosaic(folder, size=301)


def test_bands_that_are_not_on_one_grid_are_refused(folder):
    write(folder / "i.fits", picture()[:-1], header())
    with pytest.raises(CutoutError, match=r"i\.fits has 360 × 299"):
        read_mosaic(folder)
    (folder / "i.fits").unlink()
    write(folder / "i.fits", picture(), header(dx=3))
    with pytest.raises(CutoutError, match=r"3\.00 pixels away"):
        read_mosaic(folder)
    (folder / "i.fits").unlink()
    write(folder / "i.fits", picture(), header(scale=0.3))
    with pytest.raises(UnitError, match="arcsec/pixel"):
        read_mosaic(folder)


@pytest.mark.parametrize("bare", ["all NaN", "no weight"])
def test_a_mosaic_without_a_good_pixel_is_refused(tmp_path, bare):
    write(tmp_path / "r.fits", np.full((HEIGHT, WIDTH), np.nan, np.float32) if bare == "all NaN" else picture())
    if bare == "no weight":
        write(tmp_path / "r_ivar.fits", np.zeros((HEIGHT, WIDTH), np.float32))
    with pytest.raises(SourceError, match="no pixel of any band"):
        list(read_mosaic(tmp_path / "r.fits", size=SIZE).cutouts)


def test_one_blank_band_among_others_is_kept_with_ivar_zero(folder):
    write(folder / "i.fits", np.full((HEIGHT, WIDTH), np.nan, np.float32), header())
    cutout = next(read_mosaic(folder, size=SIZE).cutouts)
    assert not cutout.ivar[2].any() and np.isnan(cutout.sky[2]) and cutout.ivar[1].any()


def test_negative_weights_are_an_error_that_names_the_file(tmp_path):
    write(tmp_path / "r.fits", picture())
    write(tmp_path / "r_ivar.fits", np.full((HEIGHT, WIDTH), -1, np.float32))
    with pytest.raises(CutoutError, match=r"r\.fits.*negative"):
        list(read_mosaic(tmp_path / "r.fits").cutouts)


@pytest.mark.parametrize("keep", [0, 100, 0.4])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_truncated_file_is_a_source_error(tmp_path, keep, compressed):
    path = write(tmp_path / "r.fits", picture(), compressed=compressed)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    with pytest.raises(SourceError, match=r"r\.fits"):
        list(read_mosaic(path).cutouts)


def test_bzip2_files_are_read_and_cut_short_ones_refused(tmp_path):
    plain = write(tmp_path / "plain.fits", picture())
    path = tmp_path / "r.fits.bz2"
    path.write_bytes(bz2.compress(plain.read_bytes()))
    assert next(read_mosaic(path, size=SIZE).cutouts).flux.shape == (1, SIZE, SIZE)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(SourceError, match=r"r\.fits\.bz2"):
        list(read_mosaic(path, size=SIZE).cutouts)


def test_two_images_of_one_band_are_refused(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.fits", picture(), fits.Header({"FILTER": "H"}))
    with pytest.raises(SourceError, match="several images of band H"):
        read_mosaic(tmp_path)

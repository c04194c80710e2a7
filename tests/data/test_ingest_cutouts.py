"""Folders of FITS cutouts, in each of the layouts that people have, and what is read from names and headers."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import skyloom as sl
from skyloom.data.filenames import group, parse
from skyloom.data.headers import wcs_of
from skyloom.errors import CatalogueError, CutoutError, RequestError, SourceError, UnitError


def image(seed, shape=(12, 12)):
    return np.random.default_rng(seed).normal(10, 2, shape).astype(np.float32)


def header(ra=150.0, scale=0.2, **cards):
    place = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": 2.0, "CRPIX1": 7.0, "CRPIX2": 7.0}
    place |= {"CD1_1": -scale / 3600, "CD2_2": scale / 3600}
    return fits.Header({**place, **cards})


def write(path, pixels, head=None):
    path.parent.mkdir(exist_ok=True, parents=True)
    fits.PrimaryHDU(pixels, head).writeto(path)
    return pixels


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.lance"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def ingested(folder, out, **options):
    survey = sl.ingest(folder, out, **options)
    return survey, {cutout.object_id: cutout for cutout in survey.read()}


def test_a_cube_with_named_planes(folder, out):
    cube = np.stack([image(0), image(1), image(2)])
    write(folder / "NGC 1300.fits", cube, header(BANDS="grz", BUNIT="nanomaggy"))
    survey, found = ingested(folder, out)
    assert survey.info.band_names == ("g", "r", "z") and survey.info.bands[0].zero_point == 22.5
    assert found["NGC 1300"].flux.tobytes() == cube.tobytes()
    assert survey.info.pixel_scale == pytest.approx(0.2)
    assert (found["NGC 1300"].ra, found["NGC 1300"].dec) == pytest.approx((150.0, 2.0))


def test_one_hdu_per_band_with_weights_and_masks(folder, out):
    flux, sigma, mask = image(0), np.full((12, 12), 2, np.float32), np.zeros((12, 12), np.int16)
    mask[3, 4], sigma[5, 5] = 8, np.inf
    hdus = [fits.PrimaryHDU()]
    for band in "gr":
        hdus += [fits.ImageHDU(flux, header(BAND=band, MAGZERO=25.0), name="SCI")]
        hdus += [fits.ImageHDU(sigma, fits.Header({"BAND": band}), name="ERR")]
    hdus.append(fits.ImageHDU(mask, name="DQ"))
    fits.HDUList(hdus).writeto(folder / "a.fits")
    survey, found = ingested(folder, out)
    assert survey.info.band_names == ("g", "r") and survey.info.bands[1].zero_point == 25.0
    expected = np.full((2, 12, 12), 0.25, np.float32)
    expected[:, 3, 4] = expected[:, 5, 5] = 0
    np.testing.assert_array_equal(found["a"].ivar, expected)


def test_bands_by_the_names_of_hdus(folder, out):
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(image(i), name=name) for i, name in enumerate(["SCI_G", "SCI_R"]))]
    fits.HDUList(hdus).writeto(folder / "a.fits")
    assert ingested(folder, out)[0].info.band_names == ("G", "R")


def test_one_file_per_band_with_companions(folder, out):
    for object_id in ("M51", "J1234-0123"):
        for seed, band in enumerate("ri"):
            write(folder / f"{object_id}_{band}.fits", image(seed))
            write(folder / f"{object_id}_{band}_ivar.fits", np.full((12, 12), 3.0))
    survey, found = ingested(folder, out)
    assert survey.info.band_names == ("i", "r") and set(found) == {"M51", "J1234-0123"}
    np.testing.assert_array_equal(found["M51"].flux[1], image(0))
    assert (found["M51"].ivar == 3).all()


def test_a_missing_band_is_named(folder, out):
    for name in ("a_g", "a_r", "b_g"):
        write(folder / f"{name}.fits", image(0))
    with pytest.raises(CutoutError, match=r"b_g\.fits.*has bands g and the survey g, r"):
        sl.ingest(folder, out)


def test_file_names_without_bands_are_ids(folder, out):
    for name in ("J1234-0123", "J1234-0456", "plain"):
        write(folder / f"{name}.fits", image(0))
    assert set(ingested(folder, out)[1]) == {"J1234-0123", "J1234-0456", "plain"}


def test_a_catalogue_names_files_and_brings_its_columns(folder, out, tmp_path):
    flux = {name: write(folder / "deep" / f"{name}.fits", image(i)) for i, name in enumerate("ab")}
    write(folder / "deep" / "unlisted.fits", image(9))
    rows = {"object_id": ["x", "y"], "ra": [10.0, 11.0], "dec": [1.0, 2.0], "file_loc": ["deep/b.fits", "deep/a.fits"]}
    Table({**rows, "mag": [18.0, 19.0]}).write(tmp_path / "objects.csv")
    survey, found = ingested(folder, out, catalogue=tmp_path / "objects.csv")
    assert found["x"].flux[0].tobytes() == flux["b"].tobytes() and found["y"].columns == {"mag": 19.0}
    assert (found["y"].ra, found["y"].dec) == (11.0, 2.0)
    assert any("unlisted.fits" in note for note in survey.info.notes)


def test_a_catalogue_names_one_hdu_of_a_file(folder, out, tmp_path):
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(image(i)) for i in range(3))]
    fits.HDUList(hdus).writeto(folder / "all.fits")
    Table({"object_id": ["x"], "file_loc": ["all.fits[2]"]}).write(tmp_path / "objects.csv")
    found = ingested(folder, out, catalogue=tmp_path / "objects.csv")[1]
    np.testing.assert_array_equal(found["x"].flux[0], image(1))


def test_a_row_without_its_file_is_named_or_set_aside(folder, out, tmp_path):
    write(folder / "a.fits", image(0))
    Table({"object_id": ["a", "b"], "file_loc": ["a.fits", "b.fits"]}).write(tmp_path / "objects.csv")
    with pytest.raises(CatalogueError, match=r"objects\.csv, row 2: file_loc 'b\.fits'"):
        sl.ingest(folder, out, catalogue=tmp_path / "objects.csv")
    survey = sl.ingest(folder, out, catalogue=tmp_path / "objects.csv", skip_bad=True)
    aside = Table.read(tmp_path / "out.lance.quarantine.csv")
    assert len(survey) == 1 and aside["object_id"].tolist() == ["b"] and aside["row"].tolist() == [2]


def test_sizes_that_differ_are_listed(folder, out):
    for name, side in (("a", 12), ("b", 12), ("c", 20)):
        write(folder / f"{name}.fits", image(0, (side, side + 1)))
    with pytest.raises(CutoutError, match=r"13×12 \(2\), 21×20 \(1\); give --size"):
        sl.ingest(folder, out)
    assert not out.exists()


@pytest.mark.parametrize(("old", "new"), [(12, 6), (12, 7), (13, 6), (13, 7), (6, 13), (7, 12)])
def test_size_keeps_the_middle_and_the_wcs(folder, out, old, new):
    whole = write(folder / "a.fits", image(0, (old, old)), header())
    cutout = ingested(folder, out, size=new)[1]["a"]
    assert cutout.flux.shape == (1, new, new)
    assert cutout.flux[0, new // 2, new // 2] == whole[old // 2, old // 2]
    there = wcs_of(cutout.wcs).pixel_to_world(new // 2, new // 2)
    assert there.separation(wcs_of(header().tostring()).pixel_to_world(old // 2, old // 2)).arcsec < 1e-6
    padded = np.isnan(cutout.flux)
    assert padded.sum() == max(0, new * new - old * old) and (cutout.ivar[padded] == 0).all()


def test_without_weights_ivar_is_that_of_the_sky(folder, out):
    pixels = image(0, (64, 64))
    pixels[3, 3] = np.nan
    write(folder / "a.fits", pixels)
    survey, found = ingested(folder, out)
    assert found["a"].ivar[0, 0, 0] == pytest.approx(1 / found["a"].sky_rms[0] ** 2)
    assert found["a"].sky_rms[0] == pytest.approx(2, rel=0.1) and found["a"].sky[0] == pytest.approx(10, abs=0.2)
    assert found["a"].ivar[0, 3, 3] == 0 and np.isnan(found["a"].flux[0, 3, 3])
    assert any("1/sky_rms²" in note for note in survey.info.notes)


def test_unknown_facts_stay_unknown_and_are_told(folder, out):
    write(folder / "a.fits", image(0))
    info = ingested(folder, out)[0].info
    assert info.pixel_scale is None and info.bands[0].zero_point is None
    told = " ".join(info.notes)
    assert "No zero point" in told and "No pixel scale" in told and "No WCS" in told and "band0" in told


def test_options_fill_what_the_header_leaves_out(folder, out):
    write(folder / "a_r.fits", image(0))
    info = ingested(folder, out, pixel_scale=0.262, zero_point={"r": 22.5})[0].info
    assert info.pixel_scale == 0.262 and info.bands[0].zero_point == 22.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixel_scale": 0.21}, r"says 0\.2 arcsec/pixel and --pixel-scale says 0\.21"),
        ({"zero_point": {"r": 25.1}}, r"says zero point 25 mag for band 'r' and --zero-point says 25\.1"),
    ],
)
def test_options_that_contradict_the_header_are_refused(folder, out, options, message):
    write(folder / "a.fits", image(0), header(FILTER="r", MAGZP=25.0))
    with pytest.raises(UnitError, match=message):
        sl.ingest(folder, out, **options)


def test_a_zero_point_for_a_band_that_is_not_there(folder, out):
    write(folder / "a.fits", image(0), header(FILTER="r"))
    with pytest.raises(RequestError, match=r"\['g'\].*its bands are r"):
        sl.ingest(folder, out, zero_point={"g": 25.0})


def test_objects_in_different_units_are_refused(folder, out):
    write(folder / "a.fits", image(0), header(BUNIT="nanomaggy"))
    write(folder / "b.fits", image(0), header(BUNIT="adu", MAGZERO=22.5))
    with pytest.raises(UnitError, match=r"b\.fits.*unit 'adu', the survey's 'nanomaggy'"):
        sl.ingest(folder, out)


def test_a_second_ingest_adds_and_a_duplicate_is_named(folder, out, tmp_path):
    write(folder / "a.fits", image(0))
    write(tmp_path / "more" / "b.fits", image(1))
    sl.ingest(folder, out)
    assert len(sl.ingest(tmp_path / "more", out)) == 2
    with pytest.raises(CatalogueError, match="'b'"):
        sl.ingest(tmp_path / "more", out)
    assert len(sl.ingest(tmp_path / "more", out, skip_bad=True)) == 2
    assert "already" in (tmp_path / "out.lance.quarantine.csv").read_text()


def test_progress_counts_to_the_total(folder, out):
    for name in "abc":
        write(folder / f"{name}.fits", image(0))
    seen = []
    sl.ingest(folder, out, progress=lambda *now: seen.append(now))
    assert seen == [(1, 3, "ingest"), (2, 3, "ingest"), (3, 3, "ingest")]


@pytest.mark.parametrize(
    ("stem", "read"),
    [
        ("NGC4321_r", ("NGC4321", "r", "flux")),
        ("NGC4321-r-ivar", ("NGC4321", "r", "ivar")),
        ("NGC4321_wht_F814W", ("NGC4321", "F814W", "ivar")),
        ("G265911sigma", ("G265911", None, "sigma")),
        ("J1234-0123", ("J1234-0123", None, "flux")),
        ("mask", ("mask", None, "flux")),
    ],
)
def test_names_are_read_from_their_end(stem, read):
    assert tuple(parse(stem)) == read


def test_a_map_without_its_image_is_named(tmp_path):
    with pytest.raises(SourceError, match="ivar map by its name, and its image is missing"):
        group([tmp_path / "a_ivar.fits", tmp_path / "b.fits"])

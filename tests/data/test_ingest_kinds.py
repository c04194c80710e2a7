"""What a SOURCE is taken for; pictures with labels; mosaics through the same door."""

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

import skyloom as sl
from skyloom.data.kinds import kind_of
from skyloom.errors import CatalogueError, CutoutError, RequestError, SourceError, UnitError

RNG = np.random.default_rng(0)
PLACE = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 60.0, "CRPIX2": 60.0}
PLACE |= {"CDELT1": -1e-4, "CDELT2": 1e-4}


def image(path, side=120, **cards):
    path.parent.mkdir(exist_ok=True)
    fits.PrimaryHDU(RNG.normal(0, 1, (side, side)).astype(np.float32), fits.Header({**PLACE, **cards})).writeto(path)


def table(path, text):
    path.write_text(text)
    return path


def folder_of(*names):
    def make(where):
        for name in names:
            image(where / name)
        return where

    return make


FOUND = "object_id,ra,dec\nx,150.001,2.001\n"
NAMED = "object_id,file_loc\nx,a.fits\n"


@pytest.mark.parametrize(
    ("names", "catalogue", "size", "kind"),
    [
        (("a.fits", "b.fits"), None, None, "cutouts"),
        (("a.fits", "b.fits"), None, 32, "cutouts"),
        (("a.fits", "b.fits"), NAMED, None, "cutouts"),
        (("a.fits", "b.fits"), FOUND, None, "mosaic"),
        (("a_g.fits", "a_r.fits", "b_g.fits", "b_r.fits"), None, 32, "cutouts"),
        (("field_g.fits", "field_r.fits"), None, None, "cutouts"),
        (("field_g.fits", "field_r.fits"), None, 32, "mosaic"),
        (("field_g.fits", "field_r.fits"), FOUND, None, "mosaic"),
        (("x_g.fits", "x_r.fits"), FOUND, None, "cutouts"),
        (("g.fits", "r.fits"), None, None, "mosaic"),
        (("g.fits", "r.fits", "g_ivar.fits", "r_ivar.fits"), None, None, "mosaic"),
    ],
)
def test_what_a_folder_of_fits_files_is(tmp_path, names, catalogue, size, kind):
    folder = folder_of(*names)(tmp_path / "in")
    listed = None if catalogue is None else table(tmp_path / "objects.csv", catalogue)
    assert kind_of(folder, listed, size) == kind


@pytest.mark.parametrize(
    ("catalogue", "size", "kind"),
    [(None, None, "cutouts"), (None, 32, "mosaic"), (FOUND, None, "mosaic"), (NAMED, None, "cutouts")],
)
def test_what_one_fits_file_is(tmp_path, catalogue, size, kind):
    image(tmp_path / "a.fits")
    listed = None if catalogue is None else table(tmp_path / "objects.csv", catalogue)
    assert kind_of(tmp_path / "a.fits", listed, size) == kind


@pytest.mark.parametrize("names", [("big.fits",), ("big_g.fits", "big_r.fits")])
def test_a_large_image_without_size_or_catalogue_is_a_question(tmp_path, names):
    for name in names:
        image(tmp_path / "in" / name, side=1100)
    source = tmp_path / "in" if len(names) > 1 else tmp_path / "in" / names[0]
    with pytest.raises(RequestError, match=r"1100 pixels a side.*--size PX"):
        sl.ingest(source, tmp_path / "out.lance")


def test_a_folder_of_several_kinds_is_a_question(tmp_path):
    image(tmp_path / "in" / "a.fits")
    Image.new("L", (8, 8)).save(tmp_path / "in" / "a.png")
    with pytest.raises(RequestError, match=r"several kinds: fits \(a\.fits\), jpeg \(a\.png\)"):
        sl.ingest(tmp_path / "in", tmp_path / "out.lance")


def test_a_mosaic_is_cut_at_the_positions_of_a_catalogue(tmp_path):
    folder = folder_of("g.fits", "r.fits")(tmp_path / "in")
    listed = table(tmp_path / "objects.csv", FOUND + "y,150.002,1.999\n")
    survey = sl.ingest(folder, tmp_path / "out.lance", catalogue=listed, size=16)
    assert len(survey) == 2 and survey.info.band_names == ("g", "r") and survey.info.shape == (16, 16)
    assert all(cutout.sky is not None for cutout in survey.read())


def test_a_position_off_the_mosaic_is_named_or_set_aside(tmp_path):
    folder = folder_of("g.fits", "r.fits")(tmp_path / "in")
    listed = table(tmp_path / "objects.csv", FOUND + "far,151.0,2.0\n")
    with pytest.raises(CatalogueError, match="row 2"):
        sl.ingest(folder, tmp_path / "out.lance", catalogue=listed, size=16)
    assert len(sl.ingest(folder, tmp_path / "out.lance", catalogue=listed, size=16, skip_bad=True)) == 1
    assert "far," in (tmp_path / "out.lance.quarantine.csv").read_text()


def test_a_cutout_larger_than_the_mosaic_is_refused(tmp_path):
    image(tmp_path / "a.fits")
    with pytest.raises(RequestError, match="121"):
        sl.ingest(tmp_path / "a.fits", tmp_path / "out.lance", size=121)


@pytest.mark.parametrize("rows", ["x,,2.0\n", "x,nan,2.0\n", "a,150.0,2.0\na,150.001,2.0\n"])
def test_positions_missing_or_ids_twice_are_named(tmp_path, rows):
    folder = folder_of("g.fits", "r.fits")(tmp_path / "in")
    with pytest.raises(CatalogueError, match="row"):
        sl.ingest(
            folder, tmp_path / "o.lance", catalogue=table(tmp_path / "o.csv", "object_id,ra,dec\n" + rows), size=8
        )


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "gz"
    (folder / "images_training_rev1").mkdir(parents=True)
    for name in ("100008", "100023", "100053"):
        pixels = RNG.normal(40, 9, (24, 24, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images_training_rev1" / f"{name}.png")
    table(folder / "training_solutions_rev1.csv", "GalaxyID,Class1.1\n100008,0.38\n100023,0.33\n100053,0.76\n")
    return folder


def test_galaxy_zoo_pictures_with_their_votes(pictures, tmp_path):
    survey = sl.ingest(pictures, tmp_path / "out.lance")
    cutouts = list(survey.read())
    assert [cutout.object_id for cutout in cutouts] == ["100008", "100023", "100053"]
    assert cutouts[2].columns == {"Class1_1": 0.76} and survey.info.band_names == ("R", "G", "B")
    assert {band.unit for band in survey.info.bands} == {"uint8 (display stretch)"}
    assert any("Class1.1 is Class1_1" in note for note in survey.info.notes)
    assert any("8-bit" in note for note in survey.info.notes) and survey.info.bands[0].zero_point is None
    with Image.open(pictures / "images_training_rev1" / "100008.png") as picture:
        np.testing.assert_array_equal(np.moveaxis(cutouts[0].flux, 0, -1), np.asarray(picture))


def test_pictures_have_no_zero_point(pictures, tmp_path):
    with pytest.raises(UnitError, match="no zero point"):
        sl.ingest(pictures, tmp_path / "out.lance", zero_point={"R": 22.5})


def test_a_row_without_a_picture_is_named_or_set_aside(pictures, tmp_path):
    (pictures / "images_training_rev1" / "100023.png").unlink()
    with pytest.raises(CatalogueError, match=r"training_solutions_rev1\.csv, row 2: no picture is named '100023'"):
        sl.ingest(pictures, tmp_path / "out.lance")
    assert len(sl.ingest(pictures, tmp_path / "out.lance", skip_bad=True)) == 2


def test_a_picture_without_a_row_is_told(pictures, tmp_path):
    Image.new("RGB", (24, 24)).save(pictures / "extra.jpg")
    assert any("extra.jpg" in note for note in sl.ingest(pictures, tmp_path / "out.lance").info.notes)


@pytest.mark.parametrize("keep", [0, 30, 500])
def test_a_damaged_picture_is_named(pictures, tmp_path, keep):
    path = pictures / "images_training_rev1" / "100023.png"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SourceError, match=r"100023\.png"):
        sl.ingest(pictures, tmp_path / "out.lance")


def test_pictures_of_different_size_need_a_size(pictures, tmp_path):
    Image.fromarray(RNG.integers(0, 99, (30, 30, 3), np.uint8)).save(pictures / "images_training_rev1" / "100053.png")
    with pytest.raises(CutoutError, match="--size"):
        sl.ingest(pictures, tmp_path / "out.lance")
    assert sl.ingest(pictures, tmp_path / "out.lance", size=20).info.shape == (20, 20)


def test_a_clipped_black_sky_has_the_noise_of_rounding(pictures, tmp_path):
    for file in (pictures / "images_training_rev1").iterdir():
        Image.new("RGB", (24, 24)).save(file)
    cutout = next(sl.ingest(pictures, tmp_path / "out.lance").read())
    np.testing.assert_allclose(cutout.ivar, 12, rtol=1e-6)

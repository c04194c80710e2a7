"""Every way in which a source can be bad has an error that names the file, or a place in the quarantine."""

import csv
import gzip
import os

import numpy as np
import pytest
from astropy.io import fits

import skyloom as sl
from skyloom.errors import CutoutError, RequestError, SkyloomError, SourceError, StoreError, UnitError

GOOD = np.random.default_rng(0).normal(5, 1, (32, 32)).astype(np.float32)


def scale(arcsec):
    place = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 16.0, "CRPIX2": 16.0}
    return fits.Header({**place, "CD1_1": -arcsec / 3600, "CD2_2": arcsec / 3600})


def write_bands(path, *images):
    """images : (pixels, header) of each band"""
    hdus = [fits.ImageHDU(pixels, header) for pixels, header in images]
    for name, hdu in zip("gri", hdus, strict=False):
        hdu.header["BAND"] = name
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)


def with_ivar(path, ivar):
    fits.HDUList([fits.PrimaryHDU(GOOD), fits.ImageHDU(ivar, name="IVAR")]).writeto(path)


def not_fits(path):
    path.write_text("<html>404 Not Found</html>" * 200)


def zero_bytes(path):
    path.touch()


def truncated(path):
    fits.PrimaryHDU(GOOD).writeto(path)
    path.write_bytes(path.read_bytes()[:4000])


def no_image(path):
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])])]).writeto(path)


def other_shape(path):
    write_bands(path, (GOOD, None), (GOOD[:20], None))


def other_scale(path):
    write_bands(path, (GOOD, scale(0.2)), (GOOD, scale(0.262)))


def elsewhere(path):
    moved = scale(0.2)
    moved["CRVAL2"] += 0.01
    write_bands(path, (GOOD, scale(0.2)), (GOOD, moved))


def same_band_twice(path):
    fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(GOOD, fits.Header({"BAND": "r"})) for _ in "ab")]).writeto(path)


def negative_ivar(path):
    with_ivar(path, np.where(GOOD > 6, -1, 1).astype(np.float32))


def ivar_of_other_shape(path):
    with_ivar(path, np.ones((4, 4), np.float32))


def blank(path):
    fits.PrimaryHDU(np.zeros((32, 32), np.float32)).writeto(path)


BAD = [
    (not_fits, SourceError, "not a FITS file"),
    (zero_bytes, SourceError, "zero bytes"),
    (truncated, SourceError, "cut short"),
    (no_image, SourceError, "no image in any HDU"),
    (other_shape, CutoutError, r"\(20, 32\).*\(32, 32\)"),
    (other_scale, UnitError, r"0\.262 arcsec/pixel.*0\.2"),
    (elsewhere, CutoutError, "180.* pixels away"),
    (same_band_twice, CutoutError, "bands r, r are not distinct"),
    (negative_ivar, CutoutError, r"pixels of its ivar map are negative"),
    (ivar_of_other_shape, CutoutError, r"ivar map has shape \(4, 4\)"),
    (blank, CutoutError, "no noise"),
]


@pytest.mark.parametrize(("make", "kind", "message"), BAD, ids=[make.__name__ for make, _, _ in BAD])
def test_a_bad_file_is_named_and_can_be_set_aside(tmp_path, make, kind, message):
    folder, out = tmp_path / "in", tmp_path / "out.lance"
    folder.mkdir()
    make(folder / "bad.fits")
    with pytest.raises(kind, match=message) as caught:
        sl.ingest(folder, out)
    assert "bad.fits" in str(caught.value) and not out.exists()
    write_bands(folder / "good.fits", (GOOD, None)) if make is not negative_ivar else with_ivar(
        folder / "good.fits", np.ones_like(GOOD)
    )
    survey = sl.ingest(folder, out, skip_bad=True)
    with (tmp_path / "out.lance.quarantine.csv").open() as file:
        (aside,) = csv.DictReader(file)
    assert len(survey) == 1 and aside["object_id"] == "bad" and "bad.fits" in aside["file"] and aside["reason"]


def test_a_gzip_cut_short_is_named(tmp_path):
    fits.PrimaryHDU(GOOD).writeto(tmp_path / "whole.fits")
    packed = gzip.compress((tmp_path / "whole.fits").read_bytes())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cut.fits.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceError, match=r"cut\.fits\.gz.*cut short"):
        sl.ingest(tmp_path / "in", tmp_path / "out.lance")


def test_when_nothing_is_good_there_is_no_survey(tmp_path):
    (tmp_path / "in").mkdir()
    zero_bytes(tmp_path / "in" / "bad.fits")
    with pytest.raises(SourceError, match=r"not one object could be read; the first.*zero bytes"):
        sl.ingest(tmp_path / "in", tmp_path / "out.lance", skip_bad=True)
    assert not (tmp_path / "out.lance").exists()


def test_unsigned_sixteen_bit_integers_with_blank(tmp_path):
    raw = (np.arange(1024).reshape(32, 32) - 300).astype(np.int16)
    hdu = fits.PrimaryHDU(raw)
    hdu.header["BLANK"], hdu.header["BZERO"], hdu.header["BSCALE"] = -300, 32768.0, 1.0
    hdu.writeto(tmp_path / "a.fits")
    cutout = next(sl.ingest(tmp_path / "a.fits", tmp_path / "out.lance").read())
    assert np.isnan(cutout.flux[0, 0, 0]) and cutout.ivar[0, 0, 0] == 0
    np.testing.assert_array_equal(cutout.flux[0].ravel()[1:], np.arange(1, 1024) - 300 + 32768.0)


@pytest.mark.parametrize("kind", [">f4", ">f8", ">i2", ">i4"])
def test_big_endian_pixels_become_native(tmp_path, kind):
    pixels = np.random.default_rng(1).integers(-500, 500, (32, 32)).astype(kind)
    fits.PrimaryHDU(pixels).writeto(tmp_path / "a.fits")
    cutout = next(sl.ingest(tmp_path / "a.fits", tmp_path / "out.lance").read())
    assert cutout.flux.dtype.isnative
    np.testing.assert_array_equal(cutout.flux[0], pixels.astype(float))


def test_a_region_of_nan_is_bad_and_the_rest_good(tmp_path):
    pixels = GOOD.copy()
    pixels[:, :10], pixels[0, 20] = np.nan, np.inf
    fits.PrimaryHDU(pixels).writeto(tmp_path / "a.fits")
    cutout = next(sl.ingest(tmp_path / "a.fits", tmp_path / "out.lance").read())
    np.testing.assert_array_equal(cutout.ivar[0] == 0, ~np.isfinite(pixels))
    assert cutout.flux[0].tobytes() == pixels.tobytes()


def test_the_value_under_a_mask_changes_nothing(tmp_path):
    found = []
    for name, under in (("a", np.nan), ("b", 1e30), ("c", 0.0)):
        pixels = GOOD.copy()
        pixels[4:9, 4:9] = under
        hdus = [fits.PrimaryHDU(pixels), fits.ImageHDU((pixels != GOOD).astype(np.uint8), name="MASK")]
        fits.HDUList(hdus).writeto(tmp_path / f"{name}.fits")
        found.append(next(sl.ingest(tmp_path / f"{name}.fits", tmp_path / f"{name}.lance").read()))
    for other in found[1:]:
        assert other.ivar.tobytes() == found[0].ivar.tobytes() and other.sky.tobytes() == found[0].sky.tobytes()


def test_paths_with_spaces_and_unicode(tmp_path):
    folder = tmp_path / "моя папка é"
    folder.mkdir()
    fits.PrimaryHDU(GOOD).writeto(folder / "галактика 1.fits")
    survey = sl.ingest(folder, tmp_path / "мой обзор.lance")
    assert next(survey.read()).object_id == "галактика 1"


def test_a_read_only_output_is_named_before_any_work(tmp_path, monkeypatch):
    fits.PrimaryHDU(GOOD).writeto(tmp_path / "a.fits")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    if os.geteuid() == 0:  # root may write everywhere
        monkeypatch.setattr(os, "access", lambda path, mode: path != locked)
    with pytest.raises(StoreError, match="cannot be written"):
        sl.ingest(tmp_path / "a.fits", locked / "out.lance")


def test_an_output_in_no_folder_is_named_before_any_work(tmp_path):
    with pytest.raises(StoreError, match="there is no folder"):
        sl.ingest(tmp_path / "does not matter.fits", tmp_path / "nowhere" / "out.lance")


def test_an_output_that_is_something_else_is_left_alone(tmp_path):
    fits.PrimaryHDU(GOOD).writeto(tmp_path / "a.fits")
    (tmp_path / "out.lance").mkdir()
    (tmp_path / "out.lance" / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError):
        sl.ingest(tmp_path / "a.fits", tmp_path / "out.lance")
    assert (tmp_path / "out.lance" / "thesis.tex").read_text() == "years of work"


def test_an_ingest_that_is_stopped_leaves_the_old_survey(tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
        for i in range(3):
            fits.PrimaryHDU(GOOD).writeto(tmp_path / name / f"{name}{i}.fits")
    out = tmp_path / "out.lance"
    before = sl.ingest(tmp_path / "a", out)

    def stop(done, total, what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sl.ingest(tmp_path / "b", out, progress=stop)
    assert sl.open(out).content_hash == before.content_hash and len(sl.open(out)) == 3
    zero_bytes(tmp_path / "c" / "c9.fits")
    with pytest.raises(SourceError):
        sl.ingest(tmp_path / "c", out)
    assert len(sl.open(out)) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.write_bytes(b"PK"), "not a kind of file"),
        (lambda path: path.mkdir(), "holds no FITS"),
    ],
)
def test_a_source_that_is_nothing_is_named(tmp_path, make, message):
    make(tmp_path / "source.zip")
    with pytest.raises(SourceError, match=message):
        sl.ingest(tmp_path / "source.zip", tmp_path / "out.lance")


@pytest.mark.parametrize("options", [{"size": 0}, {"size": -3}, {"pixel_scale": 0.0}, {"pixel_scale": float("nan")}])
def test_options_that_make_no_sense_are_refused(tmp_path, options):
    fits.PrimaryHDU(GOOD).writeto(tmp_path / "a.fits")
    with pytest.raises(SkyloomError):
        sl.ingest(tmp_path / "a.fits", tmp_path / "out.lance", **options)


def test_the_sample_survey_knows_its_own_facts(tmp_path):
    with pytest.raises(RequestError, match="knows its catalogue"):
        sl.ingest("sample", tmp_path / "out.lance", pixel_scale=0.2)


def test_a_survey_from_a_newer_skyloom_is_not_added_to(tmp_path, monkeypatch):
    fits.PrimaryHDU(GOOD).writeto(tmp_path / "a.fits")
    with monkeypatch.context() as future:
        future.setattr("skyloom.data.store.FORMAT", 99)
        sl.ingest(tmp_path / "a.fits", tmp_path / "out.lance")
    with pytest.raises(StoreError, match="newer"):
        sl.ingest(tmp_path / "a.fits", tmp_path / "out.lance")

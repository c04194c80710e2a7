"""The sample survey: it is what its notes say, its sources are galaxies and stars, and its defects are gone."""

import csv

import numpy as np
import pytest

from skyloom.data import sample
from skyloom.data.mosaic import cut, sky_meshes
from skyloom.errors import RequestError
from skyloom.sky.detection import stellar_fwhm


@pytest.fixture(scope="module")
def opened():
    """The field, its targets and its detections, read once."""
    field, rms = sample.read_field()
    return field, rms, *sample.find_sources(field, rms)


def test_it_comes_with_its_attribution():
    text = (sample.FOLDER / "ATTRIBUTION.md").read_text()
    assert "ProFound" in text and "ESO" in text and "KiDS" in text and "LGPL-3" in text


def test_opening_it_reads_no_pixel_and_a_size_beyond_the_field_is_refused():
    assert sample.read_sample(size=128).info.shape == (128, 128)
    with pytest.raises(RequestError, match="2600"):
        sample.read_sample(size=2601)


def test_the_pixel_scale_follows_from_the_dithers_of_kids():
    """KiDS moves by 25 × 85 arcsec between exposures (de Jong et al. 2013), so a bad column comes back."""
    with (sample.FOLDER / "defects.csv").open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["kind"] == "gap"]
    for band in "ug":
        x, y = (
            np.array([(int(r[f"{k}_first"]) + int(r[f"{k}_last"])) / 2 for r in rows if r["bands"] == band])
            for k in "xy"
        )
        dx, dy = np.abs(x[:, None] - x), np.abs(y[:, None] - y)
        step = (dx > 70) & (dx < 90) & (dy > 200) & (dy < 400)
        assert step.sum() >= 10
        assert 25 / np.median(dx[step]) == pytest.approx(sample.PIXEL_SCALE, rel=0.04)
        assert 85 / np.median(dy[step]) == pytest.approx(sample.PIXEL_SCALE, rel=0.06)


def test_the_stated_widths_of_the_psf_are_those_of_its_stars(opened):
    field, _, _, found = opened
    measured = [stellar_fwhm(image, found.table) * sample.PIXEL_SCALE for image in field.flux]
    np.testing.assert_allclose([band.psf_fwhm for band in sample.BANDS], measured, atol=0.01)


def test_sources_are_as_many_and_of_the_kinds_that_the_docs_say(opened):
    *_, targets, found = opened
    assert 2400 < len(targets) < 2650
    flags = {name: sum(t.columns[name] for t in targets) for name in ("is_star", "is_extended", "is_saturated")}
    assert 200 < flags["is_star"] < 320 and 500 < flags["is_extended"] < 680 and 9 <= flags["is_saturated"] <= 14
    large = found.table["is_extended"] & (found.table["half_light_radius"] > 4)
    assert 110 < large.sum() < 170
    assert not (found.table["is_star"] & found.table["is_extended"]).any()


def test_the_large_spiral_and_the_edge_on_are_whole(opened):
    """Neither is shredded: each is found at its centre with its size, and is among the ten largest galaxies."""
    table = opened[3].table
    largest = np.sort(table["half_light_radius"][table["is_extended"]])[-10]
    for x, y, radius in ((1207, 478, 24.7), (2057, 410, 13.0)):
        source = table[np.argmin(np.hypot(table["x"] - x, table["y"] - y))]
        assert abs(source["x"] - x) < 3 and abs(source["y"] - y) < 3 and source["is_extended"]
        assert source["half_light_radius"] == pytest.approx(radius, rel=0.05)
        assert source["half_light_radius"] >= largest


def test_the_sky_is_gone_in_and_out_of_the_strip(opened):
    field, rms, _, found = opened
    empty = (found.segmap == 0) & field.good.all(axis=0)
    for image, noise in zip(field.flux, rms, strict=True):
        for columns in (slice(380, 905), slice(905, 2600)):
            sky = (image / noise)[:, columns][empty[:, columns]]
            assert abs(np.median(sky)) < 0.08


def test_the_steps_of_the_strip_are_gone(opened):
    """In r the columns of the strip stood up to 1 rms above their neighbours; less than a tenth of that remains."""
    field, rms, _, found = opened
    strip = np.where(found.segmap == 0, field.flux[2] / rms[2], np.nan)[950:2300, 380:905]
    columns = np.nanmedian(strip, axis=0)
    assert np.std(columns) < 0.06 and np.abs(columns).max() < 0.25


def test_bad_columns_have_no_weight_and_everything_is_finite(opened):
    field = opened[0]
    assert np.isfinite(field.flux).all() and field.good.dtype == bool
    assert not field.good[0][500, 1690] and field.good[3].mean() > 0.9999
    assert (field.good.mean(axis=(1, 2)) > 0.999).all()


def test_cutouts_hold_their_object_at_the_centre(opened):
    field, _, targets, found = opened
    some = targets[::250]
    for cutout in cut(field, some, 64, sky_meshes(field)):
        x, y = (round(cutout.columns[k]) for k in "xy")
        number = found.segmap[y, x]
        assert cutout.flux.shape == (9, 64, 64) and cutout.tile.startswith("sample-")
        if number and 32 <= x < 2568 and 32 <= y < 2568:
            np.testing.assert_array_equal(cutout.flux[2], field.flux[2, y - 32 : y + 32, x - 32 : x + 32])
            assert found.segmap[y, x] == int(cutout.object_id[-5:])


def test_galaxies_grow_in_number_as_counts_do(opened):
    """From r = 20 to 22 by 0.3–0.4 in log N per magnitude: less than the 0.6 of empty, still space, as everywhere."""
    r = np.array([t.columns["mag_r"] for t in opened[2] if not t.columns["is_star"]])
    slope = np.log10((r < 22).sum() / (r < 20).sum()) / 2
    assert 0.25 < slope < 0.45

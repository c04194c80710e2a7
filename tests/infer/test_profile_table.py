"""The verb `profile`: its table, its units, its position angles, and what it refuses before any work."""

import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.wcs import WCS

import skyloom as sl
from skyloom.data import store
from skyloom.data.profiles import COLUMNS
from skyloom.data.tables import read_table, to_astropy, unit_of
from skyloom.errors import CatalogueError, CutoutError, RequestError, StoreError
from skyloom.infer.isophotes import measure_chunk
from skyloom.infer.profiles import ISOPHOTES, measure_survey, profile
from skyloom.sky.photometry import magnitude, surface_brightness
from skyloom.sky.profiles import Flag
from skyloom.sky.sersic import flux_radius, intensity, sersic_b, total_flux

SIDE, SCALE, ZERO_POINT = 96, 0.25, 26.0
DISC = {"n": 1.0, "r_e": 7.0, "q": 0.6, "i_e": 40.0}
LISTS = [column.name for column in COLUMNS if pa.types.is_list(column.kind)]


def draw_disc(angle: float, factor: float = 1.0, seed: int = 0) -> np.ndarray:
    """A disc with its major axis at `angle` [rad, +x to +y], averaged over pixels, on a sky of 3 and noise of 1."""
    fine = (np.arange(SIDE * 5) + 0.5) / 5 - 0.5 - (SIDE - 1) / 2
    dx, dy = fine[None, :], fine[:, None]
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    light = intensity(np.hypot(along, across / DISC["q"]), DISC["r_e"], DISC["n"], DISC["i_e"] * factor)
    noise = np.random.default_rng(seed).normal(3, 1, (SIDE, SIDE))
    return (light.reshape(SIDE, 5, SIDE, 5).mean((1, 3)) + noise).astype(np.float32)


def cutout(name="disc", angles=(0.5,), wcs=None, factors=(1.0, 2.0, 0.5)) -> sl.Cutout:
    flux = np.stack(
        [draw_disc(angle, factor, k) for k, (angle, factor) in enumerate(zip(angles, factors, strict=False))]
    )
    return sl.Cutout(name, flux, np.ones_like(flux), wcs=wcs)


def info(bands="r", zero_point=ZERO_POINT, pixel_scale=SCALE) -> sl.SurveyInfo:
    return sl.SurveyInfo(tuple(sl.Band(band, zero_point) for band in bands), (SIDE, SIDE), pixel_scale=pixel_scale)


def row(**facts) -> dict:
    return measure_survey([cutout()], info(**facts))[0]


@pytest.fixture(scope="module")
def survey_path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("discs") / "discs.lance"
    cutouts = (cutout(f"disc-{k}", (0.3 * k, 0.3 * k, 0.3 * k)) for k in range(5))
    store.write(path, info("gri"), cutouts)
    return path


@pytest.fixture(scope="module")
def table(survey_path) -> pa.Table:
    return profile(survey_path)


def test_the_table_is_as_its_columns_say(table):
    assert table.column_names == [column.name for column in COLUMNS]
    for column, field in zip(COLUMNS, table.schema, strict=True):
        assert field.type == column.kind and unit_of(field) == column.unit
    assert table.schema.metadata[b"engine"] == b"isophotes"
    assert table.schema.metadata[b"skyloom"].decode() == sl.__version__


def test_there_is_one_row_per_object_and_band_in_the_order_of_the_survey(table):
    pairs = list(zip(table["object_id"].to_pylist(), table["band"].to_pylist(), strict=True))
    assert pairs == [(f"disc-{k}", band) for k in range(5) for band in "gri"]
    for found in table.to_pylist():
        assert len({len(found[name]) for name in LISTS}) == 1
        assert (np.diff(found["sma"]) > 0).all()
        assert (np.array(found["pa"]) >= 0).all() and (np.array(found["pa"]) < 180).all()


def test_one_band_and_some_objects_are_those_rows_of_the_whole(survey_path, table):
    part = profile(survey_path, band="i", ids=["disc-3", "disc-0"])
    assert part["object_id"].to_pylist() == ["disc-3", "disc-0"]
    whole = {(found["object_id"], found["band"]): found for found in table.to_pylist()}
    for found in part.to_pylist():
        wanted = whole[found["object_id"], "i"]
        np.testing.assert_allclose(found["sb"], wanted["sb"], atol=1e-3)
        assert found["mag"] == pytest.approx(wanted["mag"], abs=1e-3)


def test_a_disc_has_the_magnitude_radius_and_profile_of_its_formula(table):
    """0.03 mag and 3 %, S/N of a few hundred."""
    for found, factor in zip(table.to_pylist(), (1.0, 2.0, 0.5) * 5, strict=True):
        total = total_flux(DISC["i_e"] * factor, DISC["r_e"], DISC["n"], DISC["q"])
        assert found["mag"] == pytest.approx(float(magnitude(total, ZERO_POINT)), abs=0.03)
        assert found["r_e"] == pytest.approx(DISC["r_e"] * SCALE, rel=0.03)
        assert found["sky"] == pytest.approx(3, abs=4 * found["sky_error"])
        radius = np.array(found["sma"]) / SCALE
        bright = (radius > 2) & (radius < 2 * DISC["r_e"])
        law = intensity(radius[bright], DISC["r_e"], DISC["n"], DISC["i_e"] * factor)
        off = np.array(found["sb"])[bright] - surface_brightness(law, SCALE, ZERO_POINT)
        assert (np.abs(off) < 0.02 + 4 * np.array(found["sb_error"])[bright]).all()


def test_the_isophote_of_26_lies_where_the_law_has_26(table):
    for found, factor in zip(table.to_pylist(), (1.0, 2.0, 0.5) * 5, strict=True):
        centre = surface_brightness(intensity(0.0, DISC["r_e"], DISC["n"], DISC["i_e"] * factor), SCALE, ZERO_POINT)
        scale_length = DISC["r_e"] * SCALE / sersic_b(1)
        expected = scale_length * (26 - centre) / (2.5 / np.log(10))
        if np.isnan(found["r_26"]):  # fainter than the profile reaches
            assert expected > found["sma"][-1] * 0.8
        else:
            assert found["r_26"] == pytest.approx(expected, rel=0.1)


def test_the_curve_of_growth_ends_near_the_total_and_passes_half_at_r_e(table):
    for found in table.to_pylist():
        growth = np.array(found["cog"])
        assert abs(growth[-1] - found["mag"]) < 0.1
        half = np.interp(np.log(found["r_e"]), np.log(found["sma"]), growth)
        assert half - found["mag"] == pytest.approx(2.5 * np.log10(2), abs=0.02)
        assert flux_radius(0.5, DISC["r_e"], 1) == pytest.approx(DISC["r_e"])


def rotated(degrees: float, parity: int, scale: float = SCALE) -> WCS:
    """A tangential projection at declination 60°, x turned by `degrees`, east to the left (parity −1) or right (+1)."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix = (359.9999, 60.0), (10.0, 90.0)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    wcs.wcs.cd = scale / 3600 * np.array([[parity * cos, -parity * sin], [sin, cos]])
    return wcs


@pytest.mark.parametrize("parity", [-1, 1])
@pytest.mark.parametrize("degrees", [0, 37, 90, 215])
@pytest.mark.parametrize("angle", [0.0, 0.9])
def test_position_angles_run_from_north_through_east(degrees, parity, angle):
    """Against the position angle that astropy gives to two points on the major axis; 0.5° and the noise."""
    wcs = rotated(degrees, parity)
    found = measure_survey([cutout(angles=(angle,), wcs=wcs.to_header().tostring())], info())[0]
    x, y = found["x"] + np.array([0, np.cos(angle)]), found["y"] + np.array([0, np.sin(angle)])
    here, there = SkyCoord(*wcs.wcs_pix2world(x, y, 0), unit="deg")
    expected = here.position_angle(there).deg
    bright = (found["sma"] > 1.0) & (found["sma"] < 4.0)
    off = (np.array(found["pa"])[bright] - expected + 90) % 180 - 90
    assert np.abs(np.median(off)) < 0.5
    assert not found["flag"] & Flag.NO_WCS


def test_without_a_wcs_angles_run_from_x_to_y_and_say_so():
    found = row()
    bright = (found["sma"] > 1.0) & (found["sma"] < 4.0)
    assert np.median(found["pa"][bright]) == pytest.approx(np.degrees(0.5), abs=1)
    assert found["flag"] == Flag.NO_WCS


def test_without_a_zero_point_magnitudes_are_instrumental_and_say_so():
    bare, known = row(zero_point=None), row()
    assert bare["mag"] == pytest.approx(known["mag"] - ZERO_POINT, abs=1e-9)
    np.testing.assert_allclose(bare["sb"], known["sb"] - ZERO_POINT, atol=1e-9)
    assert np.isnan(bare["r_26"]) and bare["flag"] == known["flag"] | Flag.NO_ZERO_POINT


def test_without_a_pixel_scale_radii_are_in_pixels_and_say_so(tmp_path):
    bare, known = row(pixel_scale=None), row()
    np.testing.assert_allclose(bare["sma"], known["sma"] / SCALE)
    np.testing.assert_allclose(bare["sb"], known["sb"] - 2.5 * np.log10(SCALE**2), atol=1e-9)
    assert bare["r_e"] == pytest.approx(known["r_e"] / SCALE)
    assert np.isnan(bare["r_26"]) and bare["flag"] == known["flag"] | Flag.NO_PIXEL_SCALE
    store.write(tmp_path / "bare.lance", info(pixel_scale=None), [cutout()])
    fields = {field.name: unit_of(field) for field in profile(tmp_path / "bare.lance").schema}
    assert fields["sma"] == fields["r_e"] == "pix" and fields["sb"] == "mag / pix2" and fields["mag"] == "mag"


@pytest.mark.parametrize("suffix", [".parquet", ".ecsv", ".fits"])
def test_the_file_holds_the_table(survey_path, table, tmp_path, suffix):
    returned = profile(survey_path, tmp_path / f"profiles{suffix}", band="r")
    path = tmp_path / f"profiles{suffix}"
    written = to_astropy(read_table(path)) if suffix == ".parquet" else Table.read(path)
    assert written.colnames == table.column_names and len(written) == 5
    for name in (*LISTS, "mag", "r_e", "sky"):
        for got, want in zip(written[name], returned[name].to_pylist(), strict=True):
            np.testing.assert_array_equal(np.ma.filled(np.ma.asarray(got, float), np.nan), want)
    assert [str(name) for name in written["object_id"]] == returned["object_id"].to_pylist()


def test_every_run_gives_the_same_bytes_with_any_number_of_workers(survey_path, tmp_path, monkeypatch):
    for name, workers in (("one", 1), ("again", 1), ("two", 2)):
        monkeypatch.setattr(os, "cpu_count", lambda workers=workers: workers)
        profile(survey_path, tmp_path / f"{name}.parquet")
    first = (tmp_path / "one.parquet").read_bytes()
    assert first == (tmp_path / "again.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_pixels_under_ivar_zero_change_nothing(tmp_path):
    clean = cutout()
    weight = clean.ivar.copy()
    weight[:, 40:44, 60:70] = 0
    rows = []
    for value in (0, np.nan, 1e30):
        spoiled = sl.Cutout("disc", np.where(weight > 0, clean.flux, np.float32(value)), weight)
        rows.append(measure_survey([spoiled], info())[0])
    for other in rows[1:]:
        assert all(np.array_equal(rows[0][k], other[k], equal_nan=k not in ("object_id", "band")) for k in other)


def test_a_blank_and_a_masked_cutout_have_empty_rows_with_a_flag(tmp_path):
    shape = (3, SIDE, SIDE)
    blank = sl.Cutout("blank", np.zeros(shape, np.float32), np.ones(shape, np.float32))
    masked = sl.Cutout("masked", np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32))
    one_band = cutout("one band", (0.5, 0.5, 0.5))
    one_band.ivar[1] = 0
    store.write(tmp_path / "poor.lance", info("gri"), [blank, masked, one_band])
    rows = profile(tmp_path / "poor.lance", tmp_path / "poor.ecsv").to_pylist()
    for found in (*rows[:6], rows[7]):
        assert found["flag"] & Flag.NOTHING
        assert found["sma"] == [] and np.isnan(found["mag"]) and np.isnan(found["r_e"]) and np.isnan(found["x"])
    for found in (rows[6], rows[8]):
        assert not found["flag"] & Flag.NOTHING and np.isfinite(found["mag"])


def test_progress_counts_the_objects(survey_path):
    seen = []
    profile(survey_path, band="g", progress=lambda *news: seen.append(news))
    assert seen[-1] == (5, 5, "profiles")


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"with_": "guesswork"}, RequestError, "isophotes"),
        ({"band": "z"}, CutoutError, "g, r, i"),
        ({"out": "profiles.csv"}, RequestError, r"\.parquet"),
        ({"out": "nowhere/profiles.fits"}, StoreError, "nowhere"),
        ({"ids": ["disc-0", "disc-9"]}, CatalogueError, "disc-9"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_work(survey_path, monkeypatch, tmp_path, arguments, error, words):
    def work(*_, **__):
        raise AssertionError("a galaxy was measured")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("skyloom.infer.profiles.ISOPHOTES", ISOPHOTES._replace(measure=work))
    with pytest.raises(error, match=words):
        profile(survey_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_a_missing_survey_is_a_store_error(tmp_path):
    with pytest.raises(StoreError):
        profile(tmp_path / "nowhere.lance")


def test_an_error_in_mid_work_leaves_the_old_table(survey_path, tmp_path, monkeypatch):
    (tmp_path / "profiles.fits").write_bytes(b"the old one")
    monkeypatch.setattr("skyloom.infer.profiles.ISOPHOTES", ISOPHOTES._replace(measure=lambda *_, **__: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        profile(survey_path, tmp_path / "profiles.fits")
    assert [path.name for path in tmp_path.iterdir()] == ["profiles.fits"]
    assert (tmp_path / "profiles.fits").read_bytes() == b"the old one"


def test_a_chunk_is_the_sum_of_its_cutouts():
    """In a chunk as alone, to 1e-3 mag."""
    discs = tuple(cutout(f"disc-{k}", (0.4 * k,)) for k in range(3))
    together = measure_chunk(discs, info(), [0])
    for disc, found in zip(discs, together, strict=True):
        alone = measure_chunk((disc,), info(), [0])[0]
        np.testing.assert_allclose(alone["sb"], found["sb"], atol=1e-3)
        assert alone["object_id"] == found["object_id"] and alone["flag"] == found["flag"]


def test_the_page_lists_every_column_and_flag():
    """docs/profile.md repeats the comments of Flag and the meanings of COLUMNS."""
    root = Path(__file__).parents[2]
    page = (root / "docs" / "profile.md").read_text(encoding="utf-8")
    source = (root / "src" / "skyloom" / "sky" / "profiles.py").read_text(encoding="utf-8")
    comments = dict(re.findall(r"^    ([A-Z_]+) = \d+  # (.+)$", source, re.M))
    assert comments.keys() == {flag.name for flag in Flag}
    for flag in Flag:
        assert f"| {flag.value} | `{flag.name}` | {comments[flag.name]} |" in page
    for column in COLUMNS:
        assert f"| `{column.name}` | {column.unit} | {column.meaning} |" in page

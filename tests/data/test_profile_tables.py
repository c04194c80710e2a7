"""Profile tables that a user brings: every format read, every unit honoured, every bad row refused by its number."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn, Table
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import skyloom as sl
from skyloom.cli.main import app
from skyloom.data import store
from skyloom.data.profiles import LISTS, NO_WCS, fields_of, read_profiles
from skyloom.data.readers.profiles import read_profile_table
from skyloom.data.tables import unit_of, write_table
from skyloom.errors import CatalogueError, RequestError, SkyloomError, SourceError, StoreError, UnitError
from skyloom.sky.photometry import POGSON

SCALE, ZERO_POINT = 0.25, 25.0
INFO = sl.SurveyInfo(tuple(sl.Band(name, ZERO_POINT) for name in "gri"), (64, 64), pixel_scale=SCALE)
BARE = sl.SurveyInfo((sl.Band("r"),), (64, 64))
IDS = ["NGC_1", "NGC_2", "007"]
SMA, SB = np.array([0.5, 1.0, 2.0, 4.0]), np.array([20.0, 21.0, 22.5, 24.0])


def read(path, info=INFO) -> list[dict]:
    return read_profile_table(path, info, IDS).to_pylist()


def points(**changes) -> dict:
    """A table of one row per isophote: four of one object."""
    return {"object_id": ["NGC_1"] * 4, "band": ["r"] * 4, "sma": SMA, "sb": SB} | changes


def flat(folder, suffix=".ecsv", units_of=(), **changes):
    """The file of that table; units_of : pairs of column and unit."""
    table, path = Table(points(**changes)), folder / f"flat{suffix}"
    for name, unit in units_of:
        table[name].unit = unit
    if suffix == ".parquet":
        fields = [
            pa.field(n, pa.array(table[n].tolist()).type, metadata={"unit": str(table[n].unit or "")})
            for n in table.colnames
        ]
        pq.write_table(pa.table([table[n].tolist() for n in table.colnames], schema=pa.schema(fields)), path)
    else:
        table.write(path, format={".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".fits": "fits"}[suffix])
    return path


def own_table(info=INFO) -> pa.Table:
    """A profile table as skyloom makes it: three rows, one of them empty, one with a NaN."""
    rng, rows = np.random.default_rng(1), []
    for count, (object_id, band) in zip((5, 0, 2), (("NGC_1", "r"), ("NGC_1", "g"), ("007", "r")), strict=True):
        row = {name: np.sort(rng.uniform(1, 30, count)) for name in LISTS}
        row |= {"object_id": object_id, "band": band, "x": 31.5, "y": np.nan, "mag": 17.25, "flag": 512 * (count == 0)}
        rows.append(
            row | {name: rng.uniform() for name in ("mag_error", "r_e", "r_e_error", "r_26", "sky", "sky_error")}
        )
    rows[0]["sb"][2] = np.nan
    return pa.Table.from_pylist(rows, pa.schema(fields_of(info), metadata={"engine": "isophotes"}))


def autoprof(path, sb=SB, unit_line="arcsec,mag*arcsec^-2,mag*arcsec^-2,mag,unitless,deg", as_comment=True):
    """A .prof file with the units in a comment or in a row below the names."""
    lines = [f"# {unit_line}"] * as_comment + ["R,SB,SB_e,totmag,ellip,pa"] + [f"units,{unit_line}"] * (not as_comment)
    lines += [f"{r},{s},0.01,{18 - k},0.3,{170 + k}" for k, (r, s) in enumerate(zip(SMA, sb, strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def intensities(iraf: bool) -> Table:
    """An isophote list in pixels and flux, with the central pixel first and light below zero last."""
    names = "SMA INTENS INT_ERR ELLIP PA X0 Y0" if iraf else "sma intens intens_err ellipticity pa x0 y0"
    sma, light = np.array([0.0, 2, 4, 8, 16, 32]), np.array([900.0, 400, 100, 25, 1, -1])
    columns = [sma, light, light / 100, np.full(6, 0.2), np.full(6, 30.0), np.full(6, 31.0), np.full(6, 33.0)]
    table = Table(dict(zip(names.split(), columns, strict=True)))
    table[names.split()[2]] = MaskedColumn(light / 100, mask=sma == 0)
    return table


@pytest.mark.parametrize("suffix", [".parquet", ".ecsv", ".fits"])
def test_what_skyloom_wrote_comes_back_to_the_bit(tmp_path, suffix):
    table = own_table()
    write_table(table, tmp_path / f"own{suffix}")
    found = read_profile_table(tmp_path / f"own{suffix}", INFO, IDS)
    assert found.schema.equals(table.schema, check_metadata=False)
    for name in table.column_names:
        assert unit_of(found.schema.field(name)) == unit_of(table.schema.field(name))
        for here, there in zip(found[name].to_pylist(), table[name].to_pylist(), strict=True):
            assert np.array_equal(here, there, equal_nan=name not in ("object_id", "band")), name


def test_a_table_in_pixels_fits_only_a_survey_in_pixels(tmp_path):
    own = own_table(BARE).filter(pa.compute.equal(own_table()["band"], "r"))
    write_table(own, tmp_path / "bare.parquet")
    assert read(tmp_path / "bare.parquet", BARE)[0]["sma"] == own["sma"][0].as_py()
    with pytest.raises(UnitError, match=r"bare\.parquet: sb is in 'mag / pix2'; give it in mag / arcsec2"):
        read(tmp_path / "bare.parquet")


@settings(max_examples=25)
@given(
    st.lists(st.floats(0.01, 1e3), min_size=3, max_size=20, unique=True),
    st.sampled_from([("arcsec", 1.0), ("arcmin", 60.0), ("deg", 3600.0), ("pix", SCALE)]),
    st.sampled_from([".ecsv", ".fits", ".parquet"]),
)
def test_a_stated_unit_of_length_is_honoured(tmp_path_factory, radii, unit, suffix):
    folder, sma = tmp_path_factory.mktemp("units"), np.sort(radii)
    changes = {"object_id": ["007"] * len(sma), "band": ["i"] * len(sma), "sb": np.full(len(sma), 20.0)}
    path = flat(folder, suffix, [("sma", unit[0]), ("sb", "mag/arcsec2")], sma=sma, **changes)
    np.testing.assert_allclose(read(path)[0]["sma"], sma * unit[1], rtol=1e-12)


@pytest.mark.parametrize("suffix", [".csv", ".ecsv", ".fits", ".parquet"])
def test_rows_of_isophotes_become_profiles_whatever_their_order(tmp_path, suffix):
    """Objects may be interleaved; ids keep their zeros; no unit means ours."""
    mixed = {
        "object_id": ["NGC_1", "007"] * 4,
        "band": ["r", "g"] * 4,
        "sma": np.repeat(SMA, 2),
        "sb": np.repeat(SB, 2),
    }
    more = {"pa": np.full(8, 200.0), "x": np.arange(8.0), "cog": np.full(8, 19.0), "comment": ["so"] * 8}
    first, second = read(flat(tmp_path, suffix, **mixed, **more))
    assert (first["object_id"], first["band"], second["object_id"], second["band"]) == ("NGC_1", "r", "007", "g")
    assert first["sma"] == second["sma"] == SMA.tolist() and first["sb"] == SB.tolist()
    assert first["pa"] == [20.0] * 4 and first["flag"] == 0 and first["cog"] == [19.0] * 4
    assert first["x"] == 3.0 and first["y"] is None and first["ellipticity"] is None


def test_an_angle_in_the_image_may_stand_for_the_position_angle(tmp_path):
    found = read(flat(tmp_path, units_of=[("angle", "rad")], angle=np.full(4, np.pi / 4)))[0]
    assert found["pa"] == pytest.approx([45.0] * 4) and found["flag"] == NO_WCS
    (tmp_path / "flat.ecsv").unlink()
    with pytest.raises(CatalogueError, match="pa and angle are two answers"):
        read(flat(tmp_path, angle=SMA, pa=SMA))


@pytest.mark.parametrize("as_comment", [True, False])
def test_autoprof_counts_angles_from_y_and_marks_what_is_missing(tmp_path, as_comment):
    autoprof(tmp_path / "NGC_1_r.prof", [20.0, 21, 22, 99.999], as_comment=as_comment)
    autoprof(tmp_path / "007_g.prof", as_comment=as_comment)
    (tmp_path / "NGC_1_r.aux").write_text("what AutoProf writes beside it")
    second, first = sorted(read(tmp_path), key=lambda row: row["object_id"])
    assert (first["object_id"], first["band"], second["object_id"], second["band"]) == ("NGC_1", "r", "007", "g")
    assert first["sma"] == SMA[:3].tolist() and first["sb"] == [20, 21, 22] and second["sb"] == SB.tolist()
    assert first["pa"] == [80, 81, 82] and first["flag"] == NO_WCS and first["cog"] == [18, 17, 16]
    assert first["x"] is None and first["ellipticity"] == [0.3] * 3


def test_the_band_may_be_left_out_of_the_name_where_there_is_but_one(tmp_path):
    path = autoprof(tmp_path / "NGC_1.prof")
    one = sl.SurveyInfo((sl.Band("r", 25.0),), (64, 64), pixel_scale=SCALE)
    assert read(path, one)[0]["band"] == "r"
    with pytest.raises(CatalogueError, match=r"of which band\? Call it NGC_1_g.prof"):
        read(path)
    with pytest.raises(CatalogueError, match=r"no object of this name; call it OBJECT_BAND\.prof"):
        read(path.rename(tmp_path / "NGC_9_r.prof"))


@pytest.mark.parametrize("suffix", [".ecsv", ".fits"])
@pytest.mark.parametrize("iraf", [True, False])
def test_photutils_and_iraf_speak_of_pixels_and_flux(tmp_path, suffix, iraf):
    path = tmp_path / f"NGC_1_r{suffix}"
    intensities(iraf).write(path)
    found = read(path)[0]
    assert found["sma"] == [0.5, 1, 2, 4], "in arcsec, without the central pixel and the light below zero"
    wanted = ZERO_POINT - 2.5 * np.log10(np.array([400, 100, 25, 1]) / SCALE**2)
    np.testing.assert_allclose(found["sb"], wanted, atol=1e-12)
    np.testing.assert_allclose(found["sb_error"], 0.01 * POGSON)
    assert (found["x"], found["y"]) == ((30, 32) if iraf else (31, 33)), "IRAF counts pixels from 1"
    assert found["pa"] == [120 if iraf else 30] * 4 and found["flag"] == NO_WCS


def test_a_list_of_isophotes_that_photutils_made_is_read(tmp_path):
    isophote = pytest.importorskip("photutils.isophote")
    y, x = np.indices((64, 64))
    along, across = (x - 30) * 0.8 + (y - 33) * 0.6, (y - 33) * 0.8 - (x - 30) * 0.6
    image = 1000 * np.exp(-np.hypot(along, across / 0.6) / 6)
    start = isophote.EllipseGeometry(x0=30, y0=33, sma=8, eps=0.3, pa=0.5)
    isophote.Ellipse(image, geometry=start).fit_image(maxsma=18, step=0.25).to_table().write(tmp_path / "007_i.ecsv")
    found = read(tmp_path / "007_i.ecsv")[0]
    middle = len(found["sma"]) * 2 // 3
    assert found["pa"][middle] == pytest.approx(np.degrees(np.arctan2(0.6, 0.8)), abs=1)
    assert found["ellipticity"][middle] == pytest.approx(0.4, abs=0.02)
    light = 1000 * np.exp(-np.array(found["sma"][middle:]) / SCALE / 6) / SCALE**2
    np.testing.assert_allclose(found["sb"][middle:], ZERO_POINT - 2.5 * np.log10(light), atol=0.03)
    assert (found["x"], found["y"]) == pytest.approx((30, 33), abs=0.1)


def test_the_table_of_m51_that_iraf_made_is_read(golden):
    table = read_profile_table(golden, INFO, ["m51_iraf"])
    found = table.to_pylist()[0]
    assert len(found["sma"]) == 51 and found["sma"][0] == pytest.approx(0.52 * SCALE, abs=0.01)
    assert found["pa"][10] == pytest.approx((Table.read(golden)["PA"][11] + 90) % 180, abs=1e-4)


@pytest.fixture
def golden(request, tmp_path):
    there = request.config.rootpath / "tests" / "golden" / "data" / "m51_iraf.fits.gz"
    return tmp_path.joinpath("m51_iraf_r.fits.gz").write_bytes(there.read_bytes()) and tmp_path / "m51_iraf_r.fits.gz"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sma": [0.5, 2.0, 1.0, 4.0]}, r"row 3 \(object 'NGC_1', band r\): sma is 1 after 2; sort the rows"),
        ({"sma": [0.5, 1.0, 1.0, 4.0]}, r"row 3 .*: sma is 1 after 1; sort the rows by it, and keep one of each"),
        ({"sma": [0.0, 1.0, 2.0, 4.0]}, r"row 1 .*: sma is 0; radii must be positive"),
        ({"sma": [0.5, np.nan, 2.0, 4.0]}, r"row 2 .*: sma is nan"),
        ({"sb": [20.0, 21.0, np.nan, 24.0]}, r"row 3 .*: sb is nan; cut the profile before it"),
        ({"sb": [20.0, 21.0, 22.0, np.inf]}, r"row 4 .*: sb is inf"),
        ({"sb": [900.0, 400.0, 100.0, 30.0]}, r"row 1 .*: sb is 900, not within 0 and 40 .*in magnitudes\?"),
        ({"object_id": ["NGC_1"] * 3 + ["M 31"]}, r"row 4 \(object 'M 31', band r\): the survey has no such object"),
        ({"band": ["r", "r", "r", "z"]}, r"row 4 \(object 'NGC_1', band z\): the survey's bands are g, r, i"),
        ({"object_id": ["007"] * 2 + ["NGC_1"] * 2}, r"row 1 \(object '007', band r\): 2 isophotes; a profile needs 3"),
        ({"sma": ["a", "b", "c", "d"]}, "column 'sma' is string; give numbers"),
    ],
)  # fmt: skip
def test_bad_rows_are_refused_by_their_number(tmp_path, changes, complaint):
    with pytest.raises(CatalogueError, match=r"flat\.ecsv.*" + complaint):
        read(flat(tmp_path, **changes))


@pytest.mark.parametrize(
    ("column", "unit"),
    [
        ("sma", "kpc"),
        ("sma", "s"),
        ("sb", "mag"),
        ("sb", "mag / arcmin2"),
        ("sb", "Jy"),
        ("sb", "furlong"),
        ("x", "deg"),
    ],
)
def test_a_unit_that_cannot_be_converted_is_refused(tmp_path, column, unit):
    with pytest.raises(UnitError, match=rf"flat\.parquet: {column} is in '{unit}'; give it in"):
        read(flat(tmp_path, ".parquet", [(column, unit)], x=SMA))


def test_arcseconds_need_a_pixel_scale_and_flux_a_zero_point(tmp_path):
    path = flat(tmp_path, units_of=[("sma", "arcsec")])
    with pytest.raises(UnitError, match="sma is in 'arcsec'; give it in pix, as the survey has no pixel scale"):
        read(path, BARE)
    path.unlink()
    intensities(iraf=True).write(tmp_path / "NGC_1_r.ecsv")
    for info, lacking in ((BARE, "pixel scale"), (sl.SurveyInfo((sl.Band("r"),), (9, 9), 0.2), "zero point of band r")):
        with pytest.raises(UnitError, match=f"the survey states no {lacking}"):
            read(tmp_path / "NGC_1_r.ecsv", info)


def test_instrumental_magnitudes_may_be_any_number(tmp_path):
    assert read(flat(tmp_path, sb=SB - 40), BARE)[0]["sb"] == (SB - 40).tolist()


def test_light_missing_between_isophotes_is_refused(tmp_path):
    with pytest.raises(CatalogueError, match=r"row 2 \(object 'NGC_1', band r\): sb is nan; cut the profile"):
        read(autoprof(tmp_path / "NGC_1_r.prof", [20.0, 99.999, 22, 23]))
    with pytest.raises(UnitError, match=r"NGC_1_r.prof: sb is in 'flux\*arcsec\^-2'"):
        read(autoprof(tmp_path / "NGC_1_r.prof", unit_line="arcsec,flux*arcsec^-2,,,,"))


def test_one_profile_in_two_files_is_refused(tmp_path):
    flat(tmp_path, ".csv")
    flat(tmp_path, ".ecsv")
    with pytest.raises(CatalogueError, match=r"flat\.ecsv, row 1 .*a profile of it already, in .*flat\.csv, row 1"):
        read(tmp_path)


def test_a_list_shorter_than_its_radii_is_refused(tmp_path):
    table = pa.table({"object_id": ["007"], "band": ["r"], "sma": [SMA], "sb": [SB], "sb_error": [SB[:2]]})
    pq.write_table(table, tmp_path / "short.parquet")
    with pytest.raises(CatalogueError, match=r"row 1 \(object '007', band r\): 4 radii and 2 values of sb_error"):
        read(tmp_path / "short.parquet")
    pq.write_table(table.drop_columns("sb_error").set_column(3, "sb", [[SB * np.nan]]), tmp_path / "short.parquet")
    with pytest.raises(CatalogueError, match=r"row 1 \(object '007', band r, isophote 1\): sb is nan"):
        read(tmp_path / "short.parquet")


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.csv", "object_id,band,radius\n1,r,2\n", "a profile table has object_id, band, sma, sb"),
        ("NGC_1_r.prof", "", "no line of column names"),
        ("NGC_1_r.prof", "R,SB\n1,2\n1,2,3\n", "rows of unequal length"),
        ("NGC_1_r.prof", "R,I\n1,2\n", "an AutoProf profile has R and SB; the columns here are R, I"),
        ("a.docx", "R,SB", "not a kind of catalogue"),
    ],
)
def test_a_file_that_is_no_profile_table_is_named(tmp_path, name, text, complaint):
    (tmp_path / name).write_text(text)
    with pytest.raises(SkyloomError, match=rf"{name}.*{complaint}"):
        read(tmp_path / name)


def test_a_folder_without_tables_is_refused(tmp_path):
    with pytest.raises(SourceError, match="holds no profile table"):
        read(tmp_path)
    with pytest.raises(SourceError, match="no such file"):
        read(tmp_path / "nothing.csv")


@pytest.fixture
def survey(tmp_path):
    pixels = np.ones((3, 64, 64), np.float32)
    return store.write(tmp_path / "three.lance", INFO, (sl.Cutout(name, pixels, pixels) for name in IDS))


def test_ingest_keeps_profiles_in_the_survey_and_says_how_many(survey, tmp_path):
    path = flat(tmp_path, ".csv")
    with path.open("a", newline="") as file:
        csv.writer(file).writerows(["007", "i", r, s] for r, s in zip(SMA, SB, strict=True))
    answer = CliRunner().invoke(app, ["ingest", str(path), str(survey.path), "--profiles", "courteau", "--json"])
    assert answer.exit_code == 0, answer.output
    summary = json.loads(answer.stdout.splitlines()[-1])
    assert summary == {
        "survey": str(survey.path),
        "column": "profile_courteau",
        "profiles": 2,
        "objects": 2,
        "bands": ["r", "i"],
    }
    assert "2 profiles of 2 objects in r, i, in the column profile_courteau" in answer.output
    found = read_profiles(sl.open(survey.path), "profile_courteau")
    np.testing.assert_array_equal(found[0][1].sb, SB)
    np.testing.assert_array_equal(found[2][2].sma, SMA)


@pytest.mark.parametrize("option", [{"size": 64}, {"pixel_scale": 1.0}, {"skip_bad": True}, {"catalogue": "a.csv"}])
def test_no_other_option_goes_with_profiles(survey, tmp_path, option):
    with pytest.raises(RequestError, match="leave out all other options"):
        sl.ingest(flat(tmp_path, ".csv"), survey.path, profiles="mine", **option)


def test_profiles_need_a_survey_and_a_plain_name(survey, tmp_path):
    path = flat(tmp_path, ".csv")
    with pytest.raises(StoreError, match="no survey there to keep profiles in; ingest its images first"):
        sl.ingest(path, tmp_path / "none.lance", profiles="mine")
    with pytest.raises(RequestError, match="cannot be called 'my own'"):
        sl.ingest(path, survey.path, profiles="my own")
    path.unlink()
    with pytest.raises(CatalogueError):
        sl.ingest(flat(tmp_path, ".csv", sb=-SB), survey.path, profiles="mine")
    assert sl.open(survey.path).version == survey.version, "a refused table leaves the survey alone"


def test_measured_profiles_are_kept_on_request(tiny_survey):
    table = sl.profile(tiny_survey, band="r", ids=["galaxy-0", "galaxy-1"], keep=True)
    found = read_profiles(sl.open(tiny_survey.path), "profile_isophotes")
    assert found[2:] == [[None] * 3] * 6
    for row, (g, r, i) in zip(table.to_pylist(), found[:2], strict=True):
        assert g is None and i is None
        np.testing.assert_array_equal(r.sb, row["sb"])
        np.testing.assert_array_equal(r.angle, row["pa"])
    sl.export(sl.open(tiny_survey.path), tiny_survey.path.parent / "out", format="parquet")

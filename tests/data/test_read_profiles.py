"""Profiles that a survey holds: what was kept is what is read, and the truth of a mock likewise."""

import numpy as np
import pyarrow as pa
import pytest
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

import skyloom as sl
from skyloom.data import store
from skyloom.data.profiles import COLUMNS, LISTS, NO_WCS, Profile, keep_profiles, read_profiles, target_names
from skyloom.errors import CatalogueError, RequestError
from skyloom.sky.orientation import position_angle
from skyloom.sky.profiles import Flag

TURN = 25.0  # of north [deg], from +y towards −x


def cards() -> str:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ("RA---TAN", "DEC--TAN"), (150.0, 2.0), (3.0, 3.0)
    cos, sin = np.cos(np.radians(TURN)), np.sin(np.radians(TURN))
    wcs.wcs.cd = 0.2 / 3600 * np.array([[-cos, -sin], [-sin, cos]])
    return wcs.to_header_string()


def cutout(k: int) -> sl.Cutout:
    """Objects a, b, c …; every second one has a WCS."""
    pixels = np.ones((3, 8, 8), np.float32)
    return sl.Cutout("abcdef"[k], pixels, pixels, wcs=cards() if k % 2 == 0 else None)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    info = sl.SurveyInfo(tuple(sl.Band(name, 22.5) for name in "gri"), (8, 8), pixel_scale=0.2)
    return store.write(tmp_path_factory.mktemp("kept") / "six.lance", info, map(cutout, range(6))).path


def row(object_id="a", band="r", count=4, **facts) -> dict:
    lists = {"sma": np.arange(1.0, count + 1), "sb": np.linspace(20, 25, count), "pa": np.linspace(10, 40, count)}
    return {"object_id": object_id, "band": band, **lists, "x": 3.0, "y": 4.0, "mag": 17.0, "flag": 0, **facts}


def read(survey, *rows, name="test") -> list[list[Profile | None]]:
    return read_profiles(keep_profiles(survey, pa.Table.from_pylist(list(rows)), name), f"profile_{name}")


@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("gri")), unique=True, min_size=1))
def test_what_is_kept_is_read_at_its_object_and_band(path, pairs):
    found = read(sl.open(path), *(row(object_id, band, count=3 + k) for k, (object_id, band) in enumerate(pairs)))
    lengths = {("abcdef"[i], "gri"[b]): len(p.sma) for i, each in enumerate(found) for b, p in enumerate(each) if p}
    assert lengths == {pair: 3 + k for k, pair in enumerate(pairs)}
    assert len(found) == 6 and {len(each) for each in found} == {3}


def test_every_column_comes_back_and_what_was_not_given_is_null(path):
    given = row(sb_error=np.full(4, 0.1), ellipticity=np.full(4, 0.3), cog=np.arange(18.0, 14, -1), flag=NO_WCS)
    survey = keep_profiles(sl.open(path), pa.Table.from_pylist([given]), "all")
    stored = survey.table(["profile_all"])["profile_all"].to_pylist()[0][0]
    assert list(stored) == [column.name for column in COLUMNS[1:]]
    for name, value in stored.items():
        assert value is None if name not in given else np.array_equal(value, given[name])
    survey.verify()
    profile = read_profiles(survey, "profile_all")[0][1]
    for name in ("sma", "sb", "sb_error", "ellipticity", "cog"):
        np.testing.assert_array_equal(getattr(profile, name), given[name])
    assert (profile.x, profile.y, profile.mag) == (3.0, 4.0, 17.0)


def test_what_is_unknown_is_nan(path):
    lacking = {"object_id": "b", "band": "g", "sma": [1.0, 2.0], "sb": [20.0, 21.0]}
    profile = read(sl.open(path), lacking)[1][0]
    for name in ("sb_error", "ellipticity", "angle", "cog"):
        assert np.isnan(getattr(profile, name)).all() and len(getattr(profile, name)) == 2
    assert np.isnan([profile.x, profile.y, profile.mag]).all()


def test_position_angles_are_turned_into_the_frame_of_the_cutout(path):
    angle = np.array([10.0, 80, 120, 179])
    on_sky = position_angle(cards(), 3.0, 4.0, angle) % 180
    a, b, c = (each[1] for each in read(
        sl.open(path), row("a", pa=on_sky), row("b", pa=on_sky), row("c", pa=angle, flag=NO_WCS)
    )[:3])  # fmt: skip
    np.testing.assert_allclose(a.angle, angle, atol=1e-9)
    assert np.isnan(b.angle).all(), "a position angle says nothing in a cutout without WCS"
    np.testing.assert_array_equal(c.angle, angle)


def test_without_a_centre_the_middle_of_the_cutout_tells_where_north_is(path):
    found = read(sl.open(path), row(x=None, y=np.nan, pa=position_angle(cards(), 3.5, 3.5, np.full(4, 50.0))))[0][1]
    np.testing.assert_allclose(found.angle, 50, atol=1e-9)


def test_the_bit_is_that_of_the_flags():
    assert NO_WCS == Flag.NO_WCS


def test_an_empty_row_is_no_profile(path):
    empty = {name: [] for name in LISTS} | {"object_id": "a", "band": "r", "flag": int(Flag.NOTHING)}
    assert read(sl.open(path), empty, row("b"))[0] == [None, None, None]


def test_a_second_table_replaces_the_first(path):
    survey = keep_profiles(sl.open(path), pa.Table.from_pylist([row("a"), row("b")]), "twice")
    found = read(survey, row("c", "i"), name="twice")
    assert [[p is not None for p in each] for each in found[:3]] == [[False] * 3, [False] * 3, [False, False, True]]


def test_profiles_travel_through_parquet_into_another_survey(path, tmp_path):
    """A reader of rows gives columns that are all missing no type of their own."""
    survey = keep_profiles(sl.open(path), pa.Table.from_pylist([row(), row("b", "g")]), "far")
    sl.export(survey, tmp_path / "out", format="parquet")
    arrived = sl.ingest(tmp_path / "out", tmp_path / "there.lance")
    here, there = (read_profiles(one, "profile_far") for one in (survey, arrived))
    assert [[p is None for p in each] for each in here] == [[p is None for p in each] for each in there]
    np.testing.assert_array_equal(here[0][1].angle, there[0][1].angle)


def test_targets_are_the_truth_and_what_was_kept(path):
    survey = keep_profiles(sl.open(path), pa.Table.from_pylist([row()]), "mine")
    survey = survey.add_columns(pa.table({"object_id": ["a"], "profile_score": [1.0]}))
    assert "profile_mine" in target_names(survey) and "profile_score" not in target_names(survey)
    with pytest.raises(RequestError, match=r"no profiles 'true'; it has .*profile_mine"):
        read_profiles(survey, "true")


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([row("nobody")], "ids are not in six.lance: 'nobody'"),
        ([row(band="z")], "no band z in this survey; its bands are g, r, i"),
        ([row(), row()], "'a' has more than one profile in r"),
        ([row(sb=[20.0])], "4 radii and 1 values of sb"),
        ([{"object_id": "a", "band": "r"}], "a profile table needs sma, sb"),
        ([row(sma=["one", "two", "three", "four"])], "column 'sma' of a profile table must be list<"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_and_the_survey_left_alone(path, rows, complaint):
    survey = sl.open(path)
    with pytest.raises(CatalogueError, match=complaint):
        keep_profiles(survey, pa.Table.from_pylist(rows), "bad")
    assert sl.open(path).version == survey.version


@pytest.mark.parametrize("name", ["", "two words", "a.b", "1st", "ö"])
def test_a_name_that_is_no_identifier_is_refused(path, name):
    with pytest.raises(RequestError, match="letters, digits and underscores"):
        keep_profiles(sl.open(path), pa.Table.from_pylist([row()]), name)


def truth_columns(k: int) -> dict:
    """What a mock has in g and r, with numbers that tell object, band and PSF apart."""
    columns = {"true_sma": np.array([0.1, 1, 5], np.float32), "true_x": 30.0 + k, "true_y": 31.0}
    for band in "gr":
        columns[f"true_mag_{band}"] = 17.0 + k
        for mark in ("", "nopsf_"):
            level = 20 + k + (band == "r") * 0.1 + bool(mark) * 0.01
            for name in ("sb", "ellipticity", "pa", "cog"):
                columns[f"true_{name}_{mark}{band}"] = np.float32(level + np.arange(3))
    return columns


def test_the_truth_of_a_mock_is_read_with_and_without_psf(tmp_path):
    info = sl.SurveyInfo(tuple(sl.Band(name, 22.5) for name in "gri"), (8, 8), pixel_scale=0.2)
    pixels = np.ones((3, 8, 8), np.float32)
    mocks = (sl.Cutout(f"m{k}", pixels, pixels, columns=truth_columns(k) if k < 2 else {}) for k in range(3))
    survey = store.write(tmp_path / "mock.lance", info, mocks)
    assert target_names(survey) == ["true", "true_nopsf"]
    for target, more in (("true", 0.0), ("true_nopsf", 0.01)):
        found = read_profiles(survey, target)
        assert found[2] == [None, None, None] and found[0][2] is None
        profile = found[1][1]
        np.testing.assert_allclose(profile.sma, [0.1, 1, 5], rtol=1e-7)
        for name in ("sb", "ellipticity", "angle", "cog"):
            np.testing.assert_allclose(getattr(profile, name), 21.1 + more + np.arange(3), rtol=1e-6)
        assert np.isnan(profile.sb_error).all()
        assert (profile.x, profile.y, profile.mag) == (31.0, 31.0, 18.0)

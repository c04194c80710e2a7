"""Sides of a split are apart on the sky, complete, and the same every time."""

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import skyloom as sl
from skyloom.data import store
from skyloom.data.splits import split
from skyloom.errors import CatalogueError, RequestError, UnitError

THREE = {"train": 0.8, "validation": 0.1, "test": 0.1}
SIZE = 4


@pytest.fixture
def make(tmp_path):
    """A survey of tiny cutouts at given positions."""
    numbers = itertools.count()

    def make_survey(pixel_scale=1.0, **facts) -> sl.Survey:
        info = sl.SurveyInfo((sl.Band("r"),), (SIZE, SIZE), pixel_scale)
        flux = np.zeros((1, SIZE, SIZE), np.float32)
        keys = [key for key in facts if key in ("ra", "dec", "tile")]

        def cutouts():
            for row in range(len(next(iter(facts.values())))):
                fixed = {key: facts[key][row] for key in keys}
                columns = {key: float(facts[key][row]) for key in facts if key not in keys}
                yield sl.Cutout(f"o{row}", flux, flux + 1, columns=columns, **fixed)

        return store.write(tmp_path / f"{next(numbers)}.lance", info, cutouts())

    return make_survey


def sky(n=2000, width=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return {"ra": 359.9 + rng.uniform(0, width, n), "dec": rng.uniform(60, 60 + width, n)}


def wrapped(places):
    return {**places, "ra": places["ra"] % 360}


def apart(places, ids, others) -> float:
    """Smallest distance [arcsec] between two sets of objects."""
    rows, columns = ([int(name[1:]) for name in names] for names in (ids, others))
    ra, dec = np.radians(places["ra"]), np.radians(places["dec"])
    xyz = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], 1)
    return float(np.degrees(2 * np.arcsin(cdist(xyz[rows], xyz[columns]).min() / 2)) * 3600)


def names_of(result):
    return [*itertools.chain(*result.ids.values()), *result.left_out]


def test_every_object_is_on_one_side_or_listed_as_left_out(make):
    survey = make(**wrapped(sky()))
    result = split(survey, THREE, seed=1, margin=30.0)
    assert sorted(names_of(result)) == sorted(survey.table(["object_id"])["object_id"].to_pylist())
    assert 0 < len(result.left_out) < 500


def test_fractions_are_met_to_a_cell(make):
    result = split(make(**wrapped(sky())), THREE, seed=1)
    for side, fraction in THREE.items():
        assert len(result.ids[side]) / 2000 == pytest.approx(fraction, abs=0.04)
    assert "HEALPix" in result.cells


@pytest.mark.parametrize("seed", range(3))
def test_no_two_objects_nearer_than_the_margin_are_on_different_sides(make, seed):
    places = wrapped(sky())
    result = split(make(**places), THREE, seed=seed, margin=60.0)
    for one, other in itertools.combinations(THREE, 2):
        assert apart(places, result.ids[one], result.ids[other]) > 60


def test_the_same_seed_gives_the_same_split_whatever_the_order_of_the_rows(make):
    places = wrapped(sky(300))
    back = {key: values[::-1] for key, values in places.items()}
    first, again = split(make(**places), THREE, seed=5), split(make(**back), THREE, seed=5)
    for side in THREE:
        assert {f"o{299 - int(name[1:])}" for name in again.ids[side]} == set(first.ids[side])
    assert split(make(**places), THREE, seed=6).ids != first.ids


def test_overlapping_cutouts_of_one_mosaic_are_never_on_two_sides(make):
    rng = np.random.default_rng(2)
    xy = rng.integers(0, 400, (1500, 2)).astype(float)
    survey = make(pixel_scale=None, x=xy[:, 0], y=xy[:, 1], tile=["field"] * 1500)
    result = split(survey, THREE, seed=0)
    assert "blocks" in result.cells
    assert sorted(names_of(result)) == sorted(f"o{row}" for row in range(1500))
    for one, other in itertools.combinations(THREE, 2):
        rows, columns = ([int(name[1:]) for name in result.ids[side]] for side in (one, other))
        assert cdist(xy[rows], xy[columns], "chebyshev").min() >= SIZE
    assert min(map(len, result.ids.values())) > 50


def test_two_mosaics_with_the_same_pixels_do_not_push_each_other_out(make):
    x = np.tile(np.arange(0, 400, 40.0), 20)
    y = np.repeat(np.arange(0, 800, 40.0), 10) % 400
    survey = make(x=x, y=y, tile=["a"] * 100 + ["b"] * 100)
    assert not split(survey, THREE, seed=0, cell=80, margin=5).left_out


def test_without_positions_whole_tiles_are_dealt(make):
    tiles = [f"t{row // 5}" for row in range(100)]
    result = split(make(tile=tiles), THREE, seed=0)
    homes = {side: {tiles[int(name[1:])] for name in ids} for side, ids in result.ids.items()}
    assert not homes["train"] & homes["test"] and not homes["train"] & homes["validation"]
    assert not result.left_out and result.cells == "20 tiles"


def test_a_position_that_is_missing_for_one_object_is_not_used_for_any(make):
    places = wrapped(sky(20))
    ra = [None, *places["ra"][1:]]
    result = split(make(ra=ra, dec=places["dec"], tile=[f"t{row // 2}" for row in range(20)]), THREE, seed=0)
    assert result.cells == "10 tiles"


@pytest.mark.parametrize(
    ("facts", "arguments", "error", "words"),
    [
        ({"tile": ["one"] * 9}, {}, RequestError, "1 cell"),
        ({"tile": list("abcdef")}, {"margin": 3.0}, CatalogueError, "no positions"),
        ({"ra": [1.0, 2], "dec": [0.0, 0], "pixel_scale": None}, {}, UnitError, "margin=ARCSEC"),
        ({"ra": [1.0, 1.0], "dec": [0.0, 0.0]}, {}, RequestError, "1 cell"),
    ],
)
def test_a_split_that_cannot_be_made_says_why(make, facts, arguments, error, words):
    with pytest.raises(error, match=words):
        split(make(**facts), {"train": 0.5, "test": 0.5}, seed=0, **arguments)


@pytest.mark.parametrize("fractions", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}])
def test_fractions_that_are_not_fractions_are_refused(make, fractions):
    with pytest.raises(RequestError, match="sum to 1"):
        split(make(tile=["a", "b"]), fractions, seed=0)

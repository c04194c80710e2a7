"""Tables compared with references: a table is its own, a shift is found as it is, and what is missing is counted."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyloom.data.mocks.mock import mock
from skyloom.data.profiles import COLUMNS
from skyloom.errors import CatalogueError
from skyloom.infer.profiles import profile
from skyloom.metrics.profiles import BINS, QUANTILES, agreement, deviations, judge, missing, profile_medians
from skyloom.metrics.references import mean_profile, saying, truth_table
from skyloom.metrics.shapes import judge_shapes, scalar_deviations, shape_deviations
from skyloom.sky.profiles import Flag

RADII = np.geomspace(0.3, 12, 40)


def a_table(count=4, bands="r", radii=RADII, bright=0.0, turn=0.0, flag=int(Flag.NO_WCS), drop=(), **columns):
    """Exponential discs of growing size and brightness, one row per disc and band, shifted and turned at will."""
    rows = []
    for k in range(count):
        for j, band in enumerate(bands):
            sb = 20 + 0.3 * k + 0.2 * j + bright + 1.0857 * radii / (1.5 + 0.3 * k)
            row = {"object_id": f"disc-{k}", "band": band, "x": 31.5, "y": 31.5, "sma": radii, "sb": sb}
            row |= {"sb_error": np.full(len(radii), 0.1), "ellipticity": 0.3 + 0.02 * np.log(radii + 1e-3)}
            row |= {
                "ellipticity_error": np.full(len(radii), 0.01),
                "pa": (20 * k + 3 * np.log(radii + 1e-3) + turn) % 180,
            }
            row |= {"pa_error": np.ones(len(radii)), "cog": sb - 3, "mag": 17.0 + bright, "r_e": 3.0, "flag": flag}
            rows.append(row | {name: np.full(len(radii), value) for name, value in columns.items()})
    fields = [pa.field(c.name, c.kind) for c in COLUMNS]
    fields += [pa.field(name, pa.list_(pa.float64())) for name in columns]
    return pa.Table.from_pylist(rows, pa.schema(fields)).drop_columns(list(drop))


@pytest.fixture(scope="module")
def mocks(tmp_path_factory):
    """Six mock galaxies in two bands."""
    return mock(tmp_path_factory.mktemp("mocks") / "mocks.lance", n=6, size=96, bands="gr", seed=5)


@given(st.floats(-1, 1), st.floats(0.5, 1.9))
def test_a_shift_in_brightness_is_the_deviation_at_any_radii(shift, step):
    table = a_table(radii=0.31 * step ** np.arange(4), bright=shift)
    points = deviations(table, a_table())
    assert len(points.radius) and points.deviation == pytest.approx(shift, abs=2e-4)  # of the cubic on 10 % rings
    assert points.sb - points.reference == pytest.approx(points.deviation)


def test_nothing_is_extrapolated_and_a_radius_of_zero_is_no_point():
    points = deviations(a_table(radii=np.array([0.0, 0.1, 1.0, 5.0, 50.0])), a_table())
    assert set(points.radius) == {1.0, 5.0}


def test_rows_meet_by_object_and_band_in_any_order():
    table, reference = a_table(bands="gr", bright=0.5), a_table(bands="rg")
    swapped = reference.take([7, 2, 3, 0, 1, 6, 5, 4])
    points = deviations(table, swapped)
    expected = np.where(points.row % 2 == 0, 0.5 - 0.2, 0.5 + 0.2)  # g is written first here, second there
    assert points.deviation == pytest.approx(expected, abs=2e-4)
    assert (points.galaxy == points.row // 2).all()


def test_rows_without_a_counterpart_are_left_out_and_none_at_all_is_an_error():
    points = deviations(a_table(4), a_table(2))
    assert set(points.row) == {0, 1}
    with pytest.raises(CatalogueError, match="no object and band"):
        deviations(a_table(bands="g"), a_table(bands="r"))
    with pytest.raises(CatalogueError, match="twice"):
        deviations(pa.concat_tables([a_table(), a_table()]), a_table())


def test_stated_quantiles_ride_along_and_are_nan_where_none_are_stated():
    stated = {name: 21.0 + k for k, name in enumerate(QUANTILES.values())}
    points = deviations(a_table(**stated), a_table())
    assert points.quantiles[:, 0].tolist() == [21, 22, 23, 24]
    bare = deviations(a_table(drop=["sb_error"]), a_table())
    assert np.isnan(bare.quantiles).all() and np.isnan(bare.error).all() and len(bare.radius) == len(points.radius)


def test_a_median_of_medians_counts_each_profile_once():
    medians, rows = profile_medians(np.array([1.0, 1, 1, 1, 5, 6, 7]), np.array([3, 3, 3, 3, 8, 8, 8]))
    assert medians.tolist() == [1, 6] and rows.tolist() == [3, 8]
    assert len(profile_medians(np.array([]), np.array([], int))[0]) == 0


def test_bins_are_of_the_reference_and_hold_every_point_once():
    table = a_table(8, bands="gr", bright=0.25)
    first, second, third, every = judge(table, a_table(8, bands="gr"))
    assert first.points.median.n + second.points.median.n + third.points.median.n == every.points.median.n
    assert every.profiles.median.n == 16 and every.profiles.median.value == pytest.approx(0.25, abs=1e-3)
    assert every.bias.median.value == pytest.approx(0.25, abs=1e-3) and every.profiles.median.unit == "mag / arcsec2"


def test_profiles_that_end_too_early_are_counted():
    reference = a_table()
    early, whole = a_table(radii=RADII[RADII < 2]), a_table()
    unreached, short = missing(early, reference, 24.5, 26.5)
    assert (unreached, short) == (4, 4) and missing(whole, reference, 24.5, 26.5) == (0, 0)
    assert missing(early, reference, 0.0, 22.5) == (0, 4) and missing(early, reference, 40.0, 50.0) == (0, 0)
    empty = a_table(radii=np.array([]))
    assert judge(empty, reference)[0].unreached == 4 and judge(empty, reference)[0].profiles.median.n == 0


@given(st.floats(-89, 89))
def test_a_turn_is_found_modulo_half_a_circle(turn):
    shapes = shape_deviations(a_table(turn=turn), a_table())
    assert shapes.pa == pytest.approx(turn, abs=1e-6) and shapes.ellipticity == pytest.approx(0, abs=1e-12)


def test_round_references_and_other_zero_points_of_angles_have_no_position_angle():
    rounder = a_table()
    rounder = rounder.set_column(
        rounder.column_names.index("ellipticity"), "ellipticity", pa.array([np.full(40, 0.05)] * 4)
    )
    assert np.isnan(shape_deviations(a_table(), rounder).pa).all()
    assert np.isnan(shape_deviations(a_table(flag=0), a_table()).pa).all()
    assert np.isfinite(shape_deviations(a_table(), a_table()).pa).all()


def test_totals_and_sizes_are_compared_row_by_row():
    found = scalar_deviations(a_table(bright=0.3), a_table())
    assert (
        found["mag"] == pytest.approx(0.3) and found["centre"] == pytest.approx(0) and found["r_e"] == pytest.approx(0)
    )


def test_a_table_without_geometry_has_no_score_of_it():
    blank = a_table()
    for name in ("ellipticity", "pa"):
        blank = blank.set_column(blank.column_names.index(name), name, pa.array([np.full(40, np.nan)] * 4))
    found = judge_shapes(blank, a_table())
    assert found["ellipticity"].median.n == found["pa"].median.n == 0 and np.isnan(found["pa"].median.value)
    assert found["mag"].median.n == 4


def test_the_truth_of_mocks_is_a_profile_table_and_its_own_reference(mocks):
    truth = truth_table(mocks)
    assert truth.column_names == [column.name for column in COLUMNS] and len(truth) == 12
    assert all(b.points.median.value == pytest.approx(0, abs=1e-9) for b in judge(truth, truth) if b.points.median.n)
    assert all(one.median.value == pytest.approx(0, abs=1e-9) for one in judge_shapes(truth, truth).values())
    assert len(truth_table(mocks, "r", ids=[truth["object_id"][0].as_py()])) == 1


def test_measured_mocks_lie_near_their_truth(mocks):
    table, truth = profile(mocks), truth_table(mocks)
    bright = judge(table, truth)[0]
    assert bright.profiles.median.value < 0.03 and bright.unreached == 0
    shapes = judge_shapes(table, truth)
    assert shapes["centre"].median.value < 0.5 and shapes["ellipticity"].median.value < 0.05


def test_only_mocks_know_the_truth(tiny_survey):
    with pytest.raises(CatalogueError, match="true_x"):
        truth_table(tiny_survey)


def test_the_mean_profile_is_the_mean_and_worse_than_the_galaxy_itself():
    reference = a_table(5)
    sma, sb = mean_profile(reference)
    assert sb == pytest.approx(np.interp(sma, RADII, np.mean(reference["sb"].to_pylist(), 0)), abs=5e-3)
    assert sma[0] == pytest.approx(RADII[0]) and sma[-1] == pytest.approx(RADII[-1])
    baseline = saying({"r": (sma, sb)}, reference)
    assert baseline.column_names == reference.column_names
    found = judge(baseline, reference)[-1]
    assert found.profiles.median.value > 0.1 and found.unreached == 0 and found.profiles.median.n == 5


def test_points_beyond_the_faintest_do_not_enter_the_mean():
    assert mean_profile(a_table(1), 23.0)[1].max() < 23
    with pytest.raises(CatalogueError, match="at least one"):
        mean_profile(a_table(1), 10.0)


def test_the_bins_end_where_the_thesis_ends():
    assert BINS[-1] == (0.0, 26.5)  # the limiting surface brightness of SDSS


def test_agreement_is_within_the_errors_of_both():
    one, other = a_table(bright=0.25), a_table()  # each with errors of 0.1: 0.14 together
    assert agreement(deviations(one, other)).value == 1 - agreement(deviations(one, other), 1.5).value == 1
    alone = a_table(drop=["sb_error"])
    assert agreement(deviations(one, alone)).value == 0 and agreement(deviations(one, alone), 3.0).value == 1
    assert agreement(deviations(alone, alone)).n == 0


def test_a_list_that_a_row_lacks_is_unknown():
    table = a_table()
    without = pa.array([None, *table["sb_error"].to_pylist()[1:]], pa.list_(pa.float64()))
    points = deviations(table.set_column(table.column_names.index("sb_error"), "sb_error", without), table)
    assert np.isnan(points.error[points.row == 0]).all() and np.isfinite(points.error[points.row > 0]).all()

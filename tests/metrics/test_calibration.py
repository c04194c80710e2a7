"""Intervals that hold what they state, and factors that make them: nominal on exchangeable data, not on others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from skyloom.errors import RequestError
from skyloom.metrics.calibration import (
    LEVELS,
    conformal_factor,
    coverage,
    interval,
    misses,
    shift_report,
    verdict,
    widened,
)
from skyloom.metrics.profiles import QUANTILES, Points

seeds = st.integers(0, 2**32 - 1)


def some_points(count=4000, stated=0.2, true=0.2, quantiles=False, per_galaxy=10, shared=0.0, seed=0):
    """Predictions about a truth with normal errors; `shared` of their variance is common to a galaxy's points."""
    rng = np.random.default_rng(seed)
    galaxy = np.arange(count) // per_galaxy
    noise = np.sqrt(1 - shared) * rng.normal(size=count) + np.sqrt(shared) * rng.normal(size=galaxy[-1] + 1)[galaxy]
    reference = rng.uniform(20, 26.4, count)
    sb = reference + true * noise
    q = sb + norm.ppf(list(QUANTILES))[:, None] * stated if quantiles else np.full((len(QUANTILES), count), np.nan)
    error = np.full(count, np.nan if quantiles else stated)
    return Points(np.ones(count), sb, reference, error, np.full(count, np.nan), q, galaxy, galaxy)


def one_sample(rng, count, bins=1):
    """Skewed errors about a prediction, with half-widths that differ from point to point and say too little."""
    predicted, width, label = rng.normal(22, 2, count), rng.uniform(0.05, 0.3, count), rng.integers(0, bins, count)
    target = predicted + (1 + label) * width * (rng.exponential(1, count) - 0.5)
    return predicted, predicted - width, predicted + 0.7 * width, target, label


@pytest.mark.parametrize("quantiles", [False, True])
@pytest.mark.parametrize("level", [0.5, 0.68, 0.8, 0.9, 0.95])
def test_intervals_of_a_normal_law_hold_their_level(quantiles, level):
    share = coverage(some_points(quantiles=quantiles), level)[-1].share
    assert share.value == pytest.approx(level, abs=4 * (level * (1 - level) / 4000) ** 0.5)  # 4σ, binomial


def test_stated_quantiles_are_the_ends_and_bind_before_the_error():
    points = some_points(50, quantiles=True)._replace(error=np.full(50, 99.0))
    assert interval(points, 0.68)[0] == pytest.approx(points.quantiles[1])
    assert interval(points, 0.90)[1] == pytest.approx(points.quantiles[3])


def test_wider_levels_hold_more():
    points = some_points(400, quantiles=True)
    ends = [interval(points, level) for level in (0.1, 0.5, 0.68, 0.8, 0.9, 0.95, 0.99)]
    assert (np.diff([low for low, _ in ends], axis=0) < 0).all() and (np.diff([up for _, up in ends], axis=0) > 0).all()


def test_points_without_an_interval_are_left_out():
    points = some_points(300)
    holes = points._replace(error=np.where(np.arange(300) < 100, np.nan, points.error))
    assert coverage(holes)[-1].share.n == 200 and coverage(holes)[-1].galaxies == 20


def test_the_error_of_a_share_is_binomial_for_single_points_and_larger_for_galaxies_that_move_as_one():
    alone = coverage(some_points(per_galaxy=1))[-1].share.error
    assert alone == pytest.approx((0.68 * 0.32 / 4000) ** 0.5, rel=0.15)
    assert coverage(some_points(shared=0.9))[-1].share.error > 2 * alone


def test_bins_are_of_the_reference_or_of_the_prediction():
    points = some_points()._replace(reference=np.full(4000, 22.0))
    assert [one.share.n for one in coverage(points)] == [4000, 0, 0, 4000]
    assert coverage(points, by="predicted")[1].share.n == ((points.sb >= 22.5) & (points.sb < 24.5)).sum()
    with pytest.raises(RequestError, match="predicted"):
        coverage(points, by="luck")


@pytest.mark.parametrize("level", LEVELS)
def test_widened_intervals_hold_the_level_in_every_bin(level):
    rng, held = np.random.default_rng(3), []
    for _ in range(40):
        *seen, label = one_sample(rng, 600, 3)
        factor = conformal_factor(*seen, label, np.arange(600), level)
        predicted, lower, upper, target, label = one_sample(rng, 600, 3)
        low, high = widened(predicted, lower, upper, factor[label])
        held.append([((target >= low) & (target <= high))[label == k].mean() for k in range(3)])
    assert np.mean(held, 0) == pytest.approx(level, abs=0.02)  # 200 + 200 points a bin, 40 times: 0.006 is 1σ


@given(seeds, st.integers(1, 30), st.floats(0.05, 0.95))
def test_the_factor_is_the_smallest_score_that_covers_enough(seed, count, level):
    """The (n + 1) correction: k of n scores lie within, and k is the least with k ≥ (n + 1) level."""
    *sample, label = one_sample(np.random.default_rng(seed), count)
    factor = conformal_factor(*sample, label, np.arange(count), level)[0]
    inside = (misses(*sample) <= factor).sum()
    needed = int(np.ceil((count + 1) * level - 1e-9))
    assert factor >= 0 and (inside == needed if needed <= count else np.isinf(factor))


@given(seeds, st.floats(-50, 50), st.floats(0.01, 100))
def test_factors_do_not_depend_on_the_zero_or_the_unit_of_the_scale(seed, shift, scale):
    *sample, label = one_sample(np.random.default_rng(seed), 60, 2)
    before = conformal_factor(*sample, label, np.arange(60), 0.68)
    after = conformal_factor(*(shift + scale * part for part in sample), label, np.arange(60), 0.68)
    assert after == pytest.approx(before, rel=1e-6)


def test_a_galaxy_repeated_is_no_second_galaxy():
    *sample, label = one_sample(np.random.default_rng(4), 12)
    repeated = [np.repeat(part, 50) for part in sample]
    group = np.repeat(np.arange(12), 50)
    alone = conformal_factor(*sample, label, np.arange(12), 0.9)
    assert conformal_factor(*repeated, np.repeat(label, 50), group, 0.9) == pytest.approx(alone)
    assert np.isinf(conformal_factor(*repeated, np.repeat(label, 50), group, 0.95)[0])  # 12 galaxies promise 12/13


def test_bins_without_points_promise_nothing_and_points_without_an_interval_do_not_count():
    *sample, _ = one_sample(np.random.default_rng(5), 100)
    label = np.full(100, 2)
    factors = conformal_factor(*sample, label, np.arange(100), 0.68)
    assert np.isinf(factors[:2]).all() and np.isfinite(factors[2])
    sample[1] = np.where(np.arange(100) < 95, np.nan, sample[1])
    assert np.isinf(conformal_factor(*sample, label, np.arange(100), 0.9)[2])


def test_an_interval_without_width_is_missed_by_any_distance():
    zero, one = np.zeros(2), np.array([0.0, 1.0])
    assert misses(zero, zero, zero, one).tolist() == [0, np.inf]


def test_intervals_that_hold_are_said_to_hold_and_a_shift_shows():
    calibrated, shifted = some_points(), some_points(true=0.3)
    assert shift_report(calibrated).holds
    found = shift_report(shifted)
    assert not found.holds and all("too narrow" in line for line in found.lines)
    assert any("too wide" in line for line in shift_report(some_points(true=0.1)).lines)


def test_few_galaxies_are_said_to_be_few_and_no_points_hold_nothing():
    few = verdict(coverage(some_points(40, true=0.22, shared=0.5, seed=1), 0.68))
    assert few.holds or any("too few galaxies" in line for line in few.lines)
    nothing = verdict(coverage(some_points(10)._replace(reference=np.full(10, 30.0))))
    assert not nothing.holds and nothing.lines == ()

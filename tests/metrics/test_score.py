"""Medians and means with errors: what is not measured does not count, and what moves together counts once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyloom.metrics.score import mean, median, spread

values = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40)


@pytest.mark.parametrize("score, known", [(mean, np.mean), (median, np.median)])
@given(numbers=values, holes=st.integers(0, 4))
def test_what_was_not_measured_does_not_count(score, known, numbers, holes):
    found = score(np.array(numbers + [np.nan] * holes), "mag", resamples=5)
    assert found.value == pytest.approx(known(numbers)) and found.n == len(numbers) and found.unit == "mag"


@pytest.mark.parametrize("score", [mean, median])
@given(numbers=values, shift=st.floats(-100, 100), scale=st.floats(0.1, 10))
def test_shifting_and_scaling_the_values_shifts_and_scales_the_score(score, numbers, shift, scale):
    numbers = np.array(numbers)
    before, after = score(numbers, resamples=20), score(shift + scale * numbers, resamples=20)
    assert after.value == pytest.approx(shift + scale * before.value, abs=1e-6)
    assert after.error == pytest.approx(scale * before.error, abs=1e-6)


@pytest.mark.parametrize("score, theory", [(mean, 1.0), (median, 1.2533)])  # √(π/2) for the median of a normal law
def test_the_error_is_that_of_theory(score, theory):
    found = score(np.random.default_rng(0).normal(size=2000))
    assert found.error == pytest.approx(theory / 2000**0.5, rel=0.2)  # 300 resamples: 4 %, and the law's own scatter


@pytest.mark.parametrize("score", [mean, median])
def test_values_repeated_within_a_group_add_no_certainty(score):
    once = np.random.default_rng(1).normal(size=300)
    alone, together = score(once), score(np.repeat(once, 9), group=np.repeat(np.arange(300), 9))
    assert together.value == pytest.approx(alone.value)
    assert together.error == pytest.approx(alone.error)
    assert score(np.repeat(once, 9)).error < 0.5 * together.error


@pytest.mark.parametrize("score", [mean, median])
def test_nothing_gives_nan_and_one_group_gives_no_error(score):
    assert np.isnan(score(np.array([np.nan])).value) and score(np.array([])).n == 0
    assert np.isnan(score(np.ones(5), group=np.zeros(5, int)).error)


def test_a_spread_has_the_quartiles():
    found = spread(np.array([1.0, 2, 3, 4, np.nan, 5]), "deg")
    assert (found.low, found.median.value, found.high, found.iqr) == (2, 3, 4, 2)
    assert np.isnan(spread(np.array([])).iqr)

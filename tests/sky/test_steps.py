"""Profiles on equal steps: straight lines survive, gaps are bridged, and the cuts fall where their rules say."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from skyloom.sky.steps import STEP, cut_at_limit, cut_at_noise, on_steps


@given(st.floats(15, 25), st.floats(0, 1), st.lists(st.floats(0.05, 3), min_size=2, max_size=30))
def test_a_straight_profile_stays_straight_and_ends_within_a_step_of_its_end(centre, slope, gaps):
    sma = np.cumsum(gaps)
    steps = on_steps(sma, centre + slope * sma)
    radius = STEP * np.arange(len(steps))
    np.testing.assert_allclose(steps, centre + slope * np.maximum(radius, sma[0]), atol=1e-4)
    assert -1e-5 <= sma[-1] - radius[-1] < STEP


def test_points_that_were_not_measured_are_bridged_inside_and_dropped_outside():
    sma = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
    sb = np.array([20.0, np.nan, 22.0, np.nan, np.nan])
    np.testing.assert_allclose(on_steps(sma, sb), [20, 20, 21, 22], atol=1e-5)
    assert not len(on_steps(sma, np.full(5, np.nan)))


def test_a_radius_on_a_step_is_a_step():
    assert len(on_steps(np.array([0.1, 0.6]), np.array([20.0, 21.0]))) == 4  # 0, 0.2, 0.4, 0.6


def test_the_limit_cuts_at_its_first_fainter_step():
    sb = np.array([20.0, 22.0, 26.5, 26.6, 25.0, np.nan])
    assert cut_at_limit(sb, 26.5).tolist() == [20.0, 22.0, 26.5]
    assert cut_at_limit(sb[:2], 26.5).tolist() == [20.0, 22.0]
    assert not len(cut_at_limit(sb, 19.0))


def test_a_steady_signal_is_cut_where_noise_takes_over():
    rng = np.random.default_rng(0)
    intensity = np.concatenate([np.full(200, 10.0), np.zeros(200)]) + rng.normal(0, 1, 400)
    end = len(cut_at_noise(intensity))
    assert 180 <= end <= 200  # the window is half over the edge when its mean is its standard deviation
    assert len(cut_at_noise(intensity[:200])) == 200
    assert len(cut_at_noise(intensity[:30])) == 30


@given(st.floats(1, 100), st.floats(1e-3, 1e3))
def test_a_noiseless_exponential_is_cut_at_once_or_never_by_its_scale_length(scale, brightness):
    intensity = brightness * np.exp(-STEP * np.arange(200) / scale)
    end = len(cut_at_noise(intensity))
    if abs(scale - 4.5) > 0.1:  # arcsec; (mean / standard deviation)² of a window is the same everywhere, and 4 here
        assert end == (20 if scale < 4.5 else 200)

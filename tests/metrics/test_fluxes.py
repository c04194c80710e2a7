"""Flux ratios: what is made fainter by a factor says that factor, with an error that holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.metrics.distances import trial
from skyloom.metrics.fluxes import flux_ratios
from skyloom.metrics.photometry import Photometry


def population(n: int, seed: int, fainter: float = 0.0) -> Photometry:
    magnitudes = 20 + np.random.default_rng(seed).normal(0, 0.5, (n, 2)) + fainter
    return Photometry(("g", "r"), magnitudes, np.ones(n), "r")


@settings(max_examples=20, deadline=None)
@given(fainter=st.floats(-1, 1))
def test_the_ratio_is_the_factor_by_which_the_same_galaxies_are_fainter(fainter):
    real = population(60, 0)
    fake = Photometry(real.bands, real.magnitudes + fainter, real.r_e, "r")
    rows = trial(60, 60, shuffled=False)
    assert [one.name for one in flux_ratios(real, fake, rows)] == [
        f"{band} {of}, real / fake" for band in "gr" for of in ("mean", "median")
    ]
    for one in flux_ratios(real, fake, rows):
        assert one.score.value == pytest.approx(10 ** (0.4 * fainter), rel=1e-9)


def test_intervals_hold_the_truth_as_often_as_they_say():
    held = []
    for seed in range(40):
        rows = trial(400, 200, seed=seed)
        for one in flux_ratios(population(400, 2 * seed), population(200, 2 * seed + 1, 0.2), rows):
            held.append(one.low <= 10**0.08 <= one.high)
    assert 0.88 <= np.mean(held) <= 1.0


def test_a_missing_factor_is_seen_and_none_is_not():
    rows = trial(400, 200)
    same, faint = (flux_ratios(population(400, 1), population(200, 2, fainter), rows) for fainter in (0.0, 0.3))
    assert all(one.p > 0.01 and one.null.value == pytest.approx(1, abs=0.02) for one in same)
    assert all(one.p < 0.01 for one in faint)


def test_flux_below_zero_counts_as_none_and_nothing_at_all_is_nan():
    real, fake = population(50, 0), population(50, 0)
    fake.magnitudes[:25, 0] = np.nan
    fake.magnitudes[:, 1] = np.nan
    g_mean, _, r_mean, r_median = flux_ratios(real, fake, trial(50, 50, shuffled=False))
    assert g_mean.score.value > 1.5
    assert np.isnan([r_mean.score.value, r_median.score.value]).all()

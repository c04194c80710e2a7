"""Counts of sources, and how alike two skies are: against scipy, Poisson's law and made-up clusters."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from skyloom.errors import RequestError
from skyloom.metrics.counts import (
    FieldSources,
    completeness_limit,
    field_sources,
    likeness,
    number_counts,
    two_point,
)


def strewn(x, y, side=256, good=None):
    n = len(x)
    good = np.ones((1, side, side), bool) if good is None else good
    return FieldSources(("r",), np.zeros(n, int), x, y, np.full((n, 1), 20.0), np.ones(n), np.ones(n), good)


def test_counts_are_per_magnitude_and_area_with_poissons_error():
    found = number_counts(np.array([20.1, 20.2, 20.7, np.nan, 25]), 2.0, np.array([20, 20.5, 21]))
    np.testing.assert_allclose(found.density, [2, 1])
    np.testing.assert_allclose(found.error, [np.sqrt(2), 1])


def test_the_limit_is_where_counts_begin_to_fall():
    rng = np.random.default_rng(0)
    rising = 24 + np.log10(rng.random(4000)) / 0.35
    seen = rng.random(4000) < 1 / (1 + np.exp((rising - 23.1) / 0.1))
    assert completeness_limit(rising[seen]) in (23.0, 23.5)
    assert np.isnan(completeness_limit(rising[:5]))


def test_likeness_is_scipys_test_and_the_shift_of_the_median():
    rng = np.random.default_rng(1)
    real, fake = rng.normal(22, 1, 300), rng.normal(22.3, 1, 500)
    found = likeness("r", np.append(real, np.nan), fake)
    test = ks_2samp(real, fake)
    assert (found.apart, found.p) == (test.statistic, test.pvalue)
    assert found.shift.value == pytest.approx(0.3, abs=3 * found.shift.error)
    assert found.shift.error == pytest.approx(1.25 * np.hypot(1 / 300**0.5, 1 / 500**0.5), rel=0.3)
    assert np.isnan(likeness("r", real[:3], fake).p)


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.5, 1.0])
def test_likeness_grows_with_what_is_wrong(shift):
    rng = np.random.default_rng(2)
    real, fake = rng.normal(size=400), rng.normal(size=400)
    assert likeness("r", real, fake + shift).apart <= likeness("r", real, fake + shift + 0.5).apart


def test_random_positions_do_not_cluster_also_behind_a_mask():
    rng = np.random.default_rng(3)
    good = np.ones((6, 256, 256), bool)
    good[:, 60:140, 100:] = False
    piece, y, x = (values[:1500] for values in np.nonzero(rng.random(good.shape) < 0.01 * good))
    order = rng.permutation(len(piece))
    sources = FieldSources(("r",), piece[order], x[order], y[order], np.zeros((len(piece), 1)), x * 1.0, x * 1.0, good)
    found = two_point(sources, np.array([4, 16, 48, 100.0]))
    assert (np.abs(found.w) < 4 * np.maximum(found.error, 0.01)).all()


def test_clusters_show_at_their_own_size():
    rng = np.random.default_rng(4)
    centres = rng.uniform(20, 236, (40, 2))
    points = (centres[:, None] + rng.normal(0, 4, (40, 8, 2))).reshape(-1, 2)
    found = two_point(strewn(points[:, 0], points[:, 1]), np.array([1, 8, 40, 100.0]))
    assert found.w[0] > 5
    assert abs(found.w[2]) < 0.3


def test_too_few_sources_to_pair_are_refused():
    with pytest.raises(RequestError, match="clustering needs"):
        two_point(strewn(np.arange(3.0), np.arange(3.0)), np.array([1, 2.0]))


def test_sources_of_pieces_are_those_that_were_put_in(pieces):
    ids = pieces.table(["object_id"])["object_id"].to_pylist()
    found = field_sources(pieces, ids, (1.0, 2.0))
    assert found.bands == ("g", "r")
    assert found.good.shape == (12, 96, 96)
    assert 8 * 12 < len(found.x) < 22 * 12
    # r has twice the flux and a zero point larger by 1
    colour = (found.magnitudes[:, 0] - found.magnitudes[:, 1])[found.snr > 30]
    assert np.median(colour) == pytest.approx(-1 + 2.5 * np.log10(2), abs=0.03)
    few = field_sources(pieces, ids, (2.0,), bands=("r",), peak=20)
    assert few.bands == ("r",)
    assert 0 < len(few.x) < len(found.x)

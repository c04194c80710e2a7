"""Fréchet and kernel distances: closed forms, an independent square root, their nulls, and graded damage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from skyloom.errors import CatalogueError, RequestError
from skyloom.metrics.features import frechet_distance, kernel_distance, random_features


def normal(n, seed, shift=0.0, scale=1.0, d=6):
    return np.random.default_rng(seed).normal(shift, scale, (n, d))


def whitened(rows):
    """The same rows with a mean of 0 and a covariance of exactly 1."""
    rows = rows - rows.mean(0)
    return rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T))).T


@pytest.fixture(scope="module")
def real_features(real):
    return random_features(np.arcsinh(real))


@given(shift=st.floats(-3, 3), scale=st.floats(0.1, 3))
def test_normal_laws_are_as_far_apart_as_the_closed_form_says(shift, scale):
    one = whitened(normal(60, 0))
    expected = 6 * shift**2 + 6 * (scale - 1) ** 2
    assert frechet_distance(one, scale * whitened(normal(50, 1)) + shift).value == pytest.approx(expected, abs=1e-6)


def test_the_square_root_is_that_of_scipy():
    rng = np.random.default_rng(0)
    one, other = normal(80, 1) @ rng.normal(size=(6, 6)), normal(70, 2) @ rng.normal(size=(6, 6)) + 1
    shift, a, b = one.mean(0) - other.mean(0), np.cov(one.T), np.cov(other.T)
    expected = shift @ shift + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(one, other).value == pytest.approx(expected, rel=1e-6)


@given(turn=st.integers(0, 100), shift=st.floats(-10, 10))
def test_turning_and_shifting_the_space_of_features_moves_nothing_apart(turn, shift):
    rotation = np.linalg.qr(np.random.default_rng(turn).normal(size=(6, 6)))[0]
    one, other = normal(40, 1), normal(30, 2, 0.5, 1.5)
    before, after = frechet_distance(one, other), frechet_distance(one @ rotation + shift, other @ rotation + shift)
    assert after.value == pytest.approx(before.value, rel=1e-6) and after.error == pytest.approx(before.error, rel=1e-4)


def test_fewer_rows_than_features_have_a_distance_still():
    one = normal(20, 0, d=64)
    assert frechet_distance(one, one).value == pytest.approx(0, abs=1e-4)
    assert np.isfinite(frechet_distance(one, normal(15, 1, d=64)).value)


def test_the_kernel_distance_is_the_sum_over_pairs():
    one, other = normal(7, 0, d=3), normal(5, 1, 0.5, d=3)

    def kernel(x, y):
        return (x @ y / 3 + 1) ** 3

    within = [
        np.mean([kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j])
        for rows in (one, other)
    ]
    across = np.mean([kernel(x, y) for x in one for y in other])
    assert kernel_distance(one, other).value == pytest.approx(sum(within) - 2 * across)


def test_the_kernel_distance_has_no_bias_and_the_frechet_distance_has_one_that_falls_with_n():
    nulls = {n: [(normal(n, 2 * k), normal(n, 2 * k + 1)) for k in range(30)] for n in (40, 160)}
    for pairs in nulls.values():
        found = np.array([kernel_distance(*pair).value for pair in pairs])
        assert abs(found.mean()) < 3 * found.std() / np.sqrt(30)
    small, large = (np.mean([frechet_distance(*pair).value for pair in nulls[n]]) for n in (40, 160))
    assert small / large == pytest.approx(4, rel=0.2)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_the_error_is_the_scatter_over_samples(distance):
    found = [distance(normal(200, 2 * k), normal(150, 2 * k + 1, 0.5, 1.3)) for k in range(40)]
    values, errors = np.array([(one.value, one.error) for one in found]).T
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.35)  # 40 draws: 11 %; 20 blocks: 16 %
    assert found[0].n == 150


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
@pytest.mark.parametrize("damage", ["blur", "gain", "colour", "dropped"])
def test_more_damage_is_further_away(distance, damage, real_features, fakes):
    found = [distance(real_features, random_features(np.arcsinh(images))).value for images in fakes(damage)]
    assert found[0] < found[1] < found[2]


def test_features_are_labelled_random_and_the_same_for_one_seed(real, real_features):
    assert "RANDOM" in random_features.__doc__
    np.testing.assert_array_equal(random_features(np.arcsinh(real[:40])), real_features[:40])
    assert np.abs(random_features(np.arcsinh(real[:4]), seed=1) - real_features[:4]).max() > 0.1


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_what_cannot_be_compared_is_refused(distance):
    with pytest.raises(RequestError, match="of one encoder"):
        distance(normal(9, 0, d=3), normal(9, 0, d=4))
    with pytest.raises(RequestError, match="needs 3"):
        distance(normal(2, 0), normal(9, 0))
    with pytest.raises(CatalogueError, match="not finite"):
        distance(np.full((9, 3), np.nan), normal(9, 0, d=3))
    with pytest.raises(CatalogueError, match="not finite"):
        random_features(np.full((1, 1, 32, 32), np.nan, np.float32))
    with pytest.raises(RequestError, match="16 along each axis"):
        random_features(np.zeros((1, 1, 8, 8), np.float32))

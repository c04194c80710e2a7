"""The classifier test: half where there is nothing to tell, its scatter there, and what it tells apart."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from skyloom.errors import CatalogueError, RequestError
from skyloom.metrics.classifier import _area, classifier_null, classifier_test
from skyloom.metrics.features import random_features


def normal(n, seed, shift=0.0, scale=1.0, d=4):
    return np.random.default_rng(seed).normal(shift, scale, (n, d))


@pytest.mark.parametrize("d", [2, 40])
def test_samples_of_one_population_score_a_half_with_the_scatter_of_the_null(d):
    found = [classifier_test(normal(80, 2 * k, d=d), normal(60, 2 * k + 1, d=d), seed=k) for k in range(40)]
    values, null = np.array([one.value for one in found]), classifier_null(80, 60)
    assert abs(values.mean() - 0.5) < 3 * null.error / np.sqrt(40)
    assert values.std() == pytest.approx(null.error, rel=0.35)  # 40 draws: 11 %
    assert found[0].n == null.n == 140


def test_the_area_is_that_of_scikit_learn_ties_included():
    rng = np.random.default_rng(0)
    real, fake = rng.integers(0, 6, 40), rng.integers(1, 8, 30)
    expected = roc_auc_score(np.repeat([0, 1], [40, 30]), np.concatenate([real, fake]))
    assert _area(real, fake)[0] == pytest.approx(expected)


def test_the_error_is_that_of_theory_where_the_area_is_known():
    areas, variances = np.array(
        [_area(normal(60, 2 * k, d=1)[:, 0], normal(50, 2 * k + 1, 1, d=1)[:, 0]) for k in range(150)]
    ).T
    assert areas.mean() == pytest.approx(0.7602, abs=0.01)  # Φ(1/√2)
    assert np.sqrt(variances.mean()) == pytest.approx(areas.std(), rel=0.15)


def test_worlds_apart_score_one_and_a_shift_scores_what_theory_allows():
    assert classifier_test(normal(100, 0), normal(100, 1, 9)).value == 1
    found = classifier_test(normal(1500, 0, d=1), normal(1500, 1, 0.5, d=1))
    assert found.value == pytest.approx(0.638, abs=4 * found.error)  # Φ(0.5/√2), the best there can be


def test_a_population_too_narrow_is_told_apart_though_no_mean_is_off():
    found = classifier_test(normal(500, 0), normal(500, 1, 0, 0.7))
    assert found.value > 0.6


@pytest.mark.parametrize("damage", ["blur", "gain", "colour", "dropped"])
def test_more_damage_is_told_apart_more_surely(damage, real, fakes):
    features = random_features(np.arcsinh(real))
    found = [classifier_test(features, random_features(np.arcsinh(images))).value for images in fakes(damage)]
    assert found[0] < found[1] <= found[2]  # 1 is the end
    assert abs(found[0] - 0.5) < 3 * classifier_null(300, 300).error


def test_one_seed_gives_one_score_and_outliers_do_not_rule():
    one, other = normal(60, 0), normal(60, 1, 0.5)
    assert classifier_test(one, other, 3) == classifier_test(one, other, 3)
    other[0] = 1e6
    assert classifier_test(one, other, 3).value > 0.5


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(RequestError, match="of one kind"):
        classifier_test(normal(20, 0, d=3), normal(20, 0, d=2))
    with pytest.raises(RequestError, match="needs 10"):
        classifier_test(normal(20, 0), normal(9, 0))
    with pytest.raises(CatalogueError, match="not finite"):
        classifier_test(np.full((20, 2), np.nan), normal(20, 0, d=2))

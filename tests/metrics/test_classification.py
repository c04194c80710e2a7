"""Scores of classes and fractions: scikit-learn's and known values, their errors, calibration beside its null."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from skyloom.errors import CatalogueError, RequestError
from skyloom.metrics.classification import accuracy, area_under_curve, calibration, fraction_error


def drawn(n=400, sharp=1.5, seed=0):
    """Chances that are right, and classes drawn by them."""
    rng = np.random.default_rng(seed)
    chance = 1 / (1 + np.exp(-sharp * rng.standard_normal(n)))
    return np.stack([1 - chance, chance], 1), (rng.random(n) < chance).astype(int)


def test_the_area_is_scikit_learns_ties_included():
    chances, classes = drawn()
    for values in (chances, chances.round(1)):
        assert area_under_curve(values, classes).score.value == pytest.approx(roc_auc_score(classes, values[:, 1]))


def test_of_many_classes_the_area_is_the_mean_of_one_against_all():
    rng = np.random.default_rng(2)
    chances, classes = rng.dirichlet(np.ones(3), 200), rng.integers(0, 3, 200)
    expected = roc_auc_score(classes, chances, multi_class="ovr", average="macro")
    assert area_under_curve(chances, classes).score.value == pytest.approx(expected)


def test_accuracy_and_its_error():
    chances, classes = drawn()
    found = accuracy(chances, classes)
    share = ((chances[:, 1] > 0.5) == classes).mean()
    assert found.score.value == pytest.approx(share) and found.score.n == 400
    assert found.score.error == pytest.approx(np.sqrt(share * (1 - share) / 400), rel=0.2)
    assert found.low < share < found.high


def test_the_bootstrap_error_of_an_area_is_that_of_its_ranks():
    """DeLong et al. 1988, Biometrics 44, 837: the variance of an area from the ranks of either class."""
    chances, classes = drawn(300)
    value = chances[:, 1]
    above = (value[classes == 1][:, None] > value[classes == 0]).astype(float)
    expected = np.sqrt(above.mean(1).var(ddof=1) / len(above) + above.mean(0).var(ddof=1) / above.shape[1])
    found = area_under_curve(chances, classes)
    assert found.score.error == pytest.approx(expected, rel=0.15)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * expected, rel=0.2)


def test_right_chances_are_as_good_as_their_null_and_wrong_ones_are_not():
    chances, classes = drawn(2000)
    right = calibration(chances, classes)
    assert abs(right.ece.score.value - right.null.value) < 4 * right.null.error
    sure = np.clip(0.5 + 2 * (chances - 0.5), 0.001, 0.999)
    wrong = calibration(sure, classes)
    assert wrong.ece.score.value > wrong.null.value + 10 * wrong.null.error
    assert sum(one.share.n for one in right.bins) == 2000
    for one in right.bins:
        assert one.low <= one.chance <= one.high
        assert abs(one.share.value - one.chance) < 5 * max(one.share.error, 0.01)


def test_the_error_of_fractions_is_the_root_of_the_mean_square():
    rng = np.random.default_rng(3)
    truth = rng.random((300, 37))
    found = fraction_error(truth + 0.1 * rng.standard_normal(truth.shape), truth)
    assert found.score.value == pytest.approx(0.1, rel=0.02) and found.low < found.score.value < found.high
    truth[:, 3:] = np.nan
    assert fraction_error(np.nan_to_num(truth) + 0.2, truth).score.value == pytest.approx(0.2)


def test_what_cannot_be_scored_is_refused():
    chances, classes = drawn(20)
    with pytest.raises(RequestError, match="one and the same class"):
        area_under_curve(chances, np.ones(20, int))
    with pytest.raises(RequestError, match="of 19 objects"):
        accuracy(chances, classes[:19])
    with pytest.raises(CatalogueError, match="not finite"):
        accuracy(np.full((20, 2), np.nan), classes)
    with pytest.raises(RequestError, match="same objects"):
        fraction_error(np.zeros((3, 37)), np.zeros((3, 36)))

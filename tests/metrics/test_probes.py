"""Probes read what is there, and nothing that is not; independent formulas for every score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score, roc_auc_score

from skyloom.errors import CatalogueError, RequestError
from skyloom.metrics.plain_features import coarse_pixels, in_circles, middle_pixels, of_random_encoder
from skyloom.metrics.probes import _area, _determination, cross_probe, probe, recall_at_one
from skyloom.sky.grid import SYMMETRIES, turn

N = 400
TRAIN = np.arange(N) < 300


def made(seed=0, noise=0.5, d=6) -> tuple[np.ndarray, np.ndarray]:
    """Features, and a number that is one of their directions and noise: R² is 1 / (1 + noise²) at best."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(N, d))
    weights = np.arange(1, d + 1) / np.linalg.norm(np.arange(1, d + 1))
    return features, features @ weights + noise * rng.normal(size=N)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_scores_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth, found = rng.normal(size=50), rng.normal(size=50).round(1)
    assert _determination(truth, found) == pytest.approx(r2_score(truth, found))
    assert _area(truth > 0, found) == pytest.approx(roc_auc_score(truth > 0, found))


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_what_is_there_is_read_and_its_noise_is_not(kind):
    features, target = made()
    found = probe(features, target, TRAIN, ~TRAIN, kind)
    assert found.score.n == 100 and found.low < found.score.value < found.high
    assert found.high - found.low == pytest.approx(3.9 * found.score.error, rel=0.3)
    if kind == "linear":
        assert found.low < 0.8 < found.high
    assert found.score.value > 0.5


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_what_is_not_there_is_not_read(kind):
    features, _ = made()
    target = np.random.default_rng(9).normal(size=N)
    assert probe(features, target, TRAIN, ~TRAIN, kind).low < 0
    sort = probe(features, target > 0, TRAIN, ~TRAIN, kind)
    assert sort.low < 0.5 < sort.high


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_classes_are_told_apart(kind):
    features, target = made(noise=0.1)
    assert probe(features, target > 0, TRAIN, ~TRAIN, kind).score.value > 0.95


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_the_unit_of_a_feature_and_the_order_of_objects_change_nothing(kind):
    features, target = made()
    own = probe(features, target, TRAIN, ~TRAIN, kind)
    other = probe(features * np.array([1e-6, 1, 1e3, 1, 1, 1e9]) + 5, target, TRAIN, ~TRAIN, kind)
    assert other.score.value == pytest.approx(own.score.value, abs=1e-6)
    order = np.random.default_rng(1).permutation(N)
    again = probe(features[order], target[order], TRAIN[order], ~TRAIN[order], kind)
    assert again.score.value == pytest.approx(own.score.value, abs=1e-6)


def test_more_features_than_objects_are_the_same_ridge():
    """Projected onto the span of what is learnt from, beside scikit-learn without that."""
    rng = np.random.default_rng(2)
    features = rng.normal(size=(60, 300))
    target = features[:, :5].sum(1) + 0.1 * rng.normal(size=60)
    train = np.arange(60) < 40
    found = probe(features, target, train, ~train)
    scaled = ((features - features[train].mean(0)) / features[train].std(0)).clip(-10, 10)
    scores = [
        r2_score(target[~train], Ridge(alpha).fit(scaled[train], target[train]).predict(scaled[~train]))
        for alpha in np.logspace(-1, 5, 13)
    ]
    assert min(abs(found.score.value - one) for one in scores) < 1e-6


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_a_probe_in_folds_reads_every_object_once_and_agrees_with_two_sides(kind):
    features, target = made()
    found, sides = cross_probe(features, target, kind), probe(features, target, TRAIN, ~TRAIN, kind)
    assert found.score.n == N
    assert found.score.value == pytest.approx(sides.score.value, abs=4 * sides.score.error)
    assert cross_probe(features, np.random.default_rng(9).normal(size=N), kind).low < 0


def test_unknown_targets_are_left_out():
    features, target = made()
    target[::2] = np.nan
    assert probe(features, target, TRAIN, ~TRAIN).score.n == 50


@pytest.mark.parametrize(
    "changes, error, words",
    [
        ({"test": TRAIN}, RequestError, "on both sides"),
        ({"train": np.arange(N) < 4}, RequestError, "4 objects to learn from"),
        ({"target": np.zeros(N, bool)}, RequestError, "of each class"),
        ({"features": np.full((N, 2), np.nan)}, CatalogueError, "not finite"),
    ],
)
def test_what_cannot_be_probed_is_said(changes, error, words):
    features, target = made()
    given = {"features": features, "target": target, "train": TRAIN, "test": ~TRAIN} | changes
    with pytest.raises(error, match=words):
        probe(**given)


def test_recall_is_one_for_the_same_vectors_and_chance_for_others():
    rng = np.random.default_rng(0)
    among = rng.normal(size=(200, 8))
    rows = np.arange(50, 150)
    near = among[rows] + 0.01 * rng.normal(size=(100, 8))
    assert recall_at_one(near, among, rows).value == 1
    assert recall_at_one(rng.normal(size=(100, 8)), among, rows).value < 0.05
    assert recall_at_one(1e3 * near, 1e3 * among, rows).value == 1


ONE = np.ones(2)


def light(seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.indices((32, 32)) - 15.5
    galaxy = 40 * np.exp(-0.5 * ((x / 4) ** 2 + (y / 2) ** 2))
    return (galaxy + rng.normal(size=(3, 2, 32, 32))).astype(np.float32)


def test_plain_features_are_in_units_of_the_noise():
    unit = np.array([2.0, 0.1], np.float32)
    for features in (in_circles, coarse_pixels, of_random_encoder):
        scaled = features(light() * unit[:, None, None], unit)
        np.testing.assert_allclose(scaled, features(light(), ONE), rtol=1e-4, atol=1e-4)


def test_plain_features_do_not_change_when_an_image_is_turned():
    own = in_circles(light(), ONE)
    for k in SYMMETRIES:
        np.testing.assert_allclose(in_circles(np.ascontiguousarray(turn(light(), k)), ONE), own, rtol=1e-4, atol=1e-5)


def test_plain_features_hold_light_size_and_shape():
    """Of a Gaussian of σ = 4 and 2 under a window of 4: variances 8 and 3.2, by hand."""
    y, x = np.indices((64, 64)) - 31.5
    image = (100 * np.exp(-0.5 * ((x / 4) ** 2 + (y / 2) ** 2)))[None, None].astype(np.float32)
    found = in_circles(image, np.ones(1))[0]
    total = float(image.sum())
    assert found[3] == pytest.approx(np.arcsinh(total / np.sqrt(np.pi * 12**2)), rel=0.01)
    assert found[4:6] == pytest.approx([11.2, 4.8 / 11.2], rel=0.01)


def test_pixels_are_the_middle_ones():
    found = middle_pixels(light(), ONE, 8)
    np.testing.assert_allclose(found, np.arcsinh(light())[..., 12:20, 12:20].reshape(3, -1), rtol=1e-6)

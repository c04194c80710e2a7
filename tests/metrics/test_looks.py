"""Baselines learn what there is to learn and no more; what is said of looks is judged beside them."""

import numpy as np
import pytest
import torch

from skyloom.data.cutout import Band, SurveyInfo
from skyloom.data.images import ImageSet
from skyloom.errors import RequestError
from skyloom.metrics.baselines import BASELINES, chances_by, features_of, fractions_by
from skyloom.metrics.looks import baselines_of_classes, baselines_of_fractions, judge_classes, judge_fractions

INFO = SurveyInfo(tuple(Band(name, None, None, None) for name in "gr"), (32, 32), None, "", "", "", ())


def galaxies(n, seed):
    """Sources of two sizes on noise, and which they are; the first shows nothing at all."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 2
    y, x = np.indices((32, 32)) - 15.5
    width = np.where(kind, 4.5, 2.0)[:, None, None, None]
    light = 60 * np.exp(-(x**2 + y**2) / (2 * width**2)) + rng.normal(0, 1, (n, 2, 32, 32))
    light[0] = 0
    return ImageSet(tuple(map(str, range(n))), torch.from_numpy(light.astype(np.float32)), {}, np.ones(2), INFO), kind


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_has_finite_numbers_of_every_image(name):
    images, _ = galaxies(6, 0)
    features = features_of(name, images)
    assert len(features) == 6 and np.isfinite(features).all() and (features[0] != features[1]).any()


def test_all_baselines_tell_small_from_large_and_none_finds_a_label_that_is_chance():
    (learn, known), (judge, truth) = galaxies(60, 1), galaxies(40, 2)
    judged = list(baselines_of_classes(learn, known, judge, truth))
    assert [one.name for one in judged] == list(BASELINES)
    assert all(one.area.score.value > 0.95 for one in judged)
    rng = np.random.default_rng(3)
    chance = judge_classes("", chances_by(rng.normal(size=(60, 5)), known, rng.normal(size=(40, 5))), truth)
    assert abs(chance.area.score.value - 0.5) < 4 * chance.area.score.error


def test_fractions_are_judged_beside_the_mean_galaxy():
    (learn, known), (judge, truth) = galaxies(60, 1), galaxies(40, 2)
    fractions, wanted = (np.stack([0.2 + 0.6 * k, 0.8 - 0.6 * k], 1) for k in (known, truth))
    judged = {one.name: one for one in baselines_of_fractions(learn, fractions, judge, wanted)}
    assert len(judged) == len(BASELINES) + 1
    assert judged["the mean galaxy"].error.score.value == pytest.approx(0.3, abs=0.01)
    assert all(judged[name].error.score.value < 0.2 for name in BASELINES)


def test_intervals_are_counted_where_something_is_known():
    truth = np.array([[0.1, np.nan], [0.5, 0.5]])
    ends = {0.68: (np.full((2, 2), 0.0), np.full((2, 2), 0.2))}
    found = judge_fractions("", np.full((2, 2), 0.1), truth, ends)
    assert found.covered[0.68].value == pytest.approx(1 / 3) and found.covered[0.68].n == 3


def test_a_class_with_few_objects_is_refused_and_unknown_fractions_do_not_spoil_a_fit():
    rng = np.random.default_rng(0)
    with pytest.raises(RequestError, match="a class has 2 objects"):
        chances_by(rng.normal(size=(20, 3)), np.repeat([0, 1], [18, 2]), rng.normal(size=(4, 3)))
    fractions = rng.random((20, 4))
    fractions[3, 2] = np.nan
    assert np.isfinite(fractions_by(rng.normal(size=(20, 3)), fractions, rng.normal(size=(5, 3)))).all()

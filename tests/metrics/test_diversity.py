"""Pairs: nothing apart if equal, √2 if noise, and nearer the more they share."""

import numpy as np
import pytest

from skyloom.errors import RequestError
from skyloom.metrics.diversity import unlike


def test_noise_is_root_two_apart_and_an_image_is_not_apart_from_itself():
    one, other = np.random.default_rng(0).normal(size=(2, 30, 2, 64, 64)).astype(np.float32)
    found = unlike(one, other).pixels
    assert found.value == pytest.approx(np.sqrt(2), abs=5 * found.error) and found.error < 0.01
    assert (found.unit, found.n) == ("rms", 30)
    same = unlike(one, one.copy())
    assert (same.pixels.value, same.features.value, same.pixels.error) == (0, 0, 0)


def test_a_generator_that_repeats_itself_has_pairs_that_are_too_near(discs):
    stretched = np.arcsinh(discs(120, 3))
    honest = unlike(stretched[:60], stretched[60:])
    half = np.where(np.arange(60)[:, None, None, None] % 2, stretched[:60], stretched[60:])
    repeating = unlike(stretched[:60], half.astype(np.float32))
    for ours, theirs in zip(honest, repeating, strict=True):
        assert theirs.value == pytest.approx(ours.value / 2, rel=0.25)
        assert ours.value - theirs.value > 4 * np.hypot(ours.error, theirs.error)


def test_pairs_need_as_many_images_of_one_shape():
    with pytest.raises(RequestError, match="pairs need"):
        unlike(np.zeros((3, 1, 32, 32), np.float32), np.zeros((4, 1, 32, 32), np.float32))

"""Averages of any length from two that were followed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from skyloom.recipes.averages import (
    FOLLOWED,
    best_average,
    exponent_of,
    keep_snapshot,
    weights_of,
)
from skyloom.train import averaged, follow, power


@given(st.floats(0.01, 0.28))
def test_the_exponent_gives_the_width(width):
    """Karras et al. 2024, Eq. 123: the standard deviation of a profile t^γ, in units of its length."""
    g = exponent_of(width)
    assert np.sqrt((g + 1) / ((g + 2) ** 2 * (g + 3))) == pytest.approx(width, rel=1e-6)


@settings(max_examples=20)
@given(st.floats(0.5, 30.0), st.integers(0, 100))
def test_the_momentum_weighs_step_t_as_t_to_the_exponent(exponent, seed):
    values = np.random.default_rng(seed).normal(size=200)
    average = 0.0
    for number, value in enumerate(values, 1):
        share = power(exponent)(number)
        average = share * average + (1 - share) * value
    profile = np.diff((np.arange(201) / 200) ** (exponent + 1))
    assert average == pytest.approx(float(values @ profile), abs=1e-9)


def walk(steps: int, dim: int = 6) -> np.ndarray:
    """A path of weights as training draws it: noise about a decaying drift."""
    rng = np.random.default_rng(0)
    return np.exp(-np.arange(1, steps + 1)[:, None] / 60) + 0.1 * rng.normal(size=(steps, dim)).cumsum(0) / steps**0.5


@pytest.mark.parametrize("width", [0.04, 0.07, 0.12])
def test_an_average_that_was_not_followed_is_found_from_two_that_were(width):
    steps, path = 320, walk(320)
    exponents = [exponent_of(one) for one in FOLLOWED]
    taken, powers, stored = [], [], []
    for exponent in exponents:
        average = np.zeros(path.shape[1])
        for number, value in enumerate(path, 1):
            share = power(exponent)(number)
            average = share * average + (1 - share) * value
            if number % 20 == 0:
                taken.append(number), powers.append(exponent), stored.append(average.copy())
    wanted = np.zeros(path.shape[1])
    for number, value in enumerate(path, 1):
        share = power(exponent_of(width))(number)
        wanted = share * wanted + (1 - share) * value
    share = weights_of(taken, powers, steps, exponent_of(width))
    assert share.sum() == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(share @ np.array(stored), wanted, atol=0.004)


def test_the_average_that_is_judged_best_is_kept_and_what_was_stored_is_gone(tmp_path):
    """Weights that only go up, judged by how near they are to where they were at 93 % of the run."""
    net = nn.Linear(1, 1)
    short, long = averaged(net), averaged(net)
    for number in range(1, 161):
        with torch.no_grad():
            net.weight.fill_(float(number))
        for average, width in zip((short, long), FOLLOWED, strict=True):
            follow(average, net, power(exponent_of(width))(number))
        keep_snapshot(tmp_path, number, 160, (short, long))
    found = best_average(tmp_path, long, lambda one: abs(float(one.weight) - 149.0))
    assert found["width"] == 0.08 and float(long.weight) == pytest.approx(149, abs=4)
    assert not (tmp_path / "snapshots").exists()

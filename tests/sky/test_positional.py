"""Noise by place: windows agree, streams do not, and it is a unit normal."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from skyloom.sky.positional import ORIGIN, unit_normal

PLACES = st.integers(-1000, 1000)


@given(PLACES, PLACES, st.integers(1, 9), st.integers(1, 9), st.integers(1, 5))
def test_a_place_has_one_number_whichever_window_asks(top, left, height, width, depth):
    wide = unit_normal(3, 1, range(top - 2, top + height + 3), range(left - 5, left + width + 1), depth)
    near = unit_normal(3, 1, range(top, top + height), range(left, left + width), depth)
    assert np.array_equal(wide[:, 2 : 2 + height, 5 : 5 + width], near)


def test_it_is_a_unit_normal_without_correlations():
    noise = unit_normal(0, 0, range(-100, 100), range(-100, 100), 2)
    assert kstest(noise.ravel(), "norm").pvalue > 0.01
    for one, other in ((noise[:, 1:], noise[:, :-1]), (noise[:, :, 1:], noise[:, :, :-1]), (noise[0], noise[1])):
        assert abs((one * other).mean()) < 4 / np.sqrt(one.size)


def test_seeds_and_streams_are_independent():
    first, *others = (unit_normal(*key, range(80), range(80)).ravel() for key in ((0, 0), (1, 0), (0, 1)))
    assert all(abs(np.corrcoef(first, other)[0, 1]) < 4 / 80 for other in others)


def test_the_numbers_are_those_of_philox_turned_as_box_and_muller_did():
    key = np.random.SeedSequence([5, 2]).generate_state(2, np.uint64)
    raw = np.random.Philox(key=key, counter=(7 + ORIGIN) << 128).advance(ORIGIN // 8).random_raw(4)
    share, turn = ((part + 0.5) / 2**32 for part in (raw & np.uint64(2**32 - 1), raw >> np.uint64(32)))
    radius = np.sqrt(-2 * np.log(share))
    expected = np.stack([radius * np.cos(2 * np.pi * turn), radius * np.sin(2 * np.pi * turn)], 1).ravel()
    np.testing.assert_allclose(unit_normal(5, 2, range(7, 8), range(8))[0, 0], expected, rtol=1e-5, atol=1e-6)


def test_the_tails_are_those_of_a_normal():
    noise = unit_normal(2, 0, range(1500), range(1500)).ravel()
    for limit in (3, 4, 5):
        expected = len(noise) * 2 * norm.sf(limit)
        assert abs((abs(noise) > limit).sum() - expected) < 4 * np.sqrt(expected) + 1

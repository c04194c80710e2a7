"""Resampling by area: light is neither lost nor made, and pixels that need no resampling are not touched."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyloom.sky.regrid import regrid

sides = st.integers(3, 20)


def random_image(height, width, seed=0):
    return np.random.default_rng(seed).normal(size=(2, height, width)), np.ones((2, height, width), bool)


@given(sides, sides, st.floats(0.3, 4))
def test_light_is_conserved_where_the_new_frame_holds_the_old_one(height, width, ratio):
    flux, good = random_image(height, width)
    shape = int(height / ratio) + 3, int(width / ratio) + 3
    new, share = regrid(flux, good, ratio, shape)
    np.testing.assert_allclose((new * share).sum((1, 2)), flux.sum((1, 2)), atol=1e-9)


@given(st.floats(0.3, 4), st.floats(-5, 5))
def test_a_uniform_sky_keeps_its_surface_brightness(ratio, level):
    new, share = regrid(np.full((1, 12, 12), level), np.ones((1, 12, 12), bool), ratio, (9, 9))
    np.testing.assert_allclose(new[share > 0] / ratio**2, level, atol=1e-9)


def test_whole_pixels_are_summed():
    flux, good = random_image(12, 8)
    new, _ = regrid(flux, good, 2, (6, 4))
    np.testing.assert_allclose(new, flux.reshape(2, 6, 2, 4, 2).sum((2, 4)))


@pytest.mark.parametrize(("old", "new"), [(8, 8), (8, 5), (5, 8), (9, 4)])
def test_without_a_change_of_scale_pixels_are_only_cropped_or_padded(old, new):
    flux, good = random_image(old, old)
    out, share = regrid(flux, good, 1, (new, new))
    first = int(np.floor((old - new) / 2))
    for k in range(new):
        for j in range(new):
            inside = 0 <= k + first < old and 0 <= j + first < old
            assert share[0, k, j] == inside
            assert out[0, k, j] == (flux[0, k + first, j + first] if inside else 0)


def test_what_lies_under_a_bad_pixel_changes_nothing():
    flux, good = random_image(10, 10)
    good[:, 4, 5] = False
    other = flux.copy()
    other[:, 4, 5] = np.nan
    for ratio in (0.7, 1, 1.5):
        ours, theirs = regrid(flux, good, ratio, (6, 6)), regrid(other, good, ratio, (6, 6))
        assert np.array_equal(ours[0], theirs[0]) and np.isfinite(ours[0]).all()

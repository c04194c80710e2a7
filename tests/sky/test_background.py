"""The sky: unbiased on noise, equivariant, blind to what lies under bad pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from skyloom.sky.background import background_map, mesh, mesh_row, sky_level

RMS, LEVEL = 2.0, 5.0


@pytest.fixture
def noise():
    return np.random.default_rng(1).normal(LEVEL, RMS, (100, 64, 64)).astype(np.float32)


def test_the_level_of_pure_noise_is_unbiased_and_scatters_as_documented(noise):
    level, rms = sky_level(noise, np.ones_like(noise))
    scatter = level.std() * 64 / RMS
    assert abs(level.mean() - LEVEL) < 4 * level.std() / 10
    assert 1.9 < scatter < 2.7
    assert rms.mean() == pytest.approx(RMS, rel=0.005)


def test_sources_bias_the_level_by_no_more_than_the_docs_say(noise, sersic_image):
    galaxy = sersic_image(64, flux=40 * 64 * RMS, r_e=6, n=1)
    with_galaxy, _ = sky_level(noise + galaxy, np.ones_like(noise))
    without, _ = sky_level(noise, np.ones_like(noise))
    bias = (with_galaxy - without).mean() / RMS
    assert 0 < bias < 0.12


@given(st.floats(1e-12, 1e12), st.floats(-100, 100))
@settings(max_examples=20)
def test_scale_and_offset_pass_through(factor, offset):
    image = np.random.default_rng(2).normal(0, 1, (32, 32))
    image[10:14, 10:14] += 50
    level, rms = sky_level(image, np.ones_like(image))
    moved_level, moved_rms = sky_level(factor * (image + offset), np.ones_like(image))
    np.testing.assert_allclose(moved_level, factor * (level + offset), rtol=1e-6, atol=1e-6 * factor)
    np.testing.assert_allclose(moved_rms, factor * rms, rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, 1e30, -1e30, 0, np.inf])
def test_values_under_ivar_zero_change_no_byte(noise, value):
    cube = noise[:3].copy()
    weight = np.ones_like(cube)
    weight[:, 5:20, 7:30] = 0
    wanted = sky_level(cube, weight)
    cube[weight == 0] = value
    for got, want in zip(sky_level(cube, weight), wanted, strict=True):
        assert got.tobytes() == want.tobytes()
    maps = background_map(cube[0], weight[0] > 0, 16)
    clean = background_map(noise[0], weight[0] > 0, 16)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(maps, clean, strict=True))


def test_planes_are_measured_one_by_one(noise):
    together = sky_level(noise[:4].reshape(2, 2, 64, 64), np.ones((2, 2, 64, 64)))
    alone = [sky_level(plane, np.ones((64, 64))) for plane in noise[:4]]
    np.testing.assert_array_equal(np.array(together).reshape(2, 4).T, alone)


def test_without_a_good_pixel_there_is_no_sky(noise):
    level, rms = sky_level(noise[:2], np.zeros_like(noise[:2]))
    assert np.isnan(level).all() and np.isnan(rms).all()
    assert all(np.isnan(one).all() for one in background_map(noise[0], np.zeros((64, 64), bool), 16))


@given(arrays(np.float64, (6, 7), elements=st.floats(-1e30, 1e30)))
def test_no_image_makes_it_fail(image):
    level, rms = sky_level(image, np.ones_like(image))
    assert np.isfinite(level) and rms >= 0


def test_a_constant_image_has_its_level_and_no_noise():
    level, rms = sky_level(np.full((9, 9), 7.0), np.ones((9, 9)))
    assert (level, rms) == (7.0, 0.0)


def test_the_background_map_follows_a_slope_and_does_not_mind_the_unit():
    rng = np.random.default_rng(3)
    slope = np.linspace(0, 5, 512)[None, :] + np.zeros((512, 1))
    image = (slope + rng.normal(0, 1, slope.shape)).astype(np.float32)
    good = np.ones(image.shape, bool)
    level, rms = background_map(image, good, 64)
    assert np.abs(level - slope)[40:-40, 40:-40].max() < 0.5
    assert rms.mean() == pytest.approx(1, rel=0.1)
    tiny, _ = background_map(image * np.float32(2.0**-40), good, 64)
    np.testing.assert_allclose(tiny * 2.0**40, level, rtol=1e-5, atol=1e-5)


def test_a_mesh_reads_the_same_at_a_point_and_in_a_window():
    image = np.random.default_rng(4).normal(np.arange(300)[:, None] / 30, 1, (300, 200)).astype(np.float32)
    rows = [mesh_row(image[y : y + 50], np.ones_like(image[y : y + 50]), 50) for y in range(0, 300, 50)]
    grid = mesh(rows, 50)
    level, rms = grid.over(slice(20, 280), slice(0, 200))
    y, x = np.mgrid[20:280, 0:200]
    np.testing.assert_allclose(level, grid.at(x, y)[0], rtol=1e-5)
    np.testing.assert_allclose(rms, grid.at(x, y)[1], rtol=1e-5)
    assert np.abs(level[:, 100] - np.arange(20, 280) / 30)[50:-50].max() < 0.5


def test_cells_without_good_pixels_borrow_from_the_others():
    image = np.random.default_rng(5).normal(3, 1, (100, 100)).astype(np.float32)
    weight = np.ones_like(image)
    weight[:50, :50] = 0
    grid = mesh([mesh_row(image[y : y + 50], weight[y : y + 50], 50) for y in (0, 50)], 50)
    assert np.isfinite(grid.level).all() and grid.level[0, 0] == pytest.approx(3, abs=0.2)

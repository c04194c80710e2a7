"""Trails drawn and found again: which are found, what their masks cover, and what is left alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.sky.trail_search import find_trails, lines
from skyloom.sky.trails import Trail, draw_trail, random_trail

SHAPE = (64, 64)


def noise(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def disc(shape=SHAPE, centre=(32, 32), scale=5.0, axis_ratio=0.7, pa=0.5, peak=200.0):
    """An exponential disc."""
    y, x = np.indices(shape, dtype=float)
    x, y = x - centre[0], y - centre[1]
    along, across = x * np.cos(pa) + y * np.sin(pa), y * np.cos(pa) - x * np.sin(pa)
    return (peak * np.exp(-np.hypot(along, across / axis_ratio) / scale)).astype(np.float32)


def find(image, ivar=None, rms=1.0):
    image = image if image.ndim == 3 else image[None]
    ivar = np.ones_like(image) / rms**2 if ivar is None else ivar
    return find_trails(image, ivar, np.zeros(len(image)), np.full(len(image), rms))


trails = st.builds(
    Trail,
    angle=st.floats(0, np.pi),
    offset=st.floats(-20, 20),
    width=st.floats(1.5, 6),
    brightness=st.floats(0.1, 1e3),
    period=st.floats(4, 30),
    depth=st.floats(0, 1),
)


@given(trails)
def test_a_drawn_trail_is_as_bright_and_as_wide_as_it_says(trail):
    light, spoilt = draw_trail(SHAPE, replace(trail, depth=0.0))
    y, x = np.indices(SHAPE) - 31.5
    distance = np.abs(y * np.cos(trail.angle) - x * np.sin(trail.angle) - trail.offset)
    np.testing.assert_allclose(
        light, trail.brightness * 0.5 ** ((2 * distance / trail.width) ** 2), rtol=1e-3, atol=1e-9
    )
    assert (light[~spoilt] < 0.006 * trail.brightness).all() and (light[spoilt] > 0.004 * trail.brightness).all()


@given(trails)
def test_a_period_only_dims_and_its_mask_is_that_of_the_steady_trail(trail):
    (light, spoilt), (steady, whole) = draw_trail(SHAPE, trail), draw_trail(SHAPE, replace(trail, depth=0.0))
    assert (light <= steady + 1e-12).all() and (light >= (1 - trail.depth) * steady - 1e-9).all()
    assert (spoilt == whole).all()


def test_random_trails_stay_within_what_was_asked():
    rng = np.random.default_rng(1)
    many = [random_trail(rng, (64, 48), (2, 3), (5, 6)) for _ in range(200)]
    assert all(2 <= one.width <= 3 and 5 <= one.brightness <= 6 and abs(one.offset) <= 16 for one in many)
    assert 0.35 < np.mean([one.depth > 0 for one in many]) < 0.65
    assert np.ptp([one.angle for one in many]) > 3


@settings(max_examples=15)
@given(st.floats(0, np.pi), st.floats(-18, 18), st.floats(1.5, 5), st.floats(20, 300), st.integers(0, 99))
def test_a_bright_trail_across_a_galaxy_is_found_wherever_it_lies_wings_and_all(angle, offset, width, brightness, seed):
    light, spoilt = draw_trail(SHAPE, Trail(angle, offset, width, brightness))
    mask = find(noise(seed) + disc() + light)[0]
    assert (light[~mask] < 1.0).mean() > 0.995, "no more than the noise may be left"
    assert (mask & ~spoilt).mean() < 0.15


def test_trails_of_five_rms_are_found_at_every_angle_and_those_of_a_tenth_are_not():
    found = []
    for number, angle in enumerate(np.linspace(0, np.pi, 13)):
        light, _ = draw_trail(SHAPE, Trail(angle, 10 - number, 3.0, 5.0))
        found.append(find(noise(number) + disc() + light).any())
        assert not find(noise(number) + disc() + light / 50).any()
    assert np.mean(found) > 0.9


@pytest.mark.parametrize("axis_ratio", [0.1, 0.2, 0.4, 1.0])
@pytest.mark.parametrize("scale", [2.0, 5.0, 9.0])
def test_galaxies_are_left_alone_edge_on_ones_too(axis_ratio, scale):
    for number in range(4):
        galaxy = disc(scale=scale, axis_ratio=axis_ratio, pa=0.8 * number, peak=[30, 300, 3000, 30000][number])
        assert not find(noise(number) + galaxy).any()


def test_noise_stars_and_rows_of_stars_are_left_alone():
    for number in range(12):
        image = noise(number)
        rng = np.random.default_rng(number)
        for k in range(6):
            x, y = (rng.uniform(0, 64, 2)) if number % 2 else (10 * k + 5, 8 * k + 10)
            image += disc(centre=(x, y), scale=1.2, axis_ratio=1.0, peak=10 ** rng.uniform(1, 2.5))
        assert not find(image).any()


def test_a_line_of_one_band_is_looked_for_in_the_others():
    light, _ = draw_trail(SHAPE, Trail(1.0, 3.0, 3.0, 1.0))
    image = np.stack([noise(k) + factor * light for k, factor in enumerate((0.0, 30.0, 3.0))])
    none, bright, faint = find(image)
    assert not none.any() and bright.any()
    assert (faint | ~bright)[light > 0.5].mean() > 0.95


def test_two_trails_are_found():
    one, spoilt = draw_trail(SHAPE, Trail(0.4, 8.0, 2.5, 40.0))
    other, too = draw_trail(SHAPE, Trail(1.9, -6.0, 2.5, 25.0))
    mask = find(noise() + one + other)[0]
    assert (one + other)[~mask].max() < 1.5
    assert (mask & ~(spoilt | too)).mean() < 0.15


def test_a_trail_that_ends_inside_a_large_image_is_masked_between_its_ends():
    shape = (300, 300)
    trail = Trail(0.3, 20.0, 3.0, 30.0)
    light, _ = draw_trail(shape, trail)
    y, x = np.indices(shape) - 149.5
    along = x * np.cos(0.3) + y * np.sin(0.3)
    light = np.where((along > -90) & (along < 80), light, 0)
    (line,) = lines(noise(3, shape) + light.astype(np.float32), np.ones(shape, bool))
    assert -130 < line.start < -88 and 78 < line.end < 120
    turn = (line.angle - 0.3 + np.pi / 2) % np.pi - np.pi / 2
    assert abs(turn) < 0.02 and abs(abs(line.offset) - 20) < 1


def test_wide_trails_of_large_images_are_found():
    shape = (256, 256)
    light, spoilt = draw_trail(shape, Trail(1.2, -30.0, 20.0, 200.0))
    mask = find(noise(4, shape) + light.astype(np.float32))[0]
    assert light[~mask].max() < 3 and (mask & ~spoilt).mean() < 0.1


@pytest.mark.parametrize("value", [0.0, np.nan, 1e30, -1e30])
def test_bad_pixels_are_never_read(value):
    light, _ = draw_trail(SHAPE, Trail(1.0, 3.0, 3.0, 30.0))
    image = (noise() + light)[None]
    ivar = np.ones_like(image)
    ivar[:, 10:14, :] = ivar[:, ::7, ::5] = 0
    spoilt = np.where(ivar == 0, value, image).astype(np.float32)
    assert (find(spoilt, ivar) == find(image, ivar)).all()


@given(st.sampled_from([1e-12, 1e-3, 1e6]))
@settings(max_examples=3)
def test_the_unit_of_the_flux_does_not_matter(unit):
    light, _ = draw_trail(SHAPE, Trail(1.0, 3.0, 3.0, 30.0))
    image = (noise() + light).astype(np.float32)
    assert (find((image * unit).astype(np.float32), rms=unit) == find(image)).mean() > 0.999


def test_an_image_without_a_good_pixel_or_without_noise_has_no_trails():
    image = noise()[None]
    assert not find(image, np.zeros_like(image)).any()
    assert not find_trails(image, np.ones_like(image), np.zeros(1), np.full(1, np.nan)).any()
    assert not find(np.zeros_like(image)).any()
    assert not find(np.zeros((1, 8, 8), np.float32)).any()

"""The laws of the pixel grid: nothing is invented, symmetries form a group, positions follow the pixels."""

import itertools

import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from skyloom.errors import RequestError
from skyloom.sky.grid import SYMMETRIES, corner, crop, shift, tiles, turn, turn_matrix, turn_pa, turn_points, turn_wcs

symmetries = st.sampled_from(SYMMETRIES)
sides = st.integers(1, 12)


def noise(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(st.floats(-5, 20), st.floats(-5, 20), st.integers(1, 9))
def test_the_centre_of_a_crop_is_within_half_a_pixel_of_the_position(x, y, size):
    x0, y0 = corner(x, y, size)
    assert abs(x0 + (size - 1) / 2 - x) <= 0.5 + 1e-9
    assert abs(y0 + (size - 1) / 2 - y) <= 0.5 + 1e-9


@given(st.integers(-9, 12), st.integers(-9, 12), st.integers(1, 15))
def test_a_crop_holds_the_image_where_they_overlap_and_bad_pixels_elsewhere(x0, y0, size):
    flux, ivar = noise(2, 7, 9), np.full((2, 7, 9), 4, np.float32)
    new_flux, new_ivar = crop(flux, ivar, x0, y0, size)
    assert new_flux.shape == (2, size, size)
    for row in range(size):
        for column in range(size):
            inside = 0 <= y0 + row < 7 and 0 <= x0 + column < 9
            if inside:
                assert (new_flux[:, row, column] == flux[:, y0 + row, x0 + column]).all()
            assert (new_ivar[:, row, column] == (4 if inside else 0)).all()
            assert inside or np.isnan(new_flux[:, row, column]).all()


def test_a_crop_is_its_own_copy():
    flux, ivar = noise(1, 5, 5), np.ones((1, 5, 5), np.float32)
    crop(flux, ivar, 0, 0, 5)[0][...] = 0
    assert flux.any()


@given(symmetries, symmetries)
def test_symmetries_form_a_group(first, second):
    image = noise(5, 5)
    both = turn(turn(image, first), second)
    assert sum(np.array_equal(both, turn(image, k)) for k in SYMMETRIES) == 1


@given(symmetries, sides, st.data())
def test_a_pixel_goes_where_its_position_goes(k, size, data):
    x, y = (data.draw(st.integers(0, size - 1)) for _ in range(2))
    image = np.zeros((size, size))
    image[y, x] = 1
    to_x, to_y = turn_points(np.array([x, y]), k, size)
    assert turn(image, k)[int(to_y), int(to_x)] == 1


@given(symmetries, st.floats(0, 179))
def test_a_position_angle_turns_with_the_axis_it_describes(k, pa):
    axis = turn_matrix(k) @ [np.cos(np.radians(pa)), np.sin(np.radians(pa))]
    seen = np.degrees(np.arctan2(axis[1], axis[0]))
    assert abs((turn_pa(pa, k) - seen + 90) % 180 - 90) < 1e-9


@pytest.mark.parametrize("k", SYMMETRIES)
@pytest.mark.parametrize("form", ["cd", "pc"])
def test_the_sky_stays_under_its_pixels(k, form):
    wcs = WCS(naxis=2)
    wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.ctype = [3, 8], [150, 2], ["RA---TAN", "DEC--TAN"]
    if form == "cd":
        wcs.wcs.cd = [[-5e-5, 1e-5], [1e-5, 5e-5]]
    else:
        wcs.wcs.cdelt, wcs.wcs.pc = [-5e-5, 5e-5], [[0.98, -0.2], [0.2, 0.98]]
    points = np.array([[0, 0], [9, 0], [4.2, 6.6]])
    before = wcs.all_pix2world(points, 0)
    after = turn_wcs(wcs, k, 10).all_pix2world(turn_points(points, k, 10), 0)
    np.testing.assert_allclose(after, before, atol=1e-11)


def test_only_squares_have_eight_symmetries():
    with pytest.raises(RequestError, match="square"):
        turn(np.zeros((3, 4)), 1)


@given(st.integers(-6, 6), st.integers(-6, 6))
def test_a_shift_by_whole_pixels_moves_every_bit(dx, dy):
    flux, ivar = noise(1, 5, 6), np.abs(noise(1, 5, 6, seed=1)) + 0.1
    new_flux, new_ivar = shift(flux, ivar, dx, dy)
    for y in range(5):
        for x in range(6):
            inside = 0 <= y - dy < 5 and 0 <= x - dx < 6
            assert not inside or new_flux[0, y, x] == flux[0, y - dy, x - dx]
            wanted = ivar[0, y - dy, x - dx] if inside else 0
            np.testing.assert_allclose(new_ivar[0, y, x], wanted, rtol=3e-7)


@given(st.floats(-2, 2), st.floats(-2, 2))
def test_a_shift_conserves_flux_and_moves_the_centroid_by_itself(dx, dy):
    flux, ivar = np.zeros((1, 15, 15), np.float32), np.ones((1, 15, 15), np.float32)
    flux[0, 6:9, 6:9] = np.abs(noise(3, 3)) + 0.1
    moved = np.where((moved := shift(flux, ivar, dx, dy))[1] > 0, moved[0], 0)[0].astype(float)
    y, x = np.indices((15, 15))
    assert moved.sum() == pytest.approx(flux.sum(), rel=1e-5)
    for axis, step in ((x, dx), (y, dy)):
        before = (axis * flux[0]).sum() / flux.sum()
        assert (axis * moved).sum() / moved.sum() == pytest.approx(before + step, abs=1e-4)


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_the_ivar_of_a_shifted_image_is_that_of_its_noise(dx, dy):
    ivar = np.full((1, 4, 4), 4, np.float32)
    _, new = shift(np.zeros_like(ivar), ivar, dx, dy)
    weights = np.outer([1 - dy, dy], [1 - dx, dx])
    np.testing.assert_allclose(new[0, 1:, 1:], 4 / (weights**2).sum(), rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, 1e30, 0, -np.inf])
@pytest.mark.parametrize(("dx", "touched"), [(0.5, 2), (1.0, 1), (-0.25, 2)])
def test_a_bad_pixel_spoils_only_the_pixels_it_touches_whatever_its_value(value, dx, touched):
    flux, ivar = noise(1, 9, 9), np.ones((1, 9, 9), np.float32)
    flux[0, 4, 4], ivar[0, 4, 4] = value, 0
    new_flux, new_ivar = shift(flux, ivar, dx, 0.0)
    assert (new_ivar[0, :, 2:-2] == 0).sum() == touched
    flux[0, 4, 4] = 7
    np.testing.assert_array_equal(shift(flux, ivar, dx, 0.0)[0], new_flux)
    assert np.isfinite(new_flux[new_ivar > 0]).all()


@given(st.integers(4, 30), st.integers(4, 30), st.integers(1, 4), st.integers(0, 3))
def test_tiles_cover_every_pixel_and_overlap_as_asked(height, width, size, overlap):
    overlap = min(overlap, size - 1)
    cover = np.zeros((height, width), int)
    corners = tiles((height, width), size, overlap)
    for x0, y0 in corners:
        cover[y0 : y0 + size, x0 : x0 + size] += 1
    assert cover.min() >= 1
    assert len(set(corners)) == len(corners)
    first_row = sorted(x0 for x0, y0 in corners if y0 == 0)
    assert all(b - a <= size - overlap for a, b in itertools.pairwise(first_row))


def test_a_tile_larger_than_the_image_is_refused():
    with pytest.raises(RequestError, match="size=9"):
        tiles((8, 20), 9)

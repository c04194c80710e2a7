"""Detection: planted sources come back, in any unit, whatever lies under bad pixels."""

import numpy as np
import pytest
import sep

from skyloom.sky.detection import (
    USUAL_ROOM,
    central_and_neighbours,
    detect,
    neighbours,
    segment,
    stellar_fwhm,
    stellar_radius,
)

SIDE = 400
GOOD = np.ones((SIDE, SIDE), bool)


def draw_star(image, x, y, flux, fwhm=3.5):
    sigma = fwhm / 2.3548
    rows, columns = np.indices(image.shape)
    image += flux / (2 * np.pi * sigma**2) * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))


def draw_disc(image, x, y, flux, scale=5.0, axis_ratio=0.6):
    rows, columns = np.indices(image.shape)
    light = np.exp(-np.hypot(columns - x, (rows - y) / axis_ratio) / scale)
    image += flux * light / light.sum()


@pytest.fixture(scope="module")
def field():
    """Sixteen stars and nine discs on a jittered grid, on noise of rms 1; with where they are."""
    rng = np.random.default_rng(7)
    places = np.array([(40 + 80 * i, 40 + 80 * j) for i in range(5) for j in range(5)]) + rng.uniform(-5, 5, (25, 2))
    image = rng.normal(0, 1, (SIDE, SIDE))
    for n, (x, y) in enumerate(places):
        draw_star(image, x, y, 3000 + 500 * n) if n < 16 else draw_disc(image, x, y, 20000)
    return image.astype(np.float32), places


def match(table, places):
    distance = np.hypot(table["x"] - places[:, :1], table["y"] - places[:, 1:])
    return distance.argmin(axis=1), distance.min(axis=1)


def test_planted_sources_are_found_at_their_places(field):
    image, places = field
    table = detect(image, 1.0, GOOD).table
    _, distance = match(table, places)
    assert distance.max() < 0.1 and len(table) <= 27


def test_flux_size_and_kind_are_those_planted(field):
    image, places = field
    table = detect(image, 1.0, GOOD, psf_fwhm=3.5).table
    found = table[match(table, places)[0]]
    np.testing.assert_allclose(found["flux"][:16], 3000 + 500 * np.arange(16), rtol=0.04)
    np.testing.assert_allclose(found["flux"][16:], 20000, rtol=0.08)
    assert found["is_star"][:16].all() and not found["is_star"][16:].any()
    assert found["is_extended"][16:].all() and not found["is_extended"][:16].any()


def test_stars_show_their_own_width(field):
    image, _ = field
    table = detect(image, 1.0, GOOD).table
    assert stellar_radius(table) == pytest.approx(3.5 / 2, rel=0.08)
    assert stellar_fwhm(image, table) == pytest.approx(3.5, rel=0.04)


@pytest.mark.parametrize("factor", [1e-12, 1e12, 3.7])
def test_the_unit_of_the_flux_changes_nothing_but_the_flux(field, factor):
    image, _ = field
    plain, scaled = detect(image, 1.0, GOOD), detect(image.astype(float) * factor, factor, GOOD)
    np.testing.assert_array_equal(plain.segmap, scaled.segmap)
    np.testing.assert_allclose(scaled.table["flux"], plain.table["flux"] * factor, rtol=1e-4)
    np.testing.assert_allclose(scaled.table["x"], plain.table["x"], atol=1e-4)
    for flag in ("is_star", "is_extended", "is_blended", "is_cut"):
        np.testing.assert_array_equal(scaled.table[flag], plain.table[flag])


@pytest.mark.parametrize("value", [np.nan, 1e30, -np.inf, 0])
def test_what_lies_under_bad_pixels_changes_no_byte(field, value):
    image, places = field
    good = GOOD.copy()
    x, y = places[3].astype(int)
    good[y - 2 : y + 2, x : x + 30] = False
    wanted = detect(image, 1.0, good)
    got = detect(np.where(good, image, value), 1.0, good)
    assert got.table.tobytes() == wanted.table.tobytes() and got.segmap.tobytes() == wanted.segmap.tobytes()
    assert not got.segmap[~good].any()


def test_sources_at_the_edge_or_a_bad_pixel_are_flagged(field):
    image, places = field
    good = GOOD.copy()
    x, y = np.rint(places[5]).astype(int)
    good[y, x + 2] = False
    window = np.s_[:, int(places[20][0]) :]  # through the middle of the last row of sources
    assert detect(image, 1.0, good).table["is_cut"][match(detect(image, 1.0, good).table, places[5:6])[0][0]]
    cut = detect(np.ascontiguousarray(image[window]), 1.0, GOOD[window]).table
    assert cut["is_cut"].sum() >= 5


def test_a_star_above_saturation_is_a_saturated_star(field):
    image, _ = field
    table = detect(image, 1.0, GOOD, saturation=float(image.max()) * 0.99).table
    assert table["is_saturated"].sum() == 1 and table["is_star"][table["is_saturated"]].all()


def test_the_central_source_is_told_from_its_neighbours():
    image = np.random.default_rng(8).normal(0, 1, (128, 128))
    draw_disc(image, 64, 63, 30000)
    draw_star(image, 90, 70, 5000)
    number, segmap = central_and_neighbours(image, np.ones(image.shape, bool), 1.0)
    assert number == segmap[63, 64] > 0
    others = neighbours(segmap, number)
    assert others[70, 90] and not others[63, 64] and others.sum() < 500


def test_a_central_source_whose_core_is_bad_is_still_central():
    image = np.random.default_rng(8).normal(0, 1, (128, 128))
    draw_disc(image, 64, 63, 30000)
    good = np.ones(image.shape, bool)
    good[61:66, 62:67] = False
    number, segmap = central_and_neighbours(image, good, 1.0)
    assert number > 0 and (segmap == number).sum() > 300


@pytest.mark.parametrize("rms", [0.0, np.nan, 1.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_noise_and_nothing_have_no_central_source_and_do_not_fail(rms, seed):
    image = np.random.default_rng(seed).normal(0, 1, (64, 64))
    blank = central_and_neighbours(np.full((64, 64), np.nan), np.zeros((64, 64), bool), rms)
    assert blank[0] == 0 and not blank[1].any()
    assert central_and_neighbours(image, np.ones((64, 64), bool), rms)[0] == 0


def test_an_image_all_of_which_is_bright_is_one_source_and_neither_hangs_nor_fails():
    rng = np.random.default_rng(9)
    for image in (np.full((256, 256), 100.0), 50 + 100 * rng.normal(0, 1, (256, 256))):
        segmap = segment(image, 1.0, np.ones(image.shape, bool))
        assert segmap.max() >= 1


def test_more_detected_pixels_than_sep_usually_holds_are_found_too():
    light = np.zeros((700, 700))
    light[20:680, 20:680] = 10.0
    assert (light > 0).sum() > USUAL_ROOM
    found = detect(light, 1.0, np.ones(light.shape, bool))
    assert len(found.table) == 1 and found.table["pixels"][0] >= (light > 0).sum()


def test_a_large_field_does_not_slow_down_the_small_ones_after_it():
    """sep fills its room for detected pixels at every call; it must not stay as large as a field needs."""
    usual = sep.get_extract_pixstack()
    noise = np.random.default_rng(0).normal(size=(600, 600)).astype(np.float32)
    detect(noise, 1.0, np.ones(noise.shape, bool))
    assert sep.get_extract_pixstack() == usual

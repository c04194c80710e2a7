"""Sheets show what they are given: every galaxy once, all under one stretch, and a key that is right."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import skyloom as sl
from skyloom.errors import CutoutError, RequestError
from skyloom.report.drawing import PAPER, drawn
from skyloom.report.generated import IDEAL, Trail, left_over, quiz_chapter, trail_chapter
from skyloom.report.sheets import (
    Album,
    draw_quiz,
    galaxies_grid,
    neighbour_sheet,
    pictures,
    quiz,
    quiz_size,
    real_or_generated,
    whole,
)


@pytest.fixture(scope="module")
def album(tiny_survey_once):
    survey = sl.open(tiny_survey_once)
    return Album(list(survey.read()), survey.info)


def squares(count, level):
    """Pictures that can be told apart: picture k is of grey level + k."""
    grey = np.arange(level, level + count, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(grey, (count, 6, 6, 4)).copy()


def scaled(cutout, factor):
    known = {"sky": factor * cutout.sky, "sky_rms": factor * cutout.sky_rms} if cutout.sky is not None else {}
    return replace(cutout, flux=factor * cutout.flux, ivar=cutout.ivar / factor**2, **known)


def with_sky(cutout):
    """As drawn in conftest.py: a sky of 2 and noise of 0.5."""
    return replace(cutout, sky=np.full(3, 2, np.float32), sky_rms=np.full(3, 0.5, np.float32))


def test_the_same_galaxy_looks_the_same_in_both_albums(album):
    ours, theirs = pictures(album, album)
    assert ours.shape == (8, 64, 64, 4) and ours.dtype == np.uint8
    assert np.array_equal(ours, theirs)


def test_albums_in_other_units_look_the_same(album):
    bands = tuple(replace(band, zero_point=25.0) for band in album.info.bands)
    counts = Album([scaled(cutout, np.float32(10)) for cutout in album.cutouts], replace(album.info, bands=bands))
    ours, theirs = pictures(album, counts)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_a_galaxy_three_times_as_bright_looks_brighter(album):
    first, level = album.cutouts[0], np.float32(2)
    bright = replace(first, flux=3 * (first.flux - level) + level)
    ((faint, bold),) = pictures(Album([first, bright], album.info))
    middle = np.s_[24:40, 24:40, :3]
    assert bold[middle].mean() > faint[middle].mean() + 20


def test_larger_cutouts_are_cropped_about_their_middle(album):
    known = [with_sky(cutout) for cutout in album.cutouts]
    cropped = [replace(c, flux=c.flux[:, 16:48, 16:48], ivar=c.ivar[:, 16:48, 16:48]) for c in known]
    small = Album(cropped, replace(album.info, shape=(32, 32)))
    ours, theirs = pictures(small, Album(known, album.info))
    assert ours.shape == (8, 32, 32, 4) and np.array_equal(ours, theirs)


def test_an_album_without_a_band_is_refused_and_so_is_no_galaxy_at_all(album):
    strange = replace(album.info, bands=tuple(replace(band, name=f"x{band.name}") for band in album.info.bands))
    with pytest.raises(CutoutError, match="no band"):
        pictures(album, Album(album.cutouts, strange))
    with pytest.raises(RequestError, match="at least one galaxy"):
        pictures(Album([], album.info))


def test_only_whole_galaxies_are_left(album):
    assert not whole(album).cutouts  # conftest.py spoils a corner of each
    healed = [replace(c, flux=np.nan_to_num(c.flux), ivar=np.full_like(c.ivar, 4)) for c in album.cutouts[:3]]
    assert len(whole(Album([*healed, *album.cutouts], album.info)).cutouts) == 3


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 1000))
def test_the_key_names_exactly_the_generated_ones(real, fake, seed):
    asked = quiz(squares(real, 0), squares(fake, 100), seed)
    shown = asked.pictures[:, 0, 0, 0]
    assert sorted(shown) == [*range(real), *range(100, 100 + fake)]
    named = {int(number) for number in re.findall(r"\d+", asked.key)}
    assert named == {place + 1 for place in range(real + fake) if shown[place] >= 100}


def test_the_seed_decides_the_order():
    orders = [quiz(squares(12, 0), squares(12, 100), seed).generated.tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_the_sheet_has_numbered_panels_and_its_key_upside_down():
    figure, key = real_or_generated(squares(5, 0), squares(6, 100), seed=2, columns=4)
    images = [axes for axes in figure.axes if axes.images]
    assert len(images) == 11
    assert [axes.texts[0].get_text() for axes in images] == [str(number) for number in range(1, 12)]
    (printed,) = figure.texts
    assert printed.get_text() == key and printed.get_rotation() == 180


def test_neighbours_are_in_their_rows_with_their_distances():
    near = np.stack([squares(3, 10 * row) for row in range(1, 3)])
    distances = np.array([[0.5, 1.0, 2.0], [3.25, 4.0, 11.0]])
    figure = neighbour_sheet(squares(2, 200), near, distances)
    levels = [axes.images[0].get_array()[0, 0, 0] for axes in figure.axes]
    assert levels == [200, 10, 11, 12, 201, 20, 21, 22]
    said = [axes.texts[0].get_text() for axes in figure.axes if axes.texts]
    assert said == ["0.500", "1.00", "2.00", "3.25", "4.00", "11.0"]
    heights = [axes.get_position().y0 for axes in figure.axes]
    assert heights[0] == heights[3] > heights[4] > 0


def test_a_grid_shows_every_picture():
    assert len([axes for axes in galaxies_grid(squares(10, 0), columns=4).axes if axes.images]) == 10


def test_a_quiz_can_be_drawn_at_any_size():
    asked = quiz(squares(3, 0), squares(3, 100))
    figure = drawn(lambda sheet: draw_quiz(sheet, asked, PAPER, 3), *quiz_size(6, 3, 2.0), PAPER)
    assert figure.get_size_inches() == pytest.approx(quiz_size(6, 3, 2.0))


# Chapters


@pytest.fixture
def trail(album):
    first = album.cutouts[2]
    mask = np.zeros((64, 64), bool)
    mask[30:34] = True
    noise = np.random.default_rng(0).normal(0, IDEAL, (3, 64, 64)).astype(np.float32)
    whole = with_sky(first)
    defaced = replace(whole, flux=whole.flux + np.float32(40) * mask)
    repaired = replace(whole, flux=whole.flux + np.float32(0.5) * noise * mask)
    return Trail(whole, defaced, repaired, mask, album.info)


def test_the_quiz_chapter_shows_all_galaxies_and_loads_nothing(album):
    chapter = quiz_chapter(album, album, "A quiz", "quiz", by="weights <b>")
    ElementTree.fromstring(f"<body>{chapter.body}</body>")
    assert chapter.body.count("<image") == 16
    assert "weights &lt;b&gt;" in chapter.body and "http" not in chapter.body
    assert "Eight of these 16 galaxies are on the sky" in chapter.body


def test_the_trail_chapter_says_how_far_the_repair_is_off(trail):
    body = trail_chapter(trail, "A trail", "trail").body
    ElementTree.fromstring(f"<body>{body}</body>")
    found = float(re.search(r"by ([\d.]+) times the noise", body)[1])
    assert found == pytest.approx(IDEAL, rel=0.15)
    assert "256 pixels" in body and "http" not in body


def test_what_was_repaired_without_error_has_none_left(trail):
    residual, error = left_over(trail._replace(repaired=trail.observed), "r")
    assert not residual.any() and error == 0
    assert np.isnan(left_over(trail._replace(mask=np.zeros((64, 64), bool)), "r")[1])

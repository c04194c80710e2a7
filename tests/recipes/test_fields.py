"""Recipes that learn fields: what they are told of sources is right, and they go on where they stopped."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import skyloom as sl
from skyloom.errors import RequestError
from skyloom.infer.fields.painter import painter_of
from skyloom.recipes.deep_field import deep_field, pieces_of, rates_of, windows_of
from skyloom.recipes.known_sources import brightness, flux_of, population, turned
from skyloom.recipes.lesson import School, splits_of
from skyloom.sky.grid import SYMMETRIES, turn
from skyloom.sky.scaling import Asinh
from skyloom.sky.sources import Strewn


@pytest.fixture(scope="module")
def school(pieces):
    return School([pieces], splits_of([pieces], 0), torch.device("cpu"), None)


@pytest.fixture(scope="module")
def learnt(school):
    return pieces_of(deep_field("smoke"), school, ("train",))


def test_the_noise_of_the_pieces_is_measured_without_their_sources(learnt):
    np.testing.assert_allclose(learnt.noise.rms, [1, 2], rtol=0.08)  # faint sources are in it too
    kernel = np.array(learnt.noise.kernel[0])
    assert kernel[8, 8] > 3 * abs(kernel[8, 10])  # correlated along y by construction, not along x
    assert kernel[9, 8] > 0.15


def test_sources_are_found_with_the_flux_that_they_have(learnt):
    found = population(learnt.known, 2)
    assert 50 < len(found.known) < 20 * len(learnt.images)
    flux = flux_of(found.known, 2)
    bright = flux[:, 0] > 100
    # r has twice the light and twice the noise of g: the same in units of the noise
    assert np.median(flux[bright, 1] / flux[bright, 0]) == pytest.approx(1, abs=0.05)
    assert brightness(found.known, 2)[bright].min() > 100
    assert found.density == pytest.approx(len(found.known) / (len(learnt.images) * 96**2), rel=0.05)


@given(st.sampled_from(list(SYMMETRIES)), st.floats(0, np.pi))
def test_sources_turn_with_the_image(k, angle):
    side = 41
    y, x = np.indices((side, side), dtype=float)
    x0, y0 = 24.0, 17.0
    along = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
    across = (y - y0) * np.cos(angle) - (x - x0) * np.sin(angle)
    image = np.exp(-(along**2) / 18 - across**2 / 6)
    marks = np.zeros((1, 7), np.float32)
    marks[0, -3:-1] = 0.4 * np.cos(2 * angle), 0.4 * np.sin(2 * angle)
    after = turned(Strewn(np.array([x0]), np.array([y0]), marks), k, side)
    seen = turn(image, k)
    total = seen.sum()
    cx, cy = (seen * x).sum() / total, (seen * y).sum() / total
    assert (after.x[0], after.y[0]) == pytest.approx((cx, cy), abs=0.02)
    xx, yy, xy = ((seen * a).sum() / total for a in ((x - cx) ** 2, (y - cy) ** 2, (x - cx) * (y - cy)))
    expected = np.array([xx - yy, 2 * xy]) / np.hypot(xx - yy, 2 * xy)
    np.testing.assert_allclose(after.marks[0, -3:-1] / 0.4, expected, atol=0.02)


def test_windows_show_the_light_where_they_tell_of_a_source(learnt, field_run):
    recipe = deep_field("smoke")
    net = painter_of(field_run.path).on("cpu")
    batch = next(windows_of(recipe, learnt, net, Asinh((3.0, 6.0)), 0))
    assert batch.images.shape == (4, 2, 32, 32)
    told = batch.told[1]  # places of 2 pixels
    start = batch.rows[1].start
    bright = [
        (n, row + start, column + start)
        for n, row, column in np.argwhere(told[:, 1].numpy() > 1.2)
        if 0 <= row + start < 16 and 0 <= column + start < 16
    ]
    assert bright
    for n, row, column in bright:
        there = batch.images[n, 0, max(2 * row - 1, 0) : 2 * row + 3, max(2 * column - 1, 0) : 2 * column + 3]
        assert there.max() > 3 * batch.images[n, 0].median() + 0.5


def test_a_batch_depends_on_its_number_alone(learnt, field_run):
    recipe, net = deep_field("smoke"), painter_of(field_run.path).on("cpu")
    stream = windows_of(recipe, learnt, net, Asinh((3.0, 6.0)), 0)
    third = [next(stream) for _ in range(3)][2]
    again = next(windows_of(recipe, learnt, net, Asinh((3.0, 6.0)), 2))
    assert torch.equal(third.images, again.images)
    assert torch.equal(third.told[0], again.told[0])


def test_rates_fall_while_the_painter_is_alone_and_again_with_the_critic():
    rates = rates_of(deep_field("laptop"))
    recipe = deep_field("laptop")
    alone = [rates(number)[0] for number in range(50, recipe.alone)]
    assert alone == sorted(alone, reverse=True)
    assert rates(recipe.steps)[0] < 0.01
    assert rates(recipe.alone + 10)[1] == 1


@pytest.mark.parametrize("recipe", ["deep_field", "spatial_gan"])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(pieces, tmp_path, recipe, train_in_two):
    whole = sl.train(recipe, pieces, tmp_path / "whole", size="smoke")
    parts = train_in_two(2, recipe, pieces, tmp_path / "parts", size="smoke")
    assert parts.hash == whole.hash
    assert parts.facts("field") == whole.facts("field")


def test_a_published_sky_is_made_by_a_member_of_the_ensemble(pieces, tmp_path):
    run = sl.train("spatial_gan", pieces, tmp_path / "gan", size="smoke")
    painter = painter_of(run.path)
    one, same, other = (painter.on("cpu").of(seed) for seed in (0, 2, 1))
    assert one is same
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    flux = painter.pixels(0, range(64), range(64))
    low, high = (np.array(end)[:, None, None] for end in (painter.scaling.low, painter.scaling.high))
    assert ((flux >= low - 1e-4) & (flux <= high + 1e-4)).all()
    with pytest.raises(RequestError, match="draws light and noise together"):
        sl.field(tmp_path / "field", run.path, (300, 300), noise=0.5)


def test_what_is_no_field_in_pieces_is_refused(tiny_survey, pieces, tmp_path):
    with pytest.raises(RequestError, match="--catalogue grid"):
        sl.train("deep_field", tiny_survey, tmp_path / "a", settings={"window": "128"})
    with pytest.raises(RequestError, match="multiples of"):
        sl.train("spatial_gan", pieces, tmp_path / "b", settings={"crops": "60"})
    with pytest.raises(RequestError, match="sources in the pieces"):
        sl.train("deep_field", tiny_survey, tmp_path / "c", size="smoke")
    assert not any((tmp_path / name / "weights.safetensors").exists() for name in "abc")


@pytest.mark.slow
def test_recounting_makes_up_for_sources_that_are_missing(learnt, field_run, monkeypatch):
    from dataclasses import replace

    from skyloom.infer.fields.painter import Painter
    from skyloom.recipes import recounted as recounting

    def drawn(painter, seed, rows, columns, device="cpu"):
        found = painter.sources.strewn(seed, *(range(side.start - 20, side.stop + 20) for side in (rows, columns)))
        places = ((rows, found.y), (columns, found.x))
        down, across = (np.exp(-((np.array(side)[:, None] - at) ** 2) / 5.12) for side, at in places)
        flux = flux_of(found.marks, 2) * np.array(painter.rms) / (5.12 * np.pi)
        return np.stack([(down * one) @ across.T for one in flux.T]).astype(np.float32)

    monkeypatch.setattr(Painter, "light", drawn)
    monkeypatch.setattr(recounting, "SIDE", 256)
    monkeypatch.setattr(recounting, "ROUNDS", 2)
    sources = population(learnt.known, 2)
    half = replace(sources, density=sources.density / 2)
    after = recounting.recounted(replace(painter_of(field_run.path), sources=half), learnt.known, 4)
    assert after.density == pytest.approx(sources.density, rel=0.3)
    assert json.loads(json.dumps(after.facts()))["density"] == after.density

"""Sources strewn by place: windows agree, numbers follow Poisson's law or cluster as told, grids say where they lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyloom.sky.sources import CELL, SCALES, Sources, Strewn, counts_contrast, on_grid, sources_of

KNOWN = np.column_stack([np.ones(5), np.arange(5), np.full(5, 0.6), np.full(5, -0.3), np.zeros(5)]).astype(np.float32)
STILL = np.zeros(5, np.float32)
EVEN = (0.0,) * len(SCALES)


def process(density=0.002, contrast=EVEN, jitter=STILL, weights=(1.0,) * 5):
    return Sources(KNOWN, jitter, STILL, (2, 3), np.array(weights), density, contrast)


def sorted_rows(strewn):
    rows = np.column_stack([strewn.x, strewn.y, strewn.marks])
    return rows[np.lexsort(rows.T)]


@given(st.integers(-200, 200), st.integers(-200, 200), st.integers(1, 150), st.integers(1, 150))
def test_a_window_has_the_sources_of_the_plane_in_it(top, left, height, width):
    whole = process().strewn(7, range(-300, 400), range(-300, 400))
    here = process().strewn(7, range(top, top + height), range(left, left + width))
    inside = (whole.x >= left - 0.5) & (whole.x < left + width - 0.5)
    inside &= (whole.y >= top - 0.5) & (whole.y < top + height - 0.5)
    expected = Strewn(whole.x[inside], whole.y[inside], whole.marks[inside])
    assert np.array_equal(sorted_rows(here), sorted_rows(expected))


def counts(sources, cells=40):
    found = sources.strewn(1, range(cells * CELL), range(cells * CELL))
    return np.histogram2d(found.y, found.x, bins=np.arange(cells + 1) * CELL - 0.5)[0]


def test_numbers_in_cells_follow_poissons_law():
    found = counts(process())
    assert found.mean() == pytest.approx(0.002 * CELL**2, rel=0.03)
    assert found.var() / found.mean() == pytest.approx(1, abs=0.12)


def test_contrast_clusters_them_and_is_measured_back():
    found = counts(process(0.01, (0.3, 0.0, 0.25, 0.0)))
    assert found.mean() == pytest.approx(0.01 * CELL**2, rel=0.1)
    measured = counts_contrast(found[None])
    assert measured[0] == pytest.approx(0.3, abs=0.06)
    assert measured[1] < 0.15
    assert measured[2] == pytest.approx(0.25, abs=0.1)
    assert max(counts_contrast(counts(process(0.01))[None])) < 0.06


def test_cells_that_were_not_seen_do_not_count():
    found = counts(process(0.01))
    hidden = found.copy()
    hidden[::7, ::5] = np.nan
    assert np.allclose(counts_contrast(hidden[None])[0], counts_contrast(found[None])[0], atol=0.05)


def test_new_sources_are_known_ones_turned():
    found = process().strewn(3, range(2000), range(2000))
    assert set(np.unique(found.marks[:, 1])) == set(range(5))
    np.testing.assert_allclose(np.hypot(found.marks[:, 2], found.marks[:, 3]), np.hypot(0.6, 0.3), rtol=1e-5)
    assert np.abs(found.marks[:, 2:4].mean(0)).max() < 0.02  # no direction is preferred


def test_known_sources_are_drawn_as_often_as_they_weigh():
    found = process(weights=(0.0, 1.0, 0.0, 3.0, 0.0)).strewn(3, range(2000), range(2000))
    shares = np.bincount(found.marks[:, 1].astype(int), minlength=5) / len(found.x)
    np.testing.assert_allclose(shares, [0, 0.25, 0, 0.75, 0], atol=0.02)


@given(st.integers(1, 16), st.floats(-20, 40), st.floats(-20, 40))
def test_a_grid_says_where_a_source_lies(side, x, y):
    rows, columns = range(-50, 60), range(-50, 60)
    told = on_grid(Strewn(np.array([x]), np.array([y]), KNOWN[1:2]), rows, columns, side)
    row, column = np.argwhere(told[0])[0] + [rows.start, columns.start]
    down, across = told[-2:, row - rows.start, column - columns.start]
    assert (column + (across + 1) / 2) * side - 0.5 == pytest.approx(x, abs=1e-4 * side)
    assert (row + (down + 1) / 2) * side - 0.5 == pytest.approx(y, abs=1e-4 * side)
    np.testing.assert_allclose(told[:5, row - rows.start, column - columns.start], KNOWN[1])


def test_sources_at_one_place_add_up():
    pair = Strewn(np.array([1.0, 2.0]), np.array([1.0, 3.0]), KNOWN[:2])
    assert on_grid(pair, range(2), range(2), 8)[0, 0, 0] == 2


def test_facts_bring_it_back():
    sources = process(0.0031, (0.1, 0.0, 0.2, 0.0))
    again = sources_of(sources.facts())
    np.testing.assert_allclose(again.known, sources.known, atol=6e-4)
    assert (again.density, again.contrast, again.turning) == (sources.density, sources.contrast, sources.turning)

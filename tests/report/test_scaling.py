"""Figures of a law of scaling: what is drawn is what was measured."""

import numpy as np
import pytest

from skyloom.metrics.scaling import HOFFMANN
from skyloom.report.scaling import Mark, law_figure, terms_figure


def test_runs_and_curves_lie_where_the_law_puts_them():
    n, d = (grid.ravel() for grid in np.meshgrid([1e8, 1e9, 1e10], [1e9, 1e10, 1e11]))
    figure = law_figure(HOFFMANN, n, d, HOFFMANN.loss(n, d), [Mark("best", 1e10, 1e12)])
    by_size, by_data, plane = figure.axes
    assert len(by_size.lines) == len(by_data.lines) == 3
    for axes, across in ((by_size, n), (by_data, d)):
        points = axes.collections[0].get_offsets()
        assert np.allclose(points[:, 0], across) and np.allclose(points[:, 1], HOFFMANN.loss(n, d))
    x, y = by_size.lines[0].get_data()
    assert np.allclose(y, HOFFMANN.loss(x, 1e9))
    x, y = plane.lines[0].get_data()
    assert np.allclose(HOFFMANN.alpha * x, HOFFMANN.beta * y), "the best use of a budget"
    assert [text.get_text() for text in plane.get_legend().get_texts()] == ["best for its FLOP", "best"]


def test_networks_are_named_among_the_terms():
    (axes,) = terms_figure(HOFFMANN, [Mark("Chinchilla", 70e9, 1.4e12), Mark("PaLM", 540e9, 780e9)]).axes
    names = {text.get_text(): text.xy for text in axes.texts if text.get_text() in ("Chinchilla", "PaLM")}
    assert names["Chinchilla"] == pytest.approx((0.083, 0.163), abs=1e-3)
    assert names["PaLM"] == pytest.approx((0.042, 0.192), abs=1e-3)

"""Figures of a law of scaling: losses beside it, and the plane of its two terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from skyloom.metrics.scaling import Law
from skyloom.report.drawing import PAPER, drawn, margins

WIDTH, HEIGHT = 10.2, 3.3  # of three panels [inch]
SIDE = 4.6  # of one
CURVES, LEVELS = 6, 14
GAP = 0.05  # between names of curves, of the axis
ROOM = 1.6  # factor that is left about what is shown
COLOURS = LinearSegmentedColormap.from_list("runs", PAPER.bands[:10])


class Mark(NamedTuple):
    """A place to point at: what to call it, parameters, tokens."""

    name: str
    n_parameters: float
    n_tokens: float


def law_figure(
    law: Law,
    n_parameters: Float[np.ndarray, "n"],
    n_tokens: Float[np.ndarray, "n"],
    loss: Float[np.ndarray, "n"],
    marks: Sequence[Mark] = (),
) -> Figure:
    """Losses against parameters and against tokens with the law's curves, and the runs among its terms."""

    def draw(figure: Figure) -> None:
        by_size, by_data, plane = figure.subplots(1, 3)
        margins(figure, 0.55, 0.5, 0.1, 0.12, wspace=0.5)
        _losses(by_size, n_parameters, n_tokens, loss, law.loss, "parameters, $N$", "$D$")
        _losses(by_data, n_tokens, n_parameters, loss, lambda d, n: law.loss(n, d), "tokens, $D$", "$N$")
        _plane(plane, law, n_parameters, n_tokens, marks)

    return drawn(draw, WIDTH, HEIGHT, PAPER)


def terms_figure(law: Law, marks: Sequence[Mark]) -> Figure:
    """Networks among the terms of a law, each with its name.

    Source: Smith 2022, thesis, Fig. 5.2.
    """
    n, d = (np.array([one[i] for one in marks], float) for i in (1, 2))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        margins(figure, 0.6, 0.5, 0.1, 0.1)
        _plane(axes, law, n, d, ())
        for one in marks:
            place = (law.of_size(one.n_parameters), law.of_data(one.n_tokens))
            axes.annotate(one.name, place, (4, 4), textcoords="offset points", fontsize=8)

    return drawn(draw, SIDE, SIDE * 0.85, PAPER)


def _losses(axes: Axes, across, other, loss, expected, label: str, name: str) -> None:
    """Losses against one of the two, coloured by the other, with curves at some of its values."""
    values = np.unique(other)
    if len(values) > CURVES:
        values = np.geomspace(values[0], values[-1], CURVES)
    norm = LogNorm(other.min() / 1.01, other.max() * 1.01)
    places = np.geomspace(across.min() / ROOM, across.max() * ROOM, 100)
    curves = [(expected(places, value), COLOURS(norm(value)), f"{name} = {_short(value)}") for value in values]
    for curve, colour, _ in curves:
        axes.plot(places, curve, color=colour, linewidth=0.9)
    axes.scatter(across, loss, c=COLOURS(norm(other)), s=16, zorder=3, edgecolors="white", linewidths=0.4)
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(places[0], places[-1])
    axes.set_xlabel(label)
    axes.set_ylabel("loss")
    gap, lowest = GAP * float(np.diff(axes.get_ylim())[0]), -np.inf
    for curve, colour, text in sorted(curves, key=lambda one: one[0][-1]):
        lowest = max(curve[-1], lowest + gap)
        axes.annotate(text, (places[-1], lowest), (4, -2), textcoords="offset points", fontsize=7, color=colour,
                      annotation_clip=False)  # fmt: skip


def _plane(axes: Axes, law: Law, n, d, marks: Sequence[Mark]) -> None:
    """The two terms against each other, with contours of the loss, and where the best use of a budget lies."""
    size = np.concatenate([law.of_size(n), [law.of_size(one.n_parameters) for one in marks]])
    data = np.concatenate([law.of_data(d), [law.of_data(one.n_tokens) for one in marks]])
    x, y = (np.geomspace(part.min() / ROOM, part.max() * ROOM, 200) for part in (size, data))
    total = x[None] + y[:, None] + law.E
    levels = law.E + np.geomspace(x[0] + y[0], x[-1] + y[-1], LEVELS)
    lines = axes.contour(x, y, total, levels=levels, colors=PAPER.faint, linewidths=0.7)
    axes.clabel(lines, levels[::2], fontsize=7, fmt="%.3g")
    axes.plot(x, law.alpha * x / law.beta, color=PAPER.ink, linestyle="--", linewidth=0.9, label="best for its FLOP")
    axes.scatter(law.of_size(n), law.of_data(d), color=PAPER.bands[2], s=16, zorder=3, edgecolors="white",
                 linewidths=0.4)  # fmt: skip
    for one, shape in zip(marks, "*PDXsv^<>" * len(marks), strict=False):
        axes.scatter(law.of_size(one.n_parameters), law.of_data(one.n_tokens), color=PAPER.accent, marker=shape, s=60,
                     zorder=4, label=one.name)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(r"term of the size, $A/N^\alpha$")
    axes.set_ylabel(r"term of the data, $B/D^\beta$")
    axes.legend(loc="lower right", fontsize=7, frameon=True, framealpha=0.85, edgecolor="none")


def _short(value: float) -> str:
    """2.5e6 as 2.5M, by the prefixes of SI."""
    for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}"

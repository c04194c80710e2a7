"""Figures of galaxies that were asked for: a sheet over two properties, and what moves with what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from skyloom.metrics.asked import Leakage
from skyloom.report.drawing import PAPER, TYPE, drawn, margins
from skyloom.report.sheets import Pictures, show

CELL = 0.62  # of the matrix [inch]
PANEL = 0.95  # of the sheet [inch]


def asked_sheet(some: Pictures, across: Sequence[str], down: Sequence[str], x: str, y: str) -> Figure:
    """Galaxies over what was asked for: columns `across`, rows `down`, row by row; x, y : names of the two."""
    rows, columns = len(down), len(across)
    left, bottom = 0.62, 0.5

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False)
        margins(figure, left, bottom, right=0.05, top=0.05, wspace=0.04, hspace=0.04)
        for number, axes in enumerate(panels.flat):
            show(axes, some[number])
        for axes, text in zip(panels[-1], across, strict=True):
            axes.text(0.5, -0.06, text, ha="center", va="top", transform=axes.transAxes)
        for axes, text in zip(panels[:, 0], down, strict=True):
            axes.text(-0.06, 0.5, text, ha="right", va="center", transform=axes.transAxes)
        figure.supxlabel(x, y=0.02, fontsize=TYPE["font.size"])
        figure.supylabel(y, x=0.02, fontsize=TYPE["font.size"])

    return drawn(draw, left + 0.05 + PANEL * columns, bottom + 0.05 + PANEL * rows, PAPER)


def leakage_figure(found: Leakage, asked: Sequence[str], measured: Sequence[str]) -> Figure:
    """The matrix: each row a property that was asked for one σ higher, each column how many σ a measured one moved."""
    rows, columns = found.move.shape

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        margins(figure, 1.25, 0.3, right=0.1, top=0.75)
        axes.imshow(found.move, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        for row in range(rows):
            for column in range(columns):
                move, error = found.move[row, column], found.error[row, column]
                colour = "white" if abs(move) > 0.6 else PAPER.ink
                text = f"{move:+.2f}\n±{error:.2f}" if np.isfinite(move) else ""
                axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)
        axes.set_xticks(range(columns), measured)
        axes.set_yticks(range(rows), asked)
        axes.tick_params(which="both", length=0, labeltop=True, labelbottom=False)
        axes.minorticks_off()
        axes.set_ylabel("asked for, one σ higher")
        axes.set_title("measured, moved by [σ of real galaxies]", fontsize=TYPE["font.size"])

    return drawn(draw, 1.35 + CELL * 1.25 * columns, 1.05 + CELL * 0.8 * rows, PAPER)

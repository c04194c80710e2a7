"""The figure of a map of a survey: galaxies where they lie, and the crowds that they form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from skyloom.data import store
from skyloom.report.drawing import PAPER, drawn
from skyloom.report.galaxies import look_of, picture

CELLS = 16  # galaxies along the map's longer side
SIDE = 7.2  # of the figure [inch]
FILLED = 0.94  # of a cell
JUDGED = 200  # galaxies that say what is white


def map_figure(survey: store.Survey | str | Path, places: pa.Table, cells: int = CELLS) -> Figure:
    """The map for print: in each cell that holds any, the galaxy nearest to its middle, framed in its crowd's colour.

    places : object_id, x, y, cluster, as `survey_map` makes them; beside it the crowds as points, with their numbers
    """
    survey = store.opened(survey)
    ids = np.array(places["object_id"].to_pylist())
    x, y = (places[name].to_numpy().astype(float) for name in ("x", "y"))
    cluster = places["cluster"].to_numpy()
    step = max(np.ptp(x), np.ptp(y)) / cells * 1.0001
    shown = _shown(x, y, step)
    colours = _colours(cluster)
    cutouts = dict(zip(shown, survey.read(ids=ids[shown].tolist()), strict=True))
    look = look_of(list(cutouts.values())[:JUDGED], survey.info)

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (2.2, 1)})
        figure.subplots_adjust(0.003, 0.01, 0.997, 0.99, wspace=0.02)
        for axes in (left, right):
            axes.set_axis_off()
            axes.set_aspect("equal")
        half = FILLED * step / 2
        for row, cutout in cutouts.items():
            across, up = ((np.floor((value[row] - value.min()) / step) + 0.5) * step + value.min() for value in (x, y))
            extent = (across - half, across + half, up - half, up + half)
            left.imshow(picture(cutout, look), extent=extent, origin="lower", interpolation="bicubic")
            corner = (across - half, up - half)
            left.add_patch(Rectangle(corner, 2 * half, 2 * half, fill=False, edgecolor=colours[row], linewidth=1.1))
        left.set_xlim(x.min(), x.min() + np.ceil(np.ptp(x) / step) * step)
        left.set_ylim(y.min(), y.min() + np.ceil(np.ptp(y) / step) * step)
        right.scatter(x, y, s=3, c=colours, linewidths=0)
        for number in range(cluster.max() + 1):
            some = cluster == number
            right.text(np.median(x[some]), np.median(y[some]), str(number), ha="center", va="center", fontsize=10,
                       color=PAPER.ink, weight="bold")  # fmt: skip

    return drawn(draw, SIDE, SIDE * 2.2 / 3.2 * max(0.3, np.ptp(y) / max(np.ptp(x), np.ptp(y))), PAPER)


def _shown(x: np.ndarray, y: np.ndarray, step: float) -> list[int]:
    """Rows of the objects nearest to the middles of their cells, one of each cell."""
    cell = [np.floor((value - value.min()) / step) for value in (x, y)]
    off = sum((value - value.min() - (place + 0.5) * step) ** 2 for value, place in zip((x, y), cell, strict=True))
    order = np.lexsort((off, *cell))
    keys = np.stack(cell)[:, order]
    new = np.concatenate([[True], (np.diff(keys, axis=1) != 0).any(0)])
    return order[new].tolist()


def _colours(cluster: np.ndarray) -> list[str]:
    """A colour of each object's crowd; faint for those in none."""
    spread = PAPER.for_bands(max(2, min(len(PAPER.bands), int(cluster.max()) + 1)))
    return [PAPER.faint if one < 0 else spread[one % len(spread)] for one in cluster]

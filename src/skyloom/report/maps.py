"""The figure of a map of a survey: galaxies where they lie, and the crowds that they form."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from skyloom.data import store
from skyloom.data.cutout import Cutout
from skyloom.report.drawing import PAPER, SCREEN, Palette, drawn
from skyloom.report.galaxies import Look, look_of, picture
from skyloom.report.markup import Chapter, paragraph
from skyloom.report.markup import figure as figure_of
from skyloom.report.sheets import page_svg

CELLS = 16  # galaxies along the map's longer side
SIDE, WIDE = 7.2, 10.4  # of the figure in print, and on a page [inch]
BESIDE = (2.2, 1.0)  # widths of the galaxies and of the points
FILLED = 0.94  # of a cell
JUDGED = 200  # galaxies that say what is white


class Mapped(NamedTuple):
    """A map and the galaxies that are shown on it.

    x, y, cluster : of every object; step : side of a cell; cutouts : of the objects that are shown, by row
    """

    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    cluster: Int[np.ndarray, "n"]
    step: float
    cutouts: dict[int, Cutout]
    look: Look

    @property
    def crowds(self) -> int:
        """How many there are."""
        return int(self.cluster.max()) + 1

    def height(self, width: float) -> float:
        """Of a figure of some width, which the map fills."""
        aspect = max(0.3, float(np.ptp(self.y) / max(np.ptp(self.x), np.ptp(self.y))))
        return width * aspect * (BESIDE[0] / sum(BESIDE) if self.crowds else 1.0)


def map_figure(survey: store.Survey | str | Path, places: pa.Table, cells: int = CELLS) -> Figure:
    """The map for print: in each cell that holds any, the galaxy nearest to its middle, framed in its crowd's colour.

    places : object_id, x, y, cluster, as `survey_map` makes them; beside it, if there are any, the crowds as points,
    with their numbers
    """
    made = _mapped(store.opened(survey), places, cells)
    return drawn(lambda figure: _draw(figure, made, PAPER), SIDE, made.height(SIDE), PAPER)


def map_chapter(
    survey: store.Survey | str | Path, places: pa.Table, said: Sequence[str], title: str, name: str, cells: int = CELLS
) -> Chapter:
    """The map on a page. said : sentences about it, which are HTML; name : of the figure, on the page"""
    survey = store.opened(survey)
    made = _mapped(survey, places, cells)
    words = f"{len(made.cutouts)} galaxies where they lie on a map"
    svg = page_svg(lambda figure: _draw(figure, made, SCREEN, sharp=True), WIDE, made.height(WIDE), name, words)
    caption = (
        "In each cell the galaxy nearest to its middle; what is white was not observed. Red, green and blue are "
        f"{escape(made.look.names(survey.info))}; each picture has a stretch of its own (asinh, Lupton et al. 2004)."
    )
    return Chapter(title, paragraph(*said) + figure_of(svg, caption, "drawn"))


def _mapped(survey: store.Survey, places: pa.Table, cells: int) -> Mapped:
    ids = np.array(places["object_id"].to_pylist())
    x, y = (places[name].to_numpy().astype(float) for name in ("x", "y"))
    step = max(np.ptp(x), np.ptp(y)) / cells * 1.0001
    shown = _shown(x, y, step)
    cutouts = dict(zip(shown, survey.read(ids=ids[shown].tolist()), strict=True))
    look = look_of(list(cutouts.values())[:JUDGED], survey.info)
    return Mapped(x, y, places["cluster"].to_numpy(), step, cutouts, look)


def _draw(figure: Figure, made: Mapped, palette: Palette, sharp: bool = False) -> None:
    ratios = BESIDE[: 2 if made.crowds else 1]
    panels = figure.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)
    figure.subplots_adjust(0.003, 0.01, 0.997, 0.99, wspace=0.02)
    colours = _colours(made.cluster, palette)
    for axes in panels.flat:
        axes.set_axis_off()
        axes.set_aspect("equal")
    _draw_galaxies(panels[0, 0], made, colours, sharp)
    if made.crowds:
        axes = panels[0, 1]
        axes.scatter(made.x, made.y, s=3, c=colours, linewidths=0)
        for number in range(made.crowds):
            some = made.cluster == number
            axes.text(np.median(made.x[some]), np.median(made.y[some]), str(number), ha="center", va="center",
                      fontsize=10, color=palette.ink, weight="bold")  # fmt: skip


def _draw_galaxies(axes: Axes, made: Mapped, colours: Sequence[str], sharp: bool) -> None:
    step, half = made.step, FILLED * made.step / 2
    left, low = made.x.min(), made.y.min()
    for row, cutout in made.cutouts.items():
        across = (np.floor((made.x[row] - left) / step) + 0.5) * step + left
        up = (np.floor((made.y[row] - low) / step) + 0.5) * step + low
        extent = (across - half, across + half, up - half, up + half)
        axes.imshow(picture(cutout, made.look), extent=extent, origin="lower",
                    interpolation="none" if sharp else "bicubic")  # fmt: skip
        corner = (across - half, up - half)
        axes.add_patch(Rectangle(corner, 2 * half, 2 * half, fill=False, edgecolor=colours[row], linewidth=1.1))
    axes.set_xlim(left, left + np.ceil(np.ptp(made.x) / step) * step)
    axes.set_ylim(low, low + np.ceil(np.ptp(made.y) / step) * step)


def _shown(x: np.ndarray, y: np.ndarray, step: float) -> list[int]:
    """Rows of the objects nearest to the middles of their cells, one of each cell."""
    cell = [np.floor((value - value.min()) / step) for value in (x, y)]
    off = sum((value - value.min() - (place + 0.5) * step) ** 2 for value, place in zip((x, y), cell, strict=True))
    order = np.lexsort((off, *cell))
    keys = np.stack(cell)[:, order]
    new = np.concatenate([[True], (np.diff(keys, axis=1) != 0).any(0)])
    return order[new].tolist()


def _colours(cluster: np.ndarray, palette: Palette) -> list[str]:
    """A colour of each object's crowd; faint for those in none."""
    spread = palette.for_bands(max(2, min(len(palette.bands), int(cluster.max()) + 1)))
    return [palette.faint if one < 0 else spread[one % len(spread)] for one in cluster]

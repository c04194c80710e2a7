"""Contact sheets: galaxies found for each query, or the oddest of a survey, with a word about each."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import pyarrow as pa
from matplotlib.figure import Figure

from skyloom import __version__
from skyloom.data.cutout import Cutout, SurveyInfo
from skyloom.data.tables import unit_of
from skyloom.report.drawing import PAPER, SCREEN, Palette, drawn
from skyloom.report.galaxies import Look, look_of, picture
from skyloom.report.markup import Chapter, frame, paragraph, table
from skyloom.report.markup import figure as figure_of
from skyloom.report.sheets import label, page_svg, show

COLUMNS = 9  # galaxies side by side
PANEL, GAP, UNDER, APART = 1.05, 0.03, 0.27, 0.1  # of a panel, between them, for words below, between groups [inch]
LONGEST = 19  # letters of a name below a panel; of a longer one the last


class Panel(NamedTuple):
    """A galaxy. mark : in its corner; words : below it"""

    cutout: Cutout
    mark: str
    words: str


class Sheet(NamedTuple):
    """Groups of galaxies of one survey, each group on rows of its own.

    lead : what they are, one sentence each; look : how they are coloured, None to take white from what is shown
    """

    title: str
    lead: tuple[str, ...]
    groups: Sequence[Sequence[Panel]]
    info: SurveyInfo
    look: Look | None = None


def sheet_figure(sheet: Sheet, columns: int = COLUMNS) -> Figure:
    """The sheet for print. Each galaxy has a stretch of its own; colours are those of one white."""
    return drawn(lambda figure: _draw(figure, sheet, PAPER, columns), *_size(sheet, columns), PAPER)


def sheet_page(sheet: Sheet, rows: pa.Table, columns: int = COLUMNS) -> str:
    """The sheet, and the table of what it shows, as one page."""
    shown = [field for field in rows.schema if not pa.types.is_list(field.type)]
    head = [escape(f"{field.name} [{unit_of(field)}]" if unit_of(field) else field.name) for field in shown]
    cells = ([_cell(row[field.name]) for field in shown] for row in rows.to_pylist())
    words = _words(sheet)
    chapters = [sheet_chapter(sheet, "Sheet", "sheet", columns), Chapter("Table", table(head, cells, words=2))]
    return frame(sheet.title, escape(f"{words} of one survey"), chapters, f"skyloom {__version__}")


def sheet_chapter(sheet: Sheet, title: str, name: str, columns: int = COLUMNS) -> Chapter:
    """The sheet as a part of a page. name : of the figure, on the page"""
    svg = page_svg(
        lambda figure: _draw(figure, sheet, SCREEN, columns, sharp=True), *_size(sheet, columns), name, _words(sheet)
    )
    names = _look(sheet).names(sheet.info)
    caption = (
        f"Red, green and blue are {escape(names)}; each picture has a stretch of its own (asinh, Lupton et al. 2004)."
    )
    return Chapter(title, paragraph(*(escape(line) for line in sheet.lead)) + figure_of(svg, caption, "drawn"))


def _words(sheet: Sheet) -> str:
    return f"{sum(map(len, sheet.groups))} galaxies"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else escape(str(value))


def _look(sheet: Sheet) -> Look:
    return sheet.look or look_of([panel.cutout for group in sheet.groups for panel in group], sheet.info)


def _rows(sheet: Sheet, columns: int) -> list[int]:
    """How many rows each group takes."""
    return [-(-len(group) // columns) for group in sheet.groups]


def _size(sheet: Sheet, columns: int) -> tuple[float, float]:
    """Width and height [inch]."""
    rows = _rows(sheet, columns)
    width = min(columns, max(map(len, sheet.groups)))
    return PANEL * width, (PANEL + UNDER) * sum(rows) + APART * (len(rows) - 1)


def _draw(figure: Figure, sheet: Sheet, palette: Palette, columns: int, sharp: bool = False) -> None:
    look, width, height = _look(sheet), figure.get_figwidth(), figure.get_figheight()
    side, top = PANEL - GAP, 0.0
    for group, rows in zip(sheet.groups, _rows(sheet, columns), strict=True):
        for number, panel in enumerate(group):
            row, column = divmod(number, columns)
            left, low = column * PANEL + GAP / 2, top + row * (PANEL + UNDER) + PANEL
            axes = figure.add_axes((left / width, 1 - low / height, side / width, side / height))
            show(axes, picture(panel.cutout, look), sharp)
            label(axes, panel.mark)
            name = panel.cutout.object_id
            name = name if len(name) <= LONGEST else "…" + name[-LONGEST:]
            figure.text((left + side / 2) / width, 1 - (low + 0.02) / height, f"{name}\n{panel.words}", ha="center",
                        va="top", fontsize=5.8, color=palette.ink, linespacing=1.1)  # fmt: skip
        top += rows * (PANEL + UNDER) + APART

"""What the figures of a report share: palettes, type, and the way from a matplotlib figure to SVG inside a page.

A figure is drawn with the SCREEN palette, whose colours are placeholders; in the SVG each becomes a CSS variable of the
page, so the same figure is dark on light and light on dark. The PAPER palette draws the same figure for print.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure, SubFigure

MAX_BANDS = 12
PLACEHOLDER = "#0b0b{:02x}"
VARIABLES = ("--ink", "--faint", "--accent", *(f"--band{i}" for i in range(MAX_BANDS)))
TYPE: Any = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 10,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "axes.linewidth": 0.7,
    "lines.linewidth": 1.1,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "skyloom",
}


class Palette(NamedTuple):
    """Colours of a figure. bands : one per band, ordered by wavelength, told apart by lightness alone if need be."""

    ink: str
    faint: str
    accent: str
    bands: tuple[str, ...]

    def for_bands(self, count: int) -> list[str]:
        """`count` colours spread over the whole range, blue to red; from MAX_BANDS on they repeat."""
        places = np.linspace(0, len(self.bands) - 1, max(count, 2)).round().astype(int)[:count]
        return [self.bands[place] for place in places]


def sequence(low: float, high: float) -> tuple[str, ...]:
    """MAX_BANDS colours of the colour-blind-safe map plasma between two places on it."""
    return tuple(to_hex(colormaps["plasma"](place)) for place in np.linspace(low, high, MAX_BANDS))


_INK, _FAINT, _ACCENT, *_BANDS = (PLACEHOLDER.format(number) for number in range(len(VARIABLES)))
SCREEN = Palette(_INK, _FAINT, _ACCENT, tuple(_BANDS))
PAPER = Palette("#1b1b1f", "#b9b9c0", "#c2410c", sequence(0.0, 0.88))
NIGHT = Palette("#e6e6ea", "#55555f", "#ff9f5a", sequence(0.28, 1.0))


def css_variables(palette: Palette) -> str:
    """The palette as CSS declarations, in the order of VARIABLES."""
    colours = (palette.ink, palette.faint, palette.accent, *palette.bands)
    return " ".join(f"{name}: {colour};" for name, colour in zip(VARIABLES, colours, strict=True))


def drawn(draw: Callable[[Figure], None], width: float, height: float, palette: Palette) -> Figure:
    """A figure of width × height [inch], styled and drawn on."""
    colours: Any = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), palette.ink
    )
    with matplotlib.rc_context({**TYPE, **colours}):
        figure = Figure(figsize=(width, height))
        draw(figure)
    return figure


def margins(
    figure: Figure | SubFigure, left: float, bottom: float, right: float = 0.08, top: float = 0.08, **spaces: float
) -> None:
    """Set the margins of a figure [inch]; fixed ones take a fifth of the time of those that matplotlib works out."""
    width, height = figure.bbox.width / figure.figure.dpi, figure.bbox.height / figure.figure.dpi
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height, **spaces)


def inline_svg(draw: Callable[[Figure], None], width: float, height: float, name: str, alternative: str) -> str:
    """The figure as an `<svg>` element for a page.

    name : unique on the page; it keeps the ids of one figure apart from those of another
    alternative : what the figure shows, for readers who cannot see it
    """
    figure, page = drawn(draw, width, height, SCREEN), io.StringIO()
    with matplotlib.rc_context(TYPE):
        figure.savefig(page, format="svg", transparent=True, metadata={"Date": None})
    text = page.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.S)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    for number, variable in enumerate(VARIABLES):
        text = text.replace(PLACEHOLDER.format(number), f"var({variable})")
    head = f'<svg role="img" aria-label="{alternative}" '
    return re.sub(r"\n\s*", "\n", head + text[len("<svg ") :])

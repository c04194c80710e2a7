"""Sheets of galaxies, real and generated, under one stretch: to guess which is which, and to look for copies."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image

from skyloom.data.cutout import Cutout, SurveyInfo
from skyloom.errors import RequestError
from skyloom.infer.rows import sky_of
from skyloom.report.bands import colour_bands
from skyloom.report.drawing import PAPER, SCREEN, Palette, drawn, inline_svg
from skyloom.report.galaxies import composite, look_of
from skyloom.report.markup import figure as figure_of
from skyloom.sky.photometry import flux as flux_of

Pictures = UInt8[np.ndarray, "n h w 4"]  # first row at the bottom: (rows, columns, RGBA)

COLUMNS = 8  # galaxies side by side
GAP = 0.03  # between panels, in panels
PANEL, ON_PAGE = 1.05, 1.3  # side of a panel in print, and on a page [inch]
KEY = 0.34  # height of the answer key [inch]
PIXELATED = "image-rendering:crisp-edges;image-rendering:pixelated"  # as matplotlib writes it into SVG
PNG = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)")
QUALITY = 90  # of JPEG
HEAD, UNDER = 0.3, 0.19  # height of the head of a sheet of neighbours, and of a line under each panel [inch]


class Album(NamedTuple):
    """Galaxies of one survey: cutouts, and what is true of all of them."""

    cutouts: Sequence[Cutout]
    info: SurveyInfo


class Quiz(NamedTuple):
    """Pictures in the order in which they are shown, and which of them are generated."""

    pictures: Pictures
    generated: Bool[np.ndarray, "n"]

    @property
    def key(self) -> str:
        """`Generated: 2, 3, 7. Real: all others.`, counted from 1."""
        numbers = ", ".join(str(place + 1) for place in np.flatnonzero(self.generated))
        return f"Generated: {numbers}. Real: all others."


def pictures(*albums: Album) -> list[Pictures]:
    """Every galaxy in colour, all albums with the same bands, white, black and stretch, in the first one's flux unit.

    White is the median colour of the first album; the stretch is set by the noise of the first and by the brightest
    pixels of all. Cutouts are cropped to the smallest. Raises CutoutError for an album without one of the bands.
    """
    first = albums[0].info
    names = [first.band_names[band] for band in colour_bands(first.band_names)]
    white = np.array(look_of(albums[0].cutouts, first).white)
    side = min(min(album.info.shape) for album in albums)
    panels, counts = [], [len(album.cutouts) for album in albums]
    if not sum(counts):
        raise RequestError("a sheet needs at least one galaxy; none was given")
    for album in albums:
        panels += [_panel(cutout, album.info, first, names, side) for cutout in album.cutouts]
    rms = np.nanmedian([noise for *_, noise in panels[: counts[0]]], axis=0)
    coloured = _together([flux for flux, *_ in panels], [good for _, good, _ in panels], rms, white)
    return list(np.split(coloured, np.cumsum(counts)[:-1]))


def whole(album: Album) -> Album:
    """Only the galaxies without a bad pixel in a band that is shown, which would give away that they are real."""
    bands = list(colour_bands(album.info.band_names))
    return Album([cutout for cutout in album.cutouts if (cutout.ivar[bands] > 0).all()], album.info)


def _panel(cutout: Cutout, info: SurveyInfo, first: SurveyInfo, names: Sequence[str], side: int):
    """Sky-subtracted flux in the unit of `first`, good pixels and sky rms of three bands, of the cutout's middle."""
    bands = [info.index(name) for name in names]
    level, rms = (values[bands] for values in sky_of(cutout))
    gain = np.array([_gain(info, first, name) for name in names])
    top, left = ((length - side) // 2 for length in info.shape)
    here = np.s_[bands, top : top + side, left : left + side]
    good = (cutout.ivar[here] > 0) & np.isfinite(level)[:, None, None]
    flux = np.where(good, cutout.flux[here] - np.nan_to_num(level)[:, None, None], 0) * gain[:, None, None]
    return flux.astype(np.float64), good, rms * gain


def _gain(info: SurveyInfo, first: SurveyInfo, name: str) -> float:
    """What brings a band's flux to the unit that it has in another survey; 1 where a zero point is not known."""
    ours, theirs = (one.bands[one.index(name)].zero_point for one in (info, first))
    return 1.0 if ours is None or theirs is None else float(flux_of(ours, theirs))


def _together(
    flux: Sequence[Float[np.ndarray, "3 s s"]], good: Sequence[Bool[np.ndarray, "3 s s"]], rms, white
) -> Pictures:
    """The panels as one picture, so that they share a stretch, and cut apart again.

    `composite` takes its stretch from the middle half of a picture: the panels lie there, and around them is nothing.
    """
    count, side = len(flux), flux[0].shape[-1]
    border = ((0, 0), ((side + 1) // 2,) * 2, ((count * side + 1) // 2,) * 2)
    strip = composite(
        np.pad(np.concatenate(flux, axis=2), border), np.pad(np.concatenate(good, axis=2), border), rms, white
    )
    (_, (down, _), (across, _)) = border
    strip = strip[down : down + side, across : across + count * side]
    return strip.reshape(side, count, side, 4).swapaxes(0, 1)


def quiz(real: Pictures, fake: Pictures, seed: int = 0) -> Quiz:
    """Both in one order that the seed decides."""
    order = np.random.default_rng(seed).permutation(len(real) + len(fake))
    return Quiz(np.concatenate([real, fake])[order], order >= len(real))


def real_or_generated(real: Pictures, fake: Pictures, *, seed: int = 0, columns: int = COLUMNS) -> tuple[Figure, str]:
    """The sheet for print, and its answer key.

    After Smith et al. 2022, Fig. 2 (4.2 of the author's thesis); the key is printed below, small and upside down.
    """
    asked = quiz(real, fake, seed)
    figure = drawn(
        lambda sheet: draw_quiz(sheet, asked, PAPER, columns), *quiz_size(len(asked.pictures), columns), PAPER
    )
    return figure, asked.key


def quiz_size(count: int, columns: int, panel: float = PANEL) -> tuple[float, float]:
    """Width and height of a quiz [inch]."""
    return panel * columns, panel * -(-count // columns) + KEY


def draw_quiz(figure: Figure, asked: Quiz, palette: Palette, columns: int = COLUMNS, sharp: bool = False) -> None:
    """Numbered panels in rows, the key beneath them upside down. sharp : leave the smoothing to whoever shows it"""
    rows = -(-len(asked.pictures) // columns)
    panels = _panels(figure, rows, columns, bottom=KEY)
    for number, (axes, one) in enumerate(zip(panels.flat, asked.pictures, strict=False), 1):
        show(axes, one, sharp)
        label(axes, str(number))
    figure.text(0.5, 0.4 * KEY / figure.get_figheight(), asked.key, rotation=180, ha="center", va="center",
                fontsize=6.5, color=palette.ink)  # fmt: skip


def quiz_figure(asked: Quiz, name: str, alternative: str, shown: str, source: str = "") -> str:
    """A quiz on a page, as HTML. alternative : the picture in words; shown, source : start and end of its caption"""
    svg = page_svg(
        lambda sheet: draw_quiz(sheet, asked, SCREEN, sharp=True),
        *quiz_size(len(asked.pictures), COLUMNS, ON_PAGE),
        name,
        alternative,
    )
    caption = (
        f"{shown}, all under one stretch (asinh, Lupton et al. 2004). The key is printed below them, upside down."
        f"{source}"
    )
    return figure_of(svg, caption, "drawn")


def galaxies_grid(some: Pictures, columns: int = COLUMNS) -> Figure:
    """Pictures in rows, for print."""
    rows = -(-len(some) // columns)

    def draw(figure: Figure) -> None:
        for axes, one in zip(_panels(figure, rows, columns).flat, some, strict=False):
            show(axes, one)

    return drawn(draw, PANEL * columns, PANEL * rows, PAPER)


def neighbour_sheet(
    fake: Pictures, near: Shaped[np.ndarray, "n k h w 4"], distances: Float[np.ndarray, "n k"]
) -> Figure:
    """The sheet for print: after Smith et al. 2022, Fig. 3 (4.3 of the author's thesis)."""
    size = neighbour_size(len(fake), near.shape[1])
    return drawn(lambda figure: draw_neighbours(figure, fake, near, distances, PAPER), *size, PAPER)


def neighbour_size(rows: int, neighbours: int, panel: float = PANEL) -> tuple[float, float]:
    """Width and height of a sheet of neighbours [inch]."""
    return panel * (neighbours + 1.15), (panel + UNDER) * rows + HEAD


def draw_neighbours(
    figure: Figure, fake: Pictures, near: Shaped[np.ndarray, "n k h w 4"], distances: Float[np.ndarray, "n k"],
    palette: Palette, sharp: bool = False,
) -> None:  # fmt: skip
    """One generated galaxy a row, then its nearest real ones, the nearest first, each with its distance below."""
    rows, neighbours = near.shape[:2]
    width, height = figure.get_figwidth(), figure.get_figheight()
    panel = width / (neighbours + 1.15)
    side = panel * (1 - GAP) / width, panel * (1 - GAP) / height
    for row, place in np.ndindex(rows, neighbours + 1):
        low = HEAD + row * (panel + UNDER) + panel
        left = panel * (place + 0.15 * (place > 0) + GAP / 2)
        axes = figure.add_axes((left / width, 1 - low / height, *side))
        show(axes, fake[row] if place == 0 else near[row, place - 1], sharp)
        if place:
            axes.text(0.5, -0.03, f"{distances[row, place - 1]:#.3g}", transform=axes.transAxes, ha="center",
                      va="top", fontsize=8, color=palette.ink)  # fmt: skip
    for left, words in ((0.5, "generated"), (1.15 + neighbours / 2, "nearest real galaxies, and their distances")):
        figure.text(panel * left / width, 1 - 0.45 * HEAD / height, words, ha="center", va="center", fontsize=9.5,
                    color=palette.ink)  # fmt: skip


def page_svg(draw: Callable[[Figure], None], width: float, height: float, name: str, alternative: str) -> str:
    """A sheet as an `<svg>` element for a page, whose pictures the browser smooths.

    Pictures lose their ids, which nothing refers to: one that is shown twice would have the same id twice. Those that
    cover all that is behind them are kept as JPEG, a quarter of the size.
    """
    svg = inline_svg(draw, width, height, name, alternative).replace(PIXELATED, "")
    svg = re.sub(rf' id="{name}-image[0-9a-f]+"', "", svg)
    return PNG.sub(lambda found: _smaller(found[0], found[1]), svg)


def _smaller(uri: str, data: str) -> str:
    """The data URI of a PNG picture, or of the same as JPEG where nothing is transparent and that is smaller."""
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        if np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
            return uri
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "JPEG", quality=QUALITY, subsampling=0, optimize=True)
    smaller = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return min(uri, smaller, key=len)


def show(axes: Axes, one: UInt8[np.ndarray, "h w 4"], sharp: bool = False) -> None:
    """One picture, without axes. sharp : leave the smoothing to whoever shows it"""
    axes.imshow(one, origin="lower", interpolation="none" if sharp else "bicubic")
    axes.set_axis_off()


def label(axes: Axes, text: str) -> None:
    """A word in the upper left corner of a picture."""
    said = axes.text(
        0.05, 0.94, text, transform=axes.transAxes, color="white", fontsize=7, va="top", family="sans-serif"
    )
    said.set_path_effects([withStroke(linewidth=1.4, foreground="black", alpha=0.6)])


def _panels(figure: Figure, rows: int, columns: int, bottom: float = 0.0) -> np.ndarray:
    """Axes in rows that fill the figure down to `bottom` [inch], those not used hidden."""
    panels = figure.subplots(rows, columns, squeeze=False, gridspec_kw={"wspace": GAP, "hspace": GAP})
    figure.subplots_adjust(0.002, bottom / figure.get_figheight(), 0.998, 0.998)
    for axes in panels.flat:
        axes.set_axis_off()
    return panels

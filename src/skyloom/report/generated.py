"""The chapters on what a generator can do: simulated galaxies among real ones, and a satellite's trail taken away."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skyloom.data.cutout import Cutout, SurveyInfo
from skyloom.infer.rows import sky_of
from skyloom.report.bands import reference_band
from skyloom.report.drawing import SCREEN, Palette, margins
from skyloom.report.markup import Chapter, figure, number, paragraph
from skyloom.report.sheets import Album, page_svg, pictures, quiz, quiz_figure, show

BRIGHT = 3.0  # what counts as light, not sky [rms]
LIMIT = 5.0  # ends of the colour scale of differences [rms]
IDEAL = 2**0.5  # rms of the difference of two images of the same galaxy, in units of the noise of one
BIN = 3  # pixels along each axis that are one in the picture of a field
PANELS = ("as observed", "with a trail", "repaired")


class Trail(NamedTuple):
    """One galaxy three times: as observed, with a trail drawn over it, and repaired. mask : True under the trail"""

    observed: Cutout
    defaced: Cutout
    repaired: Cutout
    mask: Bool[np.ndarray, "h w"]
    info: SurveyInfo


def quiz_chapter(real: Album, fake: Album, title: str, name: str, *, by: str = "", seed: int = 0) -> Chapter:
    """Simulated galaxies among real ones, to be told apart by whoever can. by : what made them; name : on the page"""
    genuine, made = pictures(real, fake)
    asked = quiz(genuine, made, seed)
    maker = f" by {escape(by)}" if by else ""
    said = paragraph(
        f"{_spelled(len(fake.cutouts)).capitalize()} of these {len(asked.pictures)} galaxies are on the sky; "
        f"the other {_spelled(len(real.cutouts))} were made from noise{maker}. Which is which?"
        if len(fake.cutouts) == len(real.cutouts)
        else f"Of these {len(asked.pictures)} galaxies {_spelled(len(fake.cutouts))} were made from noise{maker}."
    )
    words = f"{len(asked.pictures)} galaxies, real and simulated, in random order"
    return Chapter(title, said + quiz_figure(asked, name, words, "Real and simulated galaxies in random order"))


def _spelled(n: int) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    return words[n] if n < len(words) else str(n)


def field_chapter(real: Album, fake: Album, sources: int, title: str, name: str, *, by: str) -> Chapter:
    """A piece of real sky and a piece of made sky, as large, under one stretch. sources : found in the made one"""
    height, width = fake.info.shape
    said = (
        f"{width} × {height} pixels of sky, made by {escape(by)} in {len(fake.info.bands)} bands; {sources:,} sources "
        "are found in it by what finds those of the real sky. It could go on: any tile can be made alone, and fits."
    )
    shown = [_binned(album) for album in (real, fake)]
    svg = page_svg(lambda sheet: draw_fields(sheet, *shown), 10.4, 5.4, name, "A real sky and a made one")
    return Chapter(title, paragraph(said) + figure(svg, "Left: the real field. Right: the made one.", "drawn"))


def draw_fields(sheet: Figure, real: Album, fake: Album) -> None:
    """Two pictures side by side."""
    panels = sheet.subplots(1, 2)
    margins(sheet, 0.02, 0.02, right=0.02, top=0.28, wspace=0.02)
    (ours,), (theirs,) = pictures(real, fake)
    for axes, one, words in zip(panels, (ours, theirs), ("real", "made"), strict=True):
        show(axes, one, sharp=True)
        axes.set_title(words, fontsize=9.5, color=SCREEN.ink, pad=4)


def _binned(album: Album) -> Album:
    """Means of BIN × BIN pixels, which a page has room for."""
    (one,) = album.cutouts
    c, (h, w) = len(one.flux), (side // BIN for side in one.flux.shape[1:])
    flux = one.flux[:, : h * BIN, : w * BIN].reshape(c, h, BIN, w, BIN).mean((2, 4))
    info = replace(album.info, shape=(h, w), pixel_scale=BIN * (album.info.pixel_scale or 1.0))
    return Album([replace(one, flux=flux, ivar=np.ones_like(flux), wcs=None)], info)


def trail_chapter(trail: Trail, title: str, name: str, *, by: str = "") -> Chapter:
    """A trail drawn over a galaxy and taken away again, beside what had been there; with the errors that are left."""
    band = reference_band(trail.info.band_names)
    residual, error = left_over(trail, band)
    maker = f" by {escape(by)}" if by else ""
    said = (
        f"A bright trail was drawn over a galaxy; {int(trail.mask.sum()):,} pixels of it were then filled "
        f"in{maker} from what lies around them. In {escape(band)}, what was filled in differs from "
        f"what had been observed there by {number(float(np.std(residual[trail.mask])))} times the noise; two "
        f"exposures of the same galaxy would differ by {number(IDEAL)}."
    )
    if np.isfinite(error):
        said += f" Above {BRIGHT:g} times the noise, the median error is {number(100 * error, 0)} %."
    svg = page_svg(
        lambda sheet: draw_trail(sheet, trail, SCREEN, sharp=True), 10.4, 2.8, name, "A galaxy, defaced, repaired"
    )
    caption = (
        f"From left to right: the galaxy as observed, with a trail, repaired; and what was filled in less what had "
        f"been there in {escape(band)}, in units of the noise. Pixels outside the trail are those observed."
    )
    return Chapter(title, paragraph(said) + figure(svg, caption, "drawn"))


def left_over(trail: Trail, band: str) -> tuple[Float[np.ndarray, "h w"], float]:
    """(repaired − observed) / noise; and the median |fraction| of it where light was hidden, NaN for none."""
    place = trail.info.index(band)
    level, rms = sky_of(trail.observed)
    before, after = (one.flux[place].astype(np.float64) - level[place] for one in (trail.observed, trail.repaired))
    bright = trail.mask & (before > BRIGHT * rms[place]) & (trail.observed.ivar[place] > 0)
    error = float(np.median(np.abs(after - before)[bright] / before[bright])) if bright.any() else np.nan
    return np.where(trail.observed.ivar[place] > 0, after - before, 0) / rms[place], error


def draw_trail(sheet: Figure, trail: Trail, palette: Palette, sharp: bool = False) -> None:
    """Three pictures under one stretch, and the map of what is left."""
    panels = sheet.subplots(1, 5, width_ratios=(1, 1, 1, 1, 0.05))
    margins(sheet, 0.02, 0.08, right=0.45, top=0.28, wspace=0.04)
    cutouts = (trail.observed, trail.defaced, trail.repaired)
    (coloured,) = pictures(Album(cutouts, trail.info))
    for axes, one, words in zip(panels, coloured, PANELS, strict=False):
        show(axes, one, sharp)
        axes.set_title(words, fontsize=9.5, color=palette.ink, pad=4)
    _residual(panels[3], panels[4], trail, palette, sharp)


def _residual(axes: Axes, bar: Axes, trail: Trail, palette: Palette, sharp: bool) -> None:
    residual, _ = left_over(trail, reference_band(trail.info.band_names))
    shown = np.where(trail.mask, residual, np.nan)
    image = axes.imshow(shown, colormaps["RdBu_r"], origin="lower", vmin=-LIMIT, vmax=LIMIT,
                        interpolation="none" if sharp else "nearest")  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.minorticks_off()
    axes.set_title("repaired − observed", fontsize=9.5, color=palette.ink, pad=4)
    scale = bar.figure.colorbar(image, cax=bar, ticks=(-LIMIT, 0, LIMIT))
    scale.set_label("noise rms", labelpad=-4)
    scale.ax.minorticks_off()

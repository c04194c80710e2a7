"""Profile tables as figures: rows to curves, isophotes to ellipses in pixels, and what the flags mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from skyloom.report.drawing import Palette, margins
from skyloom.sky.orientation import pixel_angle
from skyloom.sky.profiles import Flag
from skyloom.sky.wavelengths import by_wavelength

REMARKS = Flag.NO_WCS | Flag.NO_ZERO_POINT | Flag.NO_PIXEL_SCALE  # of the survey, not of the measurement
MEANINGS = {
    Flag.NO_WCS: "the survey has no WCS: position angles run from +x towards +y, not from north through east",
    Flag.NO_ZERO_POINT: "the band has no zero point: magnitudes are instrumental, −2.5 log₁₀(flux)",
    Flag.NO_PIXEL_SCALE: "the survey has no pixel scale: radii are in pixels, areas in square pixels",
    Flag.TRUNCATED: "the galaxy is larger than its frame: the light has not faded at the edge, so that the sky, and "
    "with it the total, rest on extrapolation",
    Flag.CROWDED: "neighbours cover more than a quarter of the ellipse of half light",
    Flag.BAD_CENTRE: "bad pixels lie within 3 pixels of the centre",
    Flag.UNSETTLED: "the geometry was still moving when the search for it ended",
    Flag.OFF_CENTRE: "the fitted centre lies more than a tenth of the frame from where it was expected",
    Flag.FAINT: "too faint for a shape, or for half of its light to be seen: the geometry is that of the detection",
    Flag.NOTHING: "no source, or no good pixel, in this band: the row is empty",
}
ROOT = 0.5  # radii are drawn on a scale of their square root: the centre and the outskirts both have room


class Ellipse(NamedTuple):
    """An isophote on a cutout. x, y, a, b : [pixel], 0 at the centre of the first; angle : +x towards +y [deg]"""

    x: float
    y: float
    a: float
    b: float
    angle: float


def ellipses(
    row: Mapping[str, Any], pixel_scale: float | None, wcs: str | None, radii: Sequence[float] | None = None
) -> list[Ellipse]:
    """The isophotes of one row of a profile table, in pixels of its cutout; none for an empty row.

    pixel_scale : [arcsec/pixel] of the survey, None if the table's radii are in pixels already
    wcs : the cutout's header cards; used where the row's position angles are from north through east
    radii : semi-major axes [as the table's], between which the geometry is interpolated; None: all of the row's
    """
    sma = np.asarray(row["sma"] or [], float)
    if len(sma) == 0 or not np.isfinite([row["x"], row["y"]]).all():
        return []
    wanted = sma if radii is None else np.asarray([r for r in radii if sma[0] <= r <= sma[-1]], float)
    ellipticity = np.interp(wanted, sma, np.asarray(row["ellipticity"], float))
    doubled = 2 * np.radians(np.asarray(row["pa"], float))
    angle = np.degrees(np.arctan2(*(np.interp(wanted, sma, wave(doubled)) for wave in (np.sin, np.cos)))) / 2
    if not row["flag"] & Flag.NO_WCS:
        angle = pixel_angle(wcs, row["x"], row["y"], angle)
    semi_major = wanted / (pixel_scale or 1.0)
    shapes = zip(semi_major, semi_major * (1 - ellipticity), angle % 180, strict=True)
    return [Ellipse(row["x"], row["y"], *map(float, shape)) for shape in shapes if np.isfinite(shape).all()]


def shown_radii(row: Mapping[str, Any], count: int = 6) -> list[float]:
    """A handful of radii at which to draw a row's isophotes: even steps of their square root, the last one included."""
    sma = np.asarray(row["sma"] or [np.nan], float)
    outer = float(sma[-1])
    return [] if not outer > 0 else list(np.linspace(0, outer**ROOT, count + 1)[1:] ** (1 / ROOT))


def names_of(flag: int) -> list[str]:
    """The set bits in words, remarks on the survey left out."""
    return [in_words(bit) for bit in Flag if flag & bit and not bit & REMARKS]


def in_words(bit: Flag) -> str:
    """`Flag.BAD_CENTRE` as "bad centre"."""
    return str(bit.name).lower().replace("_", " ").replace("wcs", "WCS")


def troubled(flag: np.ndarray) -> np.ndarray:
    """True where a flag says more than what the survey did not state."""
    return (np.asarray(flag) & ~int(REMARKS)) != 0


def misshapen(flag: np.ndarray) -> np.ndarray:
    """True where the isophotes themselves are in doubt, not only a total extrapolated beyond them."""
    return troubled(np.asarray(flag) & ~int(Flag.TRUNCATED))


def flag_counts(flags: Iterable[int]) -> dict[Flag, int]:
    """How many rows carry each bit."""
    counts: Counter[Flag] = Counter()
    for flag in flags:
        counts.update(bit for bit in Flag if flag & bit)
    return {bit: counts[bit] for bit in Flag}


def draw_profiles(
    figure: Figure | SubFigure, rows: Sequence[Mapping[str, Any]], radius_unit: str, palette: Palette, reference: str
) -> None:
    """Surface brightness, ellipticity and position angle of one galaxy against radius, all its bands overlaid.

    The geometry is drawn in bold for the reference band, and thin for the others; without any, its panels say so.
    """
    light, shape, angle = figure.subplots(3, 1, sharex=True, height_ratios=(2.5, 1, 1))
    margins(figure, 0.52, 0.42, top=0.26, hspace=0.06)
    bands = by_wavelength([row["band"] for row in rows])
    colours = dict(zip(bands, palette.for_bands(len(bands)), strict=True))
    half_circle = next((_middle_angle(row["pa"]) for row in rows if row["band"] == reference), 90.0)
    angle.set_ylim(*_angle_range([row for row in rows if row["band"] == reference], half_circle))
    if not any(np.isfinite(np.asarray(row["ellipticity"] or [], float)).any() for row in rows):
        shape.text(0.5, 0.5, "not stated", transform=shape.transAxes, ha="center", va="center")
        angle.text(0.5, 0.5, "not stated", transform=angle.transAxes, ha="center", va="center")
    for row in sorted(rows, key=lambda row: bands.index(row["band"])):
        _curves((light, shape, angle), row, colours[row["band"]], row["band"] == reference, half_circle)
    bare = {row["band"] for row in rows if row["flag"] & Flag.NO_ZERO_POINT}
    _label(light, shape, angle, radius_unit, rows, bool(bare))
    handles = [light.plot([], [], color=colours[band], lw=2.2)[0] for band in bands]
    names = [f"{band}*" if bare and len(bare) < len(bands) and band in bare else band for band in bands]
    close = {"handlelength": 0.7, "handletextpad": 0.3, "columnspacing": 0.7, "borderaxespad": 0.1, "borderpad": 0.1}
    light.legend(handles, names, ncols=len(names), loc="lower center", bbox_to_anchor=(0.46, 1.0), **close)


def _curves(
    panels: tuple[Axes, Axes, Axes], row: Mapping[str, Any], colour: str, bold: bool, half_circle: float
) -> None:
    light, shape, angle = panels
    sma, sb, error = (np.asarray(row[name] or [], float) for name in ("sma", "sb", "sb_error"))
    style: Any = {
        "color": colour,
        "lw": 1.5 if bold else 0.8,
        "alpha": 1.0 if bold else 0.75,
        "zorder": 3 if bold else 2,
    }
    known = np.isfinite(sb) & np.isfinite(error)
    light.fill_between(sma[known], (sb - error)[known], (sb + error)[known], color=colour, alpha=0.22, lw=0)
    light.plot(sma[np.isfinite(sb)], sb[np.isfinite(sb)], **{**style, "lw": 1.3, "alpha": 1.0})
    if row["flag"] & (Flag.FAINT | Flag.NOTHING) or len(sma) == 0:
        return
    for axes, name in ((shape, "ellipticity"), (angle, "pa")):
        values, error = (np.asarray(row[n], float) for n in (name, f"{name}_error"))
        values = half_circle + (values - half_circle + 90) % 180 - 90 if name == "pa" else values
        axes.plot(sma, values, **style)
        if bold:
            axes.fill_between(sma, values - error, values + error, color=colour, alpha=0.22, lw=0)


def _middle_angle(pa: Sequence[float] | None) -> float:
    """The mean of position angles [deg], which repeat after 180; 90 for none."""
    doubled = 2 * np.radians(np.asarray(pa or [np.nan], float))
    doubled = doubled[np.isfinite(doubled)]
    if len(doubled) == 0:
        return 90.0
    return float(np.degrees(np.arctan2(np.sin(doubled).mean(), np.cos(doubled).mean())) / 2 % 180)


def _angle_range(rows: Sequence[Mapping[str, Any]], half_circle: float) -> tuple[float, float]:
    """Ends of the position angles' axis [deg]: those of the reference band, and some room for the others."""
    values = np.concatenate([np.asarray(row["pa"] or [], float) for row in rows] or [np.empty(0)])
    values = (values[np.isfinite(values)] - half_circle + 90) % 180 - 90
    low, high = (float(values.min()), float(values.max())) if len(values) else (-90.0, 90.0)
    return half_circle + max(low - 12, -95), half_circle + min(high + 12, 95)


def _label(light, shape, angle, radius_unit: str, rows: Sequence[Mapping[str, Any]], instrumental: bool) -> None:
    unit = "mag arcsec$^{-2}$" if radius_unit == "arcsec" else "mag pixel$^{-2}$"
    everything = [np.asarray(row["sb"] or [], float) for row in rows]
    values = np.concatenate([sb[np.isfinite(sb)] for sb in everything] or [np.empty(0)])
    if len(values):
        light.set_ylim(np.max(values) + 0.5, np.min(values) - 0.5)
    else:
        light.invert_yaxis()
    light.set_ylabel(f"{'instrumental ' if instrumental else ''}$\\mu$ [{unit}]")
    shape.set_ylabel("ellipticity")
    shape.set_ylim(0, 0.99)
    angle.set_ylabel("PA [deg]")
    angle.set_xlabel(f"semi-major axis [{radius_unit}]")
    longest = max((row["sma"][-1] for row in rows if row["sma"]), default=1.0)
    angle.set_xscale("function", functions=(lambda r: np.maximum(r, 0) ** ROOT, lambda s: s ** (1 / ROOT)))
    angle.set_xlim(0, 1.02 * longest)
    angle.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    for axes, places in ((light, 6), (shape, 3), (angle, 4)):
        axes.yaxis.set_major_locator(MaxNLocator(places, steps=[1, 2, 5, 10], prune="both" if axes is angle else None))
        axes.minorticks_off()
    light.figure.align_ylabels([light, shape, angle])

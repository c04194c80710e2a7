"""What a table says about its galaxies as a whole: medians with errors, histograms, colours, the mean profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float
from matplotlib.figure import Figure

from skyloom.metrics.score import median
from skyloom.report.drawing import Palette, margins
from skyloom.report.profiles import troubled
from skyloom.sky.profiles import Flag
from skyloom.sky.wavelengths import by_wavelength

DRAWN = 3000  # points of a scatter plot at most
RADII = np.linspace(0.1, 4, 40)  # of the mean profile [R_e]


class Number(NamedTuple):
    """The median of a quantity over n galaxies, its bootstrap error, and the 16th and 84th percentiles."""

    name: str
    unit: str
    n: int
    median: float
    error: float
    low: float
    high: float


def summarise(name: str, unit: str, values: Float[np.ndarray, "n"], seed: int = 0) -> Number:
    """Median of the finite values, with the standard deviation of the median under resampling; NaN for none."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return Number(name, unit, 0, np.nan, np.nan, np.nan, np.nan)
    middle = median(values, unit, seed=seed)
    low, high = np.percentile(values, [16, 84])
    return Number(name, unit, middle.n, middle.value, middle.error, float(low), float(high))


def at_half_light(rows: pa.Table, name: str) -> Float[np.ndarray, "n"]:
    """A profile (ellipticity, pa, sb …) read at R_e, an angle at the nearest ring; NaN where the row is empty."""
    out = np.full(len(rows), np.nan)
    half = rows["r_e"].to_numpy(zero_copy_only=False)
    for k, (sma, values) in enumerate(zip(rows["sma"].to_pylist(), rows[name].to_pylist(), strict=True)):
        if sma and half[k] is not None and np.isfinite(half[k]):
            nearest = int(np.argmin(np.abs(np.asarray(sma) - half[k])))
            out[k] = values[nearest] if name == "pa" else np.interp(half[k], sma, values)
    return out


class Population:
    """The clean rows of a profile table, arranged by band and by object.

    bands : blue to red; reference : the band that sizes and shapes are taken in
    """

    def __init__(self, table: pa.Table, reference: str):
        flags = table["flag"].to_numpy(zero_copy_only=False)
        self.all, self.reference = table, reference
        self.clean = table.filter(pa.array(~troubled(flags)))
        present = set(table["band"].to_pylist())
        self.bands = by_wavelength([band for band in dict.fromkeys(table["band"].to_pylist()) if band in present])
        self.rows = self.clean.filter(pc.equal(self.clean["band"], reference))
        self.ids = self.rows["object_id"].to_pylist()
        self.instrumental = bool((flags & int(Flag.NO_ZERO_POINT)).any())
        unit = (table.schema.field("r_e").metadata or {}).get(b"unit", b"").decode()
        self.radius_unit = {"pix": "pixel"}.get(unit, unit or "pixel")

    def column(self, name: str, band: str | None = None) -> Float[np.ndarray, "n"]:
        """A scalar column in a band, in the order of `ids`; NaN where that row is missing or not clean."""
        if band is None or band == self.reference:
            return np.asarray(self.rows[name].to_numpy(zero_copy_only=False), float)
        rows = self.clean.filter(pc.equal(self.clean["band"], band))
        found = dict(zip(rows["object_id"].to_pylist(), rows[name].to_pylist(), strict=True))
        return np.array([found.get(name_, np.nan) for name_ in self.ids], float)

    def colour(self) -> tuple[str, Float[np.ndarray, "n"]] | None:
        """Name and values [mag] of a colour: g − r if it is there, else the reference and the next bluer band."""
        if len(self.bands) < 2:
            return None
        known = {band.lower().split("_")[-1]: band for band in self.bands}
        place = max(self.bands.index(self.reference), 1)
        blue, red = (known["g"], known["r"]) if {"g", "r"} <= set(known) else self.bands[place - 1 : place + 1]
        return f"{blue} − {red}", self.column("mag", blue) - self.column("mag", red)

    def numbers(self) -> list[Number]:
        """The table's numbers, with how many galaxies stand behind each."""
        band, mag = self.reference, "mag (instrumental)" if self.instrumental else "mag"
        found = [
            summarise(f"magnitude, {band}", mag, self.column("mag")),
            summarise(f"its error, {band}", "mag", self.column("mag_error")),
            summarise(f"half-light radius R_e, {band}", self.radius_unit, self.column("r_e")),
            summarise(f"radius of 26 mag arcsec⁻², {band}", self.radius_unit, self.column("r_26")),
            summarise(f"ellipticity at R_e, {band}", "", at_half_light(self.rows, "ellipticity")),
        ]
        colour = self.colour()
        if colour:
            found.append(summarise(f"colour {colour[0]}", mag, colour[1]))
        return [number for number in found if number.n]


def draw_population(figure: Figure, people: Population, palette: Palette) -> None:
    """Magnitude, size and shape; size and colour against magnitude; the mean profile."""
    axes = figure.subplots(2, 3)
    margins(figure, 0.55, 0.45, wspace=0.3, hspace=0.3)
    band = people.reference
    mag, half = people.column("mag"), people.column("r_e")
    magnitude = f"{'instrumental ' if people.instrumental else ''}{band} [mag]"
    size = f"$R_e$ ({band}) [{people.radius_unit}]"
    _histogram(axes[0, 0], mag, magnitude, palette)
    _histogram(axes[0, 1], half, size, palette, logarithmic=True)
    _histogram(axes[0, 2], at_half_light(people.rows, "ellipticity"), f"ellipticity at $R_e$ ({band})", palette)
    errors = people.column("mag_error"), people.column("r_e_error")
    _scatter(axes[1, 0], mag, half, errors, palette, magnitude, size)
    axes[1, 0].set_yscale("log")
    plain(axes[1, 0].yaxis)
    colour = people.colour()
    if colour:
        _scatter(axes[1, 1], mag, colour[1], None, palette, magnitude, f"{colour[0]} [mag]")
        _limit(axes[1, 1], colour[1])
    else:
        axes[1, 1].set_axis_off()
    _mean_profile(axes[1, 2], people, palette)


def draw_by_band(figure: Figure, people: Population, palette: Palette) -> None:
    """How the median galaxy changes from band to band: its size and its light, relative to the reference band."""
    sizes, lights = figure.subplots(1, 2)
    margins(figure, 0.6, 0.3, wspace=0.2)
    places = np.arange(len(people.bands))
    quantities = (
        (sizes, lambda band: people.column("r_e", band) / people.column("r_e")),
        (lights, lambda band: people.column("mag", band) - people.column("mag")),
    )
    for axes, quantity in quantities:
        numbers = [summarise(band, "", quantity(band)) for band in people.bands]
        median, error = ([getattr(number, name) for number in numbers] for name in ("median", "error"))
        spread = [[number.low for number in numbers], [number.high for number in numbers]]
        axes.fill_between(places, *spread, color=palette.faint, alpha=0.35, lw=0)
        axes.errorbar(places, median, error, color=palette.ink, fmt="o-", ms=4, lw=1, capsize=2)
        axes.set_xticks(places, people.bands)
        axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    sizes.set_ylabel(f"$R_e$ / $R_e$({people.reference})")
    lights.set_ylabel(f"magnitude − {people.reference} [mag]")
    lights.invert_yaxis()


def _histogram(axes, values, label: str, palette: Palette, logarithmic: bool = False) -> None:
    values = values[np.isfinite(values) & ((values > 0) | (not logarithmic))]
    if len(values):
        count = int(np.clip(np.sqrt(len(values)) * 1.5, 5, 40))
        low, high = float(values.min()), float(values.max())
        bins = np.geomspace(low, high, count) if logarithmic and high > low else count
        axes.hist(values, bins, histtype="stepfilled", fc=palette.faint, ec=palette.ink, lw=0.8, alpha=0.6)
        axes.axvline(np.median(values), color=palette.accent, lw=1.2)
    if logarithmic:
        axes.set_xscale("log")
        plain(axes.xaxis)
    axes.set_xlabel(label)
    axes.set_ylabel("galaxies")


def _scatter(axes, x, y, errors, palette: Palette, xlabel: str, ylabel: str) -> None:
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    shown = known if len(known) <= DRAWN else np.random.default_rng(0).choice(known, DRAWN, replace=False)
    if errors is not None:
        dx, dy = (np.nan_to_num(error[shown]) for error in errors)
        axes.errorbar(x[shown], y[shown], dy, dx, fmt="none", ecolor=palette.faint, lw=0.6, zorder=1)
    axes.plot(x[shown], y[shown], "o", color=palette.ink, ms=2.2, mew=0, alpha=0.75)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)


def _limit(axes, values) -> None:
    """Show the bulk; the farthest one in a hundred on either side may lie beyond the frame."""
    values = values[np.isfinite(values)]
    if len(values):
        low, high = np.percentile(values, [1, 99])
        axes.set_ylim(low - 0.2 * (high - low + 0.1), high + 0.2 * (high - low + 0.1))


def _mean_profile(axes, people: Population, palette: Palette) -> None:
    """Surface brightness relative to that at R_e against r/R_e: each galaxy thin, median and 68 % bold."""
    curves = stacked_profiles(people.rows)
    for curve in curves[:200]:
        axes.plot(RADII, curve, color=palette.faint, lw=0.4, alpha=0.5)
    reach = np.isfinite(curves).mean(0) > 0.5 if len(curves) else np.zeros(len(RADII), bool)
    if reach.any():
        low, median, high = np.nanpercentile(curves[:, reach], [16, 50, 84], axis=0)
        axes.fill_between(RADII[reach], low, high, color=palette.accent, alpha=0.25, lw=0)
        axes.plot(RADII[reach], median, color=palette.accent, lw=1.6)
    axes.set_xlim(0, RADII[-1])
    axes.set_ylim(5, -3)
    axes.set_xlabel(f"$r/R_e$ ({people.reference})")
    axes.set_ylabel(r"$\mu - \mu(R_e)$ [mag arcsec$^{-2}$]")


def stacked_profiles(rows: pa.Table) -> Float[np.ndarray, "n r"]:
    """Surface brightness minus its value at R_e, at RADII × R_e; NaN beyond each profile's ends."""
    curves = []
    for half, sma, sb in zip(*(rows[name].to_pylist() for name in ("r_e", "sma", "sb")), strict=True):
        sma, sb = np.asarray(sma or [], float), np.asarray(sb or [], float)
        known = np.isfinite(sb)
        if half and np.isfinite(half) and known.sum() > 3 and sma[known][0] <= half <= sma[known][-1]:
            level = np.interp(half, sma[known], sb[known])
            curves.append(np.interp(RADII * half, sma[known], sb[known], np.nan, np.nan) - level)
    return np.array(curves).reshape(-1, len(RADII))


def plain(axis) -> None:
    """Tick labels of a logarithmic axis as ordinary numbers."""
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "25" else "")


def grouped(table: pa.Table, ids: Sequence[str]) -> Mapping[str, list[dict]]:
    """All rows of some objects, by object."""
    chosen = table.filter(pc.is_in(table["object_id"], value_set=pa.array(list(ids), pa.string())))
    out: dict[str, list[dict]] = {name: [] for name in ids}
    for row in chosen.to_pylist():
        out[row["object_id"]].append(row)
    return out
